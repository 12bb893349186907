//! Link options of the WebAssembly module.
//!
//! * The address of the image header is exported, for the packer to find.
//! * The module's own memory is large enough for all that it usually allocates. What memory grows by instead is answered by
//!   V8 with garbage collections, which Node 20 does not always survive. Memory that nobody touches costs nothing.

/// Stack, data and heap in bytes: the block cache takes up to 48 MiB.
const OWN_MEMORY: usize = 64 << 20;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("wasi") {
        println!("cargo:rustc-link-arg-bins=--export=forelift_image_header");
        println!("cargo:rustc-link-arg-bins=--initial-memory={OWN_MEMORY}");
    }
}

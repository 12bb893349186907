//! Exports the address of the image header from the WebAssembly module, for the packer to find.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("wasi") {
        println!("cargo:rustc-link-arg-bins=--export=forelift_image_header");
    }
}

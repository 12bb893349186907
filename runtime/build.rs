//! Link options of the WebAssembly module.
//!
//! * The addresses of the image header and of the layout for lifted code are exported, and the functions that
//!   lifted code calls.
//! * The module's own memory is large enough for all that it usually allocates. What memory grows by instead
//!   is answered by V8 with garbage collections, which Node 20 does not always survive. Memory that nobody
//!   touches costs nothing.

const HEADER: &str = "forelift_image_header";
/// What lifted code needs (forelift_abi::lift).
const LIFTED: [&str; 4] = ["forelift_layout", "forelift_dispatch", "forelift_csr", "forelift_float"];
/// Stack, data and heap in bytes: the block cache takes up to 48 MiB.
const OWN_MEMORY: usize = 64 << 20;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("wasi") {
        let lifted = std::env::var_os("CARGO_FEATURE_LIFTING").map(|_| LIFTED);
        for symbol in [HEADER].into_iter().chain(lifted.into_iter().flatten()) {
            println!("cargo:rustc-link-arg-bins=--export={symbol}");
        }
        println!("cargo:rustc-link-arg-bins=--initial-memory={OWN_MEMORY}");
    }
}

//! The end-to-end tests: images converted by the command under test and run on each host. A module is a group
//! of cases; a case on several hosts is several tests, `host::group::case` (see `forelift_tests::table`).
//!
//!     cargo nextest run -p forelift-tests --test e2e            all
//!     cargo nextest run -p forelift-tests --test e2e wasm::     on one host (wasm-amd64:: for amd64 images)
//!     cargo nextest run -p forelift-tests --test e2e streams    one group

mod bad_images;
mod bad_input;
mod basic;
mod bind;
mod component;
mod connections;
mod container;
mod convert;
mod debuggers;
mod directories;
mod dist;
mod lockstep;
mod makers;
mod net_relay;
mod network;
mod platforms;
mod signals;
mod start;
mod status;
mod streams;
mod terminal;
mod testing;
mod web;

use forelift_tests::table;
use std::process::ExitCode;

fn main() -> ExitCode {
    table::main(
        &[
            ("bad_images", bad_images::CASES),
            ("bad_input", bad_input::CASES),
            ("basic", basic::CASES),
            ("bind", bind::CASES),
            ("component", component::CASES),
            ("connections", connections::CASES),
            ("container", container::CASES),
            ("convert", convert::CASES),
            ("debuggers", debuggers::CASES),
            ("directories", directories::CASES),
            ("dist", dist::CASES),
            ("lockstep", lockstep::CASES),
            ("makers", makers::CASES),
            ("net_relay", net_relay::CASES),
            ("network", network::CASES),
            ("platforms", platforms::CASES),
            ("signals", signals::CASES),
            ("start", start::CASES),
            ("status", status::CASES),
            ("streams", streams::CASES),
            ("terminal", terminal::CASES),
            ("web", web::CASES),
        ],
        &[
            ("command", 91),
            ("component", 31),
            ("component-amd64", 6),
            ("wasm", 198),
            ("native", 170),
            ("jit", 4),
            ("pywasmtime", 112),
            ("node", 122),
            ("wasm-amd64", 207),
            ("native-amd64", 181),
            ("pywasmtime-amd64", 23),
            ("node-amd64", 24),
            ("web", 66),
            ("web-amd64", 5),
        ],
    )
}

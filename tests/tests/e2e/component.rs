//! An image as a component: its streams, directories and exit status by WASI 0.2, and where its network ends.
//! What the network does is in `network`, on every host that has one.

use crate::{network::python, testing::dir};
use forelift_tests::{
    hosts::{Host, Place},
    images::{Image, inspect_json},
    process::program,
    table::{Check, Group},
    workspace::{forelift, root, wasmtime},
};
use std::fs;

pub(crate) const CASES: Group = &[
    ("runs", Check::Everywhere(&[Host::Component], runs)),
    ("names_by_the_runtime", Check::On(&[Host::Component], names_by_the_runtime)),
    ("a_runtime_without_a_network", Check::Once(a_runtime_without_a_network)),
];

/// Without `--dns` a component asks its runtime, which knows addresses alone.
fn names_by_the_runtime(host: Place) {
    let code = "import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20); s.connect(('10.0.2.3', 53))\n\
        def ask(name, kind):\n  q = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + bytes([len(name)]) + name + bytes([0, 0, kind, 0, 1])\n  \
          s.send(q); return s.recv(512)\n\
        r = ask(b'localhost', 1); print(r[3] & 15, list(r[-4:]))\nr = ask(b'localhost', 16); print(r[3] & 15)\n\
        try: socket.gethostbyname('no.such.name.invalid')\nexcept OSError as e: print(type(e).__name__)";
    assert_eq!(python(host, &["--net"], code), "0 [127, 0, 0, 1]\n4\ngaierror\n");
}

/// What a component is besides its network.
fn runs(host: Place) {
    let place = dir();
    fs::write(place.path().join("in"), "from the host\n").expect("a file");
    let script = "cat /shared/in; tr a-z A-Z >/shared/out; echo problem >&2; exit 200";
    let done = host.sh(script).dir(place.path(), "/shared").stdin("typed\n").go();
    assert_eq!((done.status(), done.out().as_str()), (200, "from the host\n"), "{done}");
    assert_eq!(done.err(), "problem\n");
    assert_eq!(fs::read_to_string(place.path().join("out")).expect("a file"), "TYPED\n");
    // It is an image as any other, but not for `forelift run`.
    let file = host.image(Image::Busybox).component_wasm();
    let found = inspect_json(&file);
    assert_eq!((&found["component"], &found["arch"]), (&true.into(), &host.debian().into()));
    let run = program(forelift(), |c| {
        c.arg("run").arg(&file);
    });
    run.one_error(&["component", "wasmtime run -S inherit-network"]);
}

fn a_runtime_without_a_network() {
    let run = |words: &[&str]| {
        program(wasmtime(), |c| {
            let file = Image::Busybox.component();
            c.args(["run", "--allow-precompiled"]).arg(file).args(words);
        })
    };
    assert_eq!(run(&["echo", "hello"]).ok(), "hello\n");
    run(&["--net", "true"]).one_error(&["allows no connections", "-S inherit-network"]);
    run(&["-p", "80:x", "true"]).one_error(&["-p 80:x", "8080:80"]);
    let names = program(wasmtime(), |c| {
        let file = Image::Busybox.component();
        c.args(["run", "--allow-precompiled", "-S", "inherit-network"]).arg(file).args(["--net", "true"]);
    });
    names.expect_status(0).one_error(&["names will not be found", "-S allow-ip-name-lookup"]);
    // A module has no sockets at all.
    let module = program("node", |c| {
        c.arg("--no-warnings").arg(root().join("tests/hosts/run_node.mjs"));
        c.arg(Image::Busybox.wasm()).args(["--net", "true"]);
    });
    module.one_error(&["--net", "--component"]);
}

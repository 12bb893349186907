//! Images of other platforms than riscv64: how they are chosen, and what runs in them.

use crate::{
    network::{HOST, OPEN, get},
    testing::dir,
};
use forelift_tests::{
    hosts::{Guest, Host, Place},
    images::{Image, convert, inspect_json},
    network::Server,
    process::program,
    registry::Registry,
    table::{Check, Group},
    workspace::{forelift, product},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

pub(crate) const CASES: Group = &[
    ("python_at_work", Check::In(Guest::Amd64, &Host::OURS, python_at_work)),
    ("redis", Check::In(Guest::Amd64, &Host::ALL, redis)),
    ("fork_exec_and_signals", Check::In(Guest::Amd64, &Host::OURS, fork_exec_and_signals)),
    ("packages_are_what_they_were", Check::In(Guest::Amd64, &Host::OURS, packages_are_what_they_were)),
    ("kernel_is_content", Check::In(Guest::Amd64, &[Host::Native], kernel_is_content)),
    ("i386_busybox", Check::In(Guest::Amd64, &Host::OURS, i386_busybox)),
    ("i386_debian", Check::In(Guest::Amd64, &Host::OURS, i386_debian)),
    ("arm64_busybox", Check::In(Guest::Amd64, &Host::OURS, arm64_busybox)),
    ("arm64_debian", Check::In(Guest::Amd64, &Host::OURS, arm64_debian)),
    ("i386_network", Check::In(Guest::Amd64, &[Host::Wasm], i386_network)),
    ("arm64_network", Check::In(Guest::Amd64, &[Host::Wasm], arm64_network)),
    ("arm64_says_that_it_is_slow", Check::Once(arm64_says_that_it_is_slow)),
    ("chosen_by_platform", Check::Once(chosen_by_platform)),
    ("what_is_said_of_an_image", Check::Once(what_is_said_of_an_image)),
    ("same_input_same_bytes", Check::Once(same_input_same_bytes)),
    ("memory_option", Check::Once(memory_option)),
    ("kernel_option", Check::Once(kernel_option)),
    ("size_of_the_output", Check::Once(size_of_the_output)),
];

fn python_at_work(host: Place) {
    let code = "import json, re, math, struct, threading, subprocess, sys, os, signal\n\
        data = {'n': [1, -2.5e-3, 1e300], 's': 'ü\\n', 'b': [True, None]}\n\
        print(json.loads(json.dumps(data)) == data, json.dumps(data))\n\
        print(re.sub(r'(?P<a>\\w+)-(\\d{2,})', r'\\2:\\g<a>', 'ab-12 cd-3 ef-456'), re.findall(r'(?<=x)\\d+(?!y)', 'x12y x34 z5'))\n\
        print(math.fsum([.1] * 10), math.gamma(5.5), math.sin(1e22), math.fma(2.0, 3.0, 1.0), math.cbrt(64), math.ldexp(1, -1074))\n\
        print(struct.pack('<bhiqefd', -1, -2, -3, -4, 1.5, 0.1, 0.1).hex(), struct.unpack('>d', bytes.fromhex('400921fb54442d18')))\n\
        total, lock = 0, threading.Lock()\n\
        def add(n):\n\
        \x20   global total\n\
        \x20   for i in range(n):\n\
        \x20       with lock: total += i\n\
        threads = [threading.Thread(target=add, args=(200,)) for _ in range(6)]\n\
        [t.start() for t in threads]; [t.join() for t in threads]; print(total)\n\
        p = subprocess.run(['sh', '-c', 'cat; echo err >&2; kill -9 $$'], input=b'in', capture_output=True)\n\
        print(p.stdout, p.stderr, p.returncode)\n\
        hit = []; signal.signal(signal.SIGUSR1, lambda s, f: hit.append(s)); os.kill(os.getpid(), signal.SIGUSR1); print(hit)\n\
        try: 1 // 0\n\
        except ZeroDivisionError as e: print(e)\n\
        print('to stderr', file=sys.stderr); sys.exit(93)";
    let done = host.run(Image::Python3).args(["python3", "-c", code]).go().expect_status(93);
    done.expect_err("to stderr\n").expect_out(
        "True {\"n\": [1, -0.0025, 1e+300], \"s\": \"\\u00fc\\n\", \"b\": [true, null]}\n\
         12:ab cd-3 456:ef ['1', '34']\n\
         1.0 52.34277778455352 -0.8522008497671888 7.0 4.0 5e-324\n\
         fffefffdfffffffcffffffffffffff003ecdcccc3d9a9999999999b93f (3.141592653589793,)\n119400\n\
         b'in' b'err\\n' -9\n[10]\ninteger division or modulo by zero\n",
    );
}

/// The server answers on the guest's own loopback device.
fn redis(host: Place) {
    let script = "redis-server --port 6400 --save '' --logfile /tmp/log --daemonize yes >/dev/null
        c() { redis-cli -p 6400 \"$@\"; }
        n=0; until c PING >/dev/null 2>&1 || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.1; done
        c PING; c SET greeting 'hello there'; c GET greeting; c GET none
        c RPUSH list a b c; c LRANGE list 0 -1; c INCRBYFLOAT f 10.5; c INCRBYFLOAT f 0.1
        seq 1 500 | sed 's/.*/SET key:& &/' | c | sort | uniq -c | tr -s ' '; c DBSIZE
        c EVAL 'local s = 0; for i = 1, 500 do s = s + redis.call(\"get\", \"key:\" .. i) end; return s' 0
        c SHUTDOWN NOSAVE; sleep 0.3; c PING 2>/dev/null || echo gone; grep -ci -e error -e crash /tmp/log";
    let done = host.run(Image::Amd64Redis).args(["sh", "-c", script]).go().expect_status(1);
    done.expect_out("PONG\nOK\nhello there\n\n3\na\nb\nc\n10.5\n10.6\n 500 OK\n503\n125250\ngone\n0\n");
}

fn fork_exec_and_signals(host: Place) {
    let script = r#"
        for n in {1..60}; do (exit $n) || s=$((s + $?)); done; echo $s
        sleep 100 & kill -STOP $!; kill -CONT $!; kill -TERM $!; wait $!; echo $?
        perl -e '$SIG{ALRM} = sub { print "alarm\n"; exit 4 }; alarm 1; 1 while 1'; echo $?
        perl -e 'my $p = fork // die; if (!$p) { exec "sh", "-c", "kill -SEGV \$\$" } waitpid $p, 0; print $? & 127, "\n"'
        coproc cat; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line"#;
    let done = host.run(Image::Minbase).args(["bash", "-c", script]).go().expect_status(0);
    done.expect_out("1830\n143\nalarm\n4\n11\nthrough\n");
}

/// Every file of these packages has the checksum that its package says.
fn packages_are_what_they_were(host: Place) {
    let text =
        host.run(Image::Minbase).args(["sh", "-c", "dpkg --verify libc6 bash perl-base apt; echo $?"]).ok();
    assert_eq!(text, "0\n");
}

/// The kernel complains of nothing while it boots.
fn kernel_is_content(host: Place) {
    let text = host.sh("dmesg").file(host.image(Image::Busybox).wasm_cold()).ok();
    assert!(text.contains("Linux version 6.") && text.contains("Run /init"), "{text}");
    for word in
        ["WARNING", "BUG", "Oops", "Call Trace", "rror", "ailed", "nstable", "tainted", "Firmware Bug"]
    {
        // One module's greeting has a word of them in it.
        let harmless = |line: &str| line.ends_with("Mirror/redirect action on");
        let lines: Vec<&str> = text.lines().filter(|l| l.contains(word) && !harmless(l)).collect();
        assert!(lines.is_empty(), "{word}: {lines:#?}");
    }
}

fn i386_busybox(host: Place) {
    let run = |args: &[&str]| host.run(Image::I386Busybox).args(args.iter().copied());
    assert_eq!(
        run(&["sh", "-c", "echo $((0x7fffffff * 3)) && seq 1 1000 | md5sum"]).ok(),
        "6442450941\n53d025127ae99ab79e8502aae2d9bea6  -\n"
    );
    let text = run(&["sh", "-c", "head -c 5 /bin/busybox | od -An -tx1; sh -c 'kill -9 $$'; echo $?"]).go();
    text.expect_status(0).expect_out(" 7f 45 4c 46 01\n137\n");
}

fn i386_debian(host: Place) {
    let script = r#"
        dpkg --print-architecture
        perl -e 'use Config; print "$Config{ptrsize} $Config{archname}\n"; printf "%.15g %d\n", exp(1) ** 2, 2 ** 31'
        perl -e 'my $p = fork; exit 7 unless $p; waitpid $p, 0; print $? >> 8, "\n"; $SIG{USR1} = sub { print "signal\n" }; kill USR1 => $$'
        seq 1 3000 | sort -R | sort -n | md5sum
        apt-get --version | head -n 1 | grep -o '(.*)'
        grep -c -w vdso /proc/self/maps"#;
    let text = host.run(Image::I386Minbase).args(["bash", "-c", script]).ok();
    assert_eq!(
        text,
        "i386\n4 i686-linux-gnu-thread-multi-64int\n7.38905609893065 2147483648\n7\nsignal\n\
         ee9762749fc5338b6c9b0948d14219c7  -\n(i386)\n1\n"
    );
}

fn arm64_busybox(host: Place) {
    let script =
        "uname -m; echo $((6 * 7)); ls / | grep -c qemu; sh -c 'exit 9'; echo $?; seq 1 1000 | md5sum";
    assert_eq!(
        host.run(Image::Arm64Busybox).args(["sh", "-c", script]).ok(),
        "aarch64\n42\n0\n9\n53d025127ae99ab79e8502aae2d9bea6  -\n"
    );
    host.run(Image::Arm64Busybox)
        .args(["sh", "-c", "echo no >&2; exit 77"])
        .go()
        .expect_status(77)
        .expect_err("no\n");
}

/// Out and in, as [`network`](crate::network) says it of the others.
fn networked(host: Place, image: Image) {
    let server = Server::http(|path| (path == "/word").then(|| b"from the host\n".to_vec()));
    let script = format!(
        "wget -q -O - http://{HOST}:{}/word; echo from the container >/tmp/file; httpd -f -h /tmp -p 80",
        server.port()
    );
    let run = host.run(image).options(&OPEN).options(&["-p", "0:80"]).args(["sh", "-c", &script]);
    let mut run = run.deadline(300).spawn();
    let address = run.published("80/tcp");
    run.expect("from the host");
    assert!(get(address).ends_with("\r\n\r\nfrom the container\n"));
}

fn i386_network(host: Place) {
    networked(host, Image::I386Busybox);
}

fn arm64_network(host: Place) {
    networked(host, Image::Arm64Busybox);
}

/// Few processes: each of them is translated anew.
fn arm64_debian(host: Place) {
    let script = r#"
        uname -m; dpkg --print-architecture
        seq 1 500 | sort -R | sort -n | md5sum
        perl -e 'use Config; print "$Config{archname}\n"; printf "%.15g %d\n", exp(1) ** 2, 2 ** 31; my $p = fork; exit 7 unless $p; waitpid $p, 0; print $? >> 8, "\n"'
        for n in 1 2 3; do (exit $n); printf %d $?; done; echo"#;
    assert_eq!(
        host.run(Image::Arm64Minbase).args(["bash", "-c", script]).ok(),
        "aarch64\narm64\n5705e3c0d0044b724281f9bcc7520d3a  -\naarch64-linux-gnu-thread-multi\n7.38905609893065 2147483648\n7\n123\n"
    );
}

fn arm64_says_that_it_is_slow() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    let convert = |reference: &str| {
        let done = program(forelift(), |c| {
            c.args(["convert", "--snapshot", "none", reference]).arg(&out);
        });
        done.expect_status(0).err()
    };
    let text = convert(&Image::Arm64Busybox.reference());
    assert!(text.contains("qemu-aarch64") && text.contains("slow"), "{text}");
    let text = convert(&Image::Amd64Busybox.reference());
    assert!(!text.contains("slow"), "{text}");
}

fn manifest_of(layout: &Path) -> Value {
    let text = fs::read(layout.join("index.json")).expect("index.json");
    let index: Value = serde_json::from_slice(&text).expect("JSON");
    index["manifests"][0].clone()
}

/// An index of all platforms: the one that is asked for, else the one that runs fastest.
fn chosen_by_platform() {
    let registry = Registry::start();
    let mut manifests = Vec::new();
    for image in [Image::Arm64Busybox, Image::I386Busybox, Image::Amd64Busybox, Image::Busybox] {
        let reference = image.reference();
        let layout = Path::new(reference.trim_start_matches("oci:"));
        registry.push(layout, "test/all", image.arch());
        let mut manifest = manifest_of(layout);
        manifest["platform"] = json!({ "os": "linux", "architecture": image.arch() });
        manifests.push(manifest);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let put = |tag: &str, manifests: &[Value]| {
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        registry.put_manifest("test/all", tag, media_type, index.to_string().as_bytes());
    };
    put("all", &manifests);
    put("some", &manifests[..3]);
    let dir = dir();
    let out = dir.path().join("out.wasm");
    for (tag, options, machine, class) in [
        ("all", &[][..], "riscv64", "2"),
        ("some", &[], "x86_64", "2"),
        ("all", &["--platform", "linux/amd64"], "x86_64", "2"),
        ("all", &["--platform", "linux/386"], "x86_64", "1"),
        ("all", &["--platform", "linux/arm64/v8"], "aarch64", "2"),
    ] {
        let options: Vec<&str> = ["--snapshot", "none"].iter().chain(options).copied().collect();
        convert(&registry.reference(&format!("test/all:{tag}")), &out, &options);
        let script = "uname -m; od -An -td1 -j4 -N1 /bin/busybox | tr -d ' '";
        let text = Host::Native.amd64().sh(script).file(&out).ok();
        assert_eq!(text, format!("{machine}\n{class}\n"), "{tag} {options:?}");
    }
}

fn what_is_said_of_an_image() {
    for (image, platform, machine) in
        [(Image::Amd64Service, "amd64", "amd64"), (Image::I386Busybox, "386", "amd64")]
    {
        assert_eq!(image.arch(), platform);
        let json = inspect_json(&image.wasm());
        assert_eq!((json["arch"].as_str(), json["ram"].as_u64()), (Some(machine), Some(256 << 20)), "{json}");
        let kernel = &json["manifest"]["kernel"];
        assert!(kernel["source"].as_str().is_some_and(|s| s.contains("inux")), "{kernel}");
    }
    let json = inspect_json(&Image::Amd64Service.cwasm());
    assert_eq!(json["config"]["stop_signal"].as_str(), Some("SIGQUIT"));
    assert!(json["native_code"].as_u64().is_some_and(|n| n > 100_000), "{json}");
}

fn same_input_same_bytes() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    for snapshot in ["ready", "none"] {
        let bytes = [one.path().join("a.wasm"), two.path().join("longer-name.wasm")].map(|path| {
            convert(&Image::Amd64Busybox.reference(), &path, &["--snapshot", snapshot, "--no-cache"]);
            fs::read(path).expect("the module")
        });
        let differ = bytes[0].iter().zip(&bytes[1]).position(|(x, y)| x != y);
        assert!(bytes[0] == bytes[1], "{snapshot}: {} bytes, first difference at {differ:?}", bytes[0].len());
    }
}

fn memory_option() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    for (memory, least, most) in [("64M", 30, 64), ("1G", 950, 1024)] {
        convert(&Image::Amd64Busybox.reference(), &out, &["--memory", memory]);
        let run = Host::Native.amd64().run(Image::Busybox).file(&out);
        let text = run.args(["awk", "/^MemTotal/ { print $2 }", "/proc/meminfo"]).ok();
        let total = text.trim().parse::<u64>().expect("a number") >> 10;
        assert!((least..most).contains(&total), "{memory}: {total} MiB");
    }
}

fn kernel_option() {
    let dir = dir();
    let assets = product().into_iter().find(|p| p.is_dir()).expect("the directory of the assets");
    let (kernel, out) = (dir.path().join("my-kernel"), dir.path().join("out.wasm"));
    fs::copy(assets.join("Image-x86_64"), &kernel).expect("copying the kernel");
    let option = kernel.display().to_string();
    convert(
        &Image::Amd64Busybox.reference(),
        &out,
        &["--kernel", &option, "--append", "forelift.test=appended"],
    );
    let text = Host::Native.amd64().run(Image::Busybox).file(&out).args(["cat", "/proc/cmdline"]).ok();
    assert!(text.contains("forelift.test=appended"), "{text}");
    // The other machine's kernel is refused.
    let done = program(forelift(), |c| {
        let other = assets.join("Image-riscv64").display().to_string();
        c.args(["convert", "-q", "--kernel", &other, &Image::Amd64Busybox.reference()])
            .arg(dir.path().join("none"));
    });
    done.expect_status(1).one_error(&["Image-riscv64", "x86_64"]);
    assert!(!dir.path().join("none").exists());
}

/// The promise: the root file system and 30 MB.
fn size_of_the_output() {
    for image in [Image::Amd64Busybox, Image::Amd64Minbase, Image::Amd64Python3, Image::I386Minbase] {
        let wasm = image.wasm();
        let root = inspect_json(&wasm)["parts"]["root"]["stored"].as_u64().expect("a number");
        let size = fs::metadata(&wasm).expect("the output").len();
        assert!(size <= root + 30_000_000, "{image:?}: {size} bytes, root file system {root}");
    }
}

//! `forelift convert` and its siblings: every kind of input, equal output, and what comes out runs.

use forelift_tests::{
    done::Done,
    hosts::{Host, Place},
    images::{Entry, Image, convert, inspect_json, tar_of},
    process::program,
    registry::Registry,
    run::Run,
    table::{Check, Group},
    workspace::{forelift, last_line, product, script, tool},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tar::EntryType;
use tempfile::TempDir;

pub(crate) const CASES: Group = &[
    ("every_transport", Check::Once(every_transport)),
    ("every_compression", Check::Once(every_compression)),
    ("bare_paths", Check::Once(bare_paths)),
    ("registry", Check::Once(registry)),
    ("registry_platforms", Check::Once(registry_platforms)),
    ("registry_refusals", Check::Once(registry_refusals)),
    ("tags", Check::Once(tags)),
    ("same_input_same_bytes", Check::Once(same_input_same_bytes)),
    ("same_content_same_bytes", Check::Once(same_content_same_bytes)),
    ("a_cache_changes_nothing", Check::Once(a_cache_changes_nothing)),
    ("without_snapshot", Check::Everywhere(&Host::ALL, without_snapshot)),
    ("plain_module", Check::On(&[Host::Wasm], plain_module)),
    ("memory_option", Check::Once(memory_option)),
    ("append_option", Check::Once(append_option)),
    ("kernel_option", Check::Once(kernel_option)),
    ("json_report", Check::Once(json_report)),
    ("inspect", Check::Once(inspect)),
    ("names_of_lifted_functions", Check::Once(names_of_lifted_functions)),
    ("compile", Check::Once(compile)),
    ("default_output_name", Check::Once(default_output_name)),
    ("rootfs_is_sound", Check::Once(rootfs_is_sound)),
    ("image_without_command", Check::Once(image_without_command)),
    ("image_without_passwd", Check::Once(image_without_passwd)),
    ("image_without_standard_directories", Check::Once(image_without_standard_directories)),
    ("files_that_docker_adds", Check::Once(files_that_docker_adds)),
    ("image_of_one_static_program", Check::Once(image_of_one_static_program)),
    ("size_of_the_output", Check::Once(size_of_the_output)),
    ("progress_is_quiet_when_asked", Check::Once(progress_is_quiet_when_asked)),
];

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn run_file(file: &Path) -> Run {
    Host::Wasm.riscv64().run(Image::Busybox).file(file)
}

/// Converts, runs `echo` in it, and removes the result.
fn works(reference: &str) {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(reference, &out, &[]);
    assert_eq!(
        run_file(&out).args(["sh", "-c", "echo works; uname -m"]).ok(),
        "works\nriscv64\n",
        "{reference}"
    );
}

fn mkimage(options: &[&str], layers: &str, out: &Path) {
    let mut args: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    args.extend([OsStr::new(layers), out.as_os_str()]);
    last_line(script("mkimage"), &args);
}

fn busybox_tar() -> String {
    Image::Busybox.rootfs().display().to_string()
}

fn every_transport() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    let tar = busybox_tar();
    mkimage(&["--format", "oci-archive"], &tar, &at("oci.tar"));
    mkimage(&["--format", "docker-archive"], &tar, &at("docker.tar"));
    fs::create_dir(at("root")).expect("a directory");
    let status = Command::new(tool("tar")).args(["-xf", &tar, "-C"]).arg(at("root")).status().expect("tar");
    assert!(status.success());
    works(&Image::Busybox.reference());
    for (transport, name) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar"), ("dir", "root")] {
        works(&format!("{transport}:{}", at(name).display()));
    }
    works(&format!("tar:{tar}"));
}

fn every_compression() {
    let dir = dir();
    for compression in ["none", "gzip", "zstd"] {
        let out = dir.path().join(compression);
        mkimage(&["--compression", compression], &busybox_tar(), &out);
        works(&format!("oci:{}", out.display()));
    }
    let tar = dir.path().join("root.tar");
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        fs::copy(busybox_tar(), &tar).expect("copying");
        let status = Command::new(tool(program)).args(["-q", "-f"]).arg(&tar).status().expect("compressing");
        assert!(status.success());
        works(&format!("tar:{}.{suffix}", tar.display()));
    }
}

fn bare_paths() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    mkimage(&["--format", "oci-archive"], &busybox_tar(), &at("a"));
    mkimage(&["--format", "docker-archive"], &busybox_tar(), &at("b"));
    let layout = Image::Busybox.reference();
    works(layout.strip_prefix("oci:").expect("an OCI layout"));
    works(&at("a").display().to_string());
    works(&at("b").display().to_string());
    works(&busybox_tar());
}

fn registry() {
    let registry = Registry::start();
    let layout = Image::Service.reference();
    registry.push(Path::new(layout.strip_prefix("oci:").expect("an OCI layout")), "test/service", "v1");
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(&registry.reference("test/service:v1"), &out, &[]);
    let text = run_file(&out).ok();
    assert!(text.contains("arguments: default command\nuser: 1000:1001 app\n"), "{text}");
    // Without the transport's name, and by digest.
    let reference = registry.reference("test/service:v1");
    convert(reference.trim_start_matches("docker://"), &dir.path().join("again.wasm"), &[]);
    let index =
        fs::read(Path::new(layout.trim_start_matches("oci:")).join("index.json")).expect("index.json");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    convert(&registry.reference(&format!("test/service@{digest}")), &dir.path().join("digest.wasm"), &[]);
}

/// An index of two architectures: ours is taken.
fn registry_platforms() {
    let registry = Registry::start();
    let dir = dir();
    let foreign = dir.path().join("foreign");
    let tar = dir.path().join("foreign.tar");
    fs::write(&tar, tar_of(&[Entry::file("file", 0o644, b"x")])).expect("writing");
    mkimage(&["--arch", "amd64"], &tar.display().to_string(), &foreign);
    let own = Image::Busybox.reference();
    let own = Path::new(own.trim_start_matches("oci:"));
    let mut manifests = Vec::new();
    for (layout, arch) in [(foreign.as_path(), "amd64"), (own, "riscv64")] {
        registry.push(layout, "test/multi", arch);
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).expect("index.json")).expect("JSON");
        manifests.push(index["manifests"][0].clone());
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    registry.put_manifest("test/multi", "latest", media_type, index.to_string().as_bytes());
    works(&registry.reference("test/multi"));
}

fn registry_refusals() {
    let registry = Registry::start();
    for (reference, word) in [
        (registry.reference("no/such:tag"), "no/such"),
        ("docker://127.0.0.1:1/refused:x".to_owned(), "127.0.0.1:1"),
        ("docker://127.0.0.1:1/UPPER CASE".to_owned(), "UPPER"),
    ] {
        let dir = dir();
        let out = dir.path().join("out.wasm");
        let done = program(forelift(), |c| {
            c.args(["convert", "-q", &reference]).arg(&out);
        });
        done.one_error(&[word]).expect_status(1);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}

fn tags() {
    let dir = dir();
    let out = dir.path().join("image");
    mkimage(&["--tag", "example/app:v7", "--cmd", "echo tagged"], &busybox_tar(), &out);
    let wasm = dir.path().join("out.wasm");
    convert(&format!("oci:{}:example/app:v7", out.display()), &wasm, &[]);
    assert_eq!(run_file(&wasm).ok(), "tagged\n");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", &format!("oci:{}:other", out.display())]).arg(dir.path().join("none.wasm"));
    });
    done.expect_status(1).one_error(&["other"]);
}

fn same_input_same_bytes() {
    let (one, two) = (dir(), dir());
    for snapshot in ["ready", "none"] {
        for image in [Image::Busybox, Image::Service] {
            let paths = [one.path().join("a.wasm"), two.path().join("longer-name.wasm")];
            for path in &paths {
                convert(&image.reference(), path, &["--snapshot", snapshot, "--no-cache"]);
            }
            let [a, b] = paths.map(|p| fs::read(p).expect("reading"));
            let differ = a.iter().zip(&b).position(|(x, y)| x != y);
            assert!(
                a == b,
                "{image:?} {snapshot}: {} and {} bytes, first difference at {differ:?}",
                a.len(),
                b.len()
            );
        }
    }
}

/// The same image in another kind of archive has the same root file system and the same guest.
fn same_content_same_bytes() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    mkimage(&["--format", "oci-archive", "--cmd", "sh"], &busybox_tar(), &at("archive"));
    let info = |reference: &str, name: &str| {
        convert(reference, &at(name), &["--snapshot", "none"]);
        let json = inspect_json(&at(name));
        (json["manifest"]["digest"].clone(), json["hostname"].clone(), json["parts"]["root"].clone())
    };
    let layout = info(&Image::Busybox.reference(), "a.wasm");
    assert_eq!(layout, info(&format!("oci-archive:{}", at("archive").display()), "b.wasm"));
}

/// Without a cache, with an empty, a filled, a partly damaged, and an impossible one; on any number of
/// threads.
fn a_cache_changes_nothing() {
    let dir = dir();
    let (out, cache) = (dir.path().join("out.wasm"), dir.path().join("cache"));
    let reference = Image::Busybox.reference();
    let convert = |cache: &Path, threads: &str, options: &[&str]| {
        let done = program(forelift(), |c| {
            c.env("FORELIFT_CACHE", cache).env("RAYON_NUM_THREADS", threads);
            c.args(["convert", "-q", "--json"]).args(options).arg(&reference).arg(&out);
        });
        let json: Value = serde_json::from_str(&done.ok()).expect("JSON");
        let number = |name: &str| json["effort"][name].as_u64().expect(name);
        assert_eq!(json["lifted"]["functions"].as_u64().map(|n| n > 100), Some(true), "{json}");
        let trained = json["effort"]["training_cached"] == false;
        (fs::read(&out).expect("the output"), trained, number("lifted"), number("cached"))
    };
    let command = ["--train", "sh -c 'ls -lR /etc /bin'"];

    let (plain, trained, all, cached) = convert(&cache, "1", &[&command[..], &["--no-cache"]].concat());
    assert!(trained && all > 100 && cached == 0 && !cache.exists());
    let (cold, trained, lifted, cached) = convert(&cache, "3", &command);
    assert!(cold == plain && trained && cached == 0 && lifted == all);
    let (warm, trained, lifted, cached) = convert(&cache, "2", &command);
    assert!(warm == plain && !trained && cached == all && lifted == 0);

    let shards = fs::read_dir(cache.join("lift")).expect("a cache").map(|e| e.expect("an entry").path());
    let files: Vec<PathBuf> =
        shards.flat_map(|d| fs::read_dir(d).expect("reading").map(|e| e.expect("an entry").path())).collect();
    assert!(files.len() > 100);
    for file in files.iter().step_by(2) {
        let mut bytes = fs::read(file).expect("reading");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(file, bytes).expect("writing");
    }
    let (damaged, _, lifted, cached) = convert(&cache, "1", &command);
    assert!(damaged == plain && lifted > 0 && cached > 0 && lifted + cached == all);
    let (repaired, trained, lifted, _) = convert(&cache, "4", &command);
    assert!(repaired == plain && !trained && lifted == 0);
    let (none, trained, lifted, _) = convert(Path::new("/dev/null/no"), "2", &command);
    assert!(none == plain && trained && lifted == all);

    // Another command has much in common with it: the kernel, the shell.
    let (other, trained, lifted, cached) =
        convert(&cache, "2", &["--train", "sh -c 'ls -lR /etc; sort /etc/passwd'"]);
    assert!(other != plain && trained && lifted > 0 && cached > 0);
}

fn without_snapshot(host: Place) {
    let done = host.sh("echo cold; exit 7").file(host.image(Image::Busybox).wasm_cold()).stdin("x").go();
    done.expect_status(7).expect_out("cold\n").expect_err("");
}

/// The .wasm itself, not precompiled; with an empty cache, and with a filled one.
fn plain_module(host: Place) {
    let cache = dir();
    for _ in 0..2 {
        let mut command = host.sh("echo hello").file(host.image(Image::Busybox).wasm()).command();
        command.env("XDG_CACHE_HOME", cache.path()).env_remove("FORELIFT_CACHE");
        let output = command.output().expect("running the host");
        assert_eq!(
            (output.status.code(), output.stdout.as_slice(), output.stderr.as_slice()),
            (Some(0), &b"hello\n"[..], &b""[..])
        );
    }
    assert!(
        fs::read_dir(cache.path().join("forelift")).is_ok_and(|mut d| d.next().is_some()),
        "nothing was cached"
    );
    let text = host.sh("echo hello").file(host.image(Image::Busybox).wasm()).option("--no-cache").ok();
    assert_eq!(text, "hello\n");
}

fn memory_option() {
    let total = |memory: &str| {
        let dir = dir();
        let out = dir.path().join("out.wasm");
        convert(&Image::Busybox.reference(), &out, &["--memory", memory]);
        let text = run_file(&out).args(["awk", "/^MemTotal/ { print $2 }", "/proc/meminfo"]).ok();
        text.trim().parse::<u64>().expect("a number") >> 10
    };
    let (small, large) = (total("64M"), total("1G"));
    assert!((40..64).contains(&small), "64M: {small} MiB");
    assert!((960..1024).contains(&large), "1G: {large} MiB");
}

fn append_option() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(&Image::Busybox.reference(), &out, &["--append", "forelift.test=appended quiet"]);
    let text = run_file(&out).args(["cat", "/proc/cmdline"]).ok();
    assert!(text.contains("forelift.test=appended"), "{text}");
}

fn built_in_kernel() -> PathBuf {
    let assets = product().into_iter().find(|p| p.is_dir()).expect("the directory of the assets");
    assets.join("Image-riscv64")
}

fn kernel_option() {
    let dir = dir();
    let kernel = dir.path().join("my-kernel");
    fs::copy(built_in_kernel(), &kernel).expect("copying the kernel");
    let out = dir.path().join("out.wasm");
    convert(&Image::Busybox.reference(), &out, &["--kernel", &kernel.display().to_string()]);
    assert_eq!(run_file(&out).args(["uname", "-s"]).ok(), "Linux\n");
    let json = inspect_json(&out);
    assert!(json["manifest"]["kernel"]["origin"].as_str().is_some_and(|o| o.contains("my-kernel")), "{json}");
}

fn json_report() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", "--json", &Image::Service.reference()]).arg(&out);
    });
    let json: Value = serde_json::from_str(&done.ok()).expect("JSON");
    assert_eq!(json["size"].as_u64(), Some(fs::metadata(&out).expect("the output").len()));
    assert_eq!((json["arch"].as_str(), json["snapshot"].as_bool()), (Some("riscv64"), Some(true)));
    assert!(json["digest"].as_str().is_some_and(|d| d.starts_with("sha256:") && d.len() == 71), "{json}");
}

fn inspect() {
    let json = inspect_json(&Image::Service.wasm());
    let config = &json["config"];
    let list =
        |v: &Value| v.as_array().map(|a| a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    assert_eq!(list(&config["entrypoint"]).as_deref(), Some("/srv/app/entry --from-entrypoint"));
    assert_eq!(list(&config["cmd"]).as_deref(), Some("default command"));
    assert_eq!(list(&config["volumes"]).as_deref(), Some("/data"));
    assert_eq!(list(&config["exposed_ports"]).as_deref(), Some("8080/tcp"));
    assert_eq!(
        (config["user"].as_str(), config["working_dir"].as_str()),
        (Some("app"), Some("/srv/app/work"))
    );
    assert_eq!(config["stop_signal"].as_str(), Some("SIGQUIT"));
    assert_eq!((json["arch"].as_str(), json["ram"].as_u64()), (Some("riscv64"), Some(256 << 20)));
    let stored: u64 =
        json["parts"].as_object().expect("parts").values().filter_map(|p| p["stored"].as_u64()).sum();
    assert_eq!(Some(stored), json["size"].as_u64(), "the parts do not sum up: {json}");
    // Compiled: the same, and native code.
    let compiled = inspect_json(&Image::Service.cwasm());
    assert_eq!(compiled["config"], *config);
    assert!(compiled["native_code"].as_u64().is_some_and(|n| n > 100_000), "{compiled}");
    // For people.
    let text = program(forelift(), |c| {
        c.arg("inspect").arg(Image::Service.wasm());
    });
    let text = text.ok();
    for word in ["riscv64", "SIGQUIT", "/data", "8080/tcp", "hello from the image", "256"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

/// Trained on busybox's `sha256sum`: its names in the table, in the report, and for `perf`.
fn names_of_lifted_functions() {
    let dir = dir();
    let (image, table) = (dir.path().join("image.wasm"), dir.path().join("image.map"));
    let busy = "dd if=/dev/zero bs=1k count=256 2>/dev/null | sha256sum";
    let train = format!("sh -c '{busy}'");
    convert(
        &Image::Busybox.reference(),
        &image,
        // Without a budget, what is left is what cannot be lifted, and what is cold.
        &["--lift", "max", "--train", &train, "--symbol-map", table.to_str().expect("a name")],
    );
    let text = fs::read_to_string(&table).expect("the table");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let first: usize = rows[0][0].parse().expect("a function's index");
    for (n, row) in rows.iter().enumerate() {
        assert_eq!((row.len(), row[0].parse()), (6, Ok(first + n)), "{row:?}");
        assert!(row[3].starts_with("0x") && row[4].parse::<u64>().is_ok_and(|size| size > 0), "{row:?}");
        let base = row[2].rsplit('/').next().expect("a part");
        assert!(row[2] == "-" || row[1].starts_with(&format!("{base}:")), "{row:?}");
    }
    let names: BTreeSet<&str> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(names.len(), rows.len(), "names are not unique");
    let kernel = |name: &&&str| name.starts_with("vmlinux:") && !name.starts_with("vmlinux:0x");
    assert!(names.iter().filter(kernel).count() > 20, "{text}");
    assert!(rows.iter().any(|row| row[1].starts_with("busybox:") && row[2].ends_with("/busybox")), "{text}");

    let json = inspect_json(&image);
    let report = &json["manifest"]["lifted"];
    let hottest = report["hottest"].as_array().expect("a list");
    assert!((1..=50).contains(&hottest.len()), "{report}");
    let executed = |item: &Value| item["executed"].as_u64().expect("a number");
    assert!(hottest.windows(2).all(|w| executed(&w[0]) >= executed(&w[1])), "{report}");
    let hot = hottest[0]["name"].as_str().expect("a name");
    assert!(names.contains(hot) && hot.starts_with("busybox:"), "{hot}");
    let left = report["left"].as_array().expect("a list");
    assert!(
        left.iter().any(|l| l["why"] == "sfence.vma" && l["place"] == "vmlinux:__flush_tlb_range"),
        "{report}"
    );
    let shown = program(forelift(), |c| {
        c.arg("inspect").arg(&image);
    });
    assert!(shown.ok().contains(hot));

    // What `perf` reads. A precompiled image has no names in its code.
    let compiled = dir.path().join("image.cwasm");
    program(forelift(), |c| {
        c.args(["compile", "-q"]).arg(&image).arg(&compiled);
    })
    .ok();
    for file in [&image, &compiled] {
        let mut child = Command::new(forelift())
            .args(["run", "--profile", "perfmap"])
            .arg(file)
            .args(["sh", "-c", busy])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("forelift");
        let map = PathBuf::from(format!("/tmp/perf-{}.map", child.id()));
        assert!(child.wait().expect("its end").success());
        let text = fs::read_to_string(&map).unwrap_or_else(|e| panic!("{}: {e}", map.display()));
        fs::remove_file(&map).expect("removing");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(3, ' ').collect()).collect();
        assert!(lines.iter().any(|line| line[2] == hot), "{hot} is not in {}", map.display());
    }
}

fn compile() {
    let dir = dir();
    let wasm = dir.path().join("app.wasm");
    fs::copy(Image::Busybox.wasm(), &wasm).expect("copying");
    program(forelift(), |c| {
        c.args(["compile", "-q"]).arg(&wasm);
    })
    .ok();
    let cwasm = dir.path().join("app.cwasm");
    assert_eq!(run_file(&cwasm).args(["echo", "compiled"]).ok(), "compiled\n");
    // Native code is trusted: it must not come in by a name that promises WebAssembly.
    fs::copy(&cwasm, &wasm).expect("copying");
    run_file(&wasm).args(["echo"]).go().expect_status(125).one_error(&["app.wasm", "cwasm"]);
}

fn default_output_name() {
    let dir = dir();
    let tar = dir.path().join("my-root.tar");
    fs::copy(busybox_tar(), &tar).expect("copying");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", "my-root.tar"]).current_dir(dir.path());
    });
    done.ok();
    assert_eq!(run_file(&dir.path().join("my-root.wasm")).args(["echo", "named"]).ok(), "named\n");
}

fn rootfs_is_sound() {
    for image in [Image::Service, Image::Minbase] {
        let dir = dir();
        let out = dir.path().join("root.erofs");
        program(forelift(), |c| {
            c.args(["rootfs", "-q", &image.reference()]).arg(&out);
        })
        .ok();
        let check = program(tool("fsck.erofs"), |c| {
            c.arg(&out);
        });
        check.expect_status(0);
    }
}

/// An image that is a tar of these entries and busybox's program.
fn small_image(dir: &Path, entries: &[Entry<'_>], options: &[&str]) -> PathBuf {
    let mut archive = tar::Archive::new(fs::File::open(busybox_tar()).expect("busybox's tar"));
    let mut program = Vec::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        if entry.path().is_ok_and(|p| p.ends_with("usr/bin/busybox")) {
            std::io::Read::read_to_end(&mut entry, &mut program).expect("busybox");
        }
    }
    assert!(!program.is_empty(), "no busybox in {}", busybox_tar());
    let mut all = vec![Entry::file("busybox", 0o755, &program)];
    all.extend_from_slice(entries);
    let tar = dir.join("small.tar");
    fs::write(&tar, tar_of(&all)).expect("writing");
    let image = dir.join("image");
    mkimage(options, &tar.display().to_string(), &image);
    let out = dir.join("out.wasm");
    convert(&format!("oci:{}", image.display()), &out, &[]);
    out
}

fn image_without_command() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &[]);
    let done = run_file(&out).go().expect_status(125);
    assert!(done.err().contains("no command specified") && done.err().lines().count() == 1, "{done}");
    assert_eq!(run_file(&out).args(["/busybox", "echo", "given"]).ok(), "given\n");
}

fn image_without_passwd() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &["--user", "4242:4343", "--cmd", r#"["/busybox","id","-u"]"#]);
    assert_eq!(run_file(&out).ok(), "4242\n");
    assert_eq!(run_file(&out).args(["/busybox", "id", "-g"]).ok(), "4343\n");
    let done = run_file(&out).user("name").go().expect_status(125);
    assert!(done.err().contains("unable to find user name"), "{done}");
}

/// Nothing but a program: /proc, /dev, /etc and so on are made.
fn image_without_standard_directories() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &["--entrypoint", "/busybox"]);
    let script = "for f in /proc/self /sys/kernel /dev/null /etc/hosts /etc/resolv.conf /dev/shm /dev/pts; do \
        /busybox test -e $f || /busybox echo no $f; done; /busybox touch /new && /busybox echo writable";
    assert_eq!(run_file(&out).args(["sh", "-c", script]).ok(), "writable\n");
}

/// `/etc/mtab` and `/.dockerenv` are made in an image without them; the image's own stay.
fn files_that_docker_adds() {
    let dir = dir();
    let look = "/busybox readlink /etc/mtab; /busybox cat /.dockerenv; /busybox stat -c '%F %a' /.dockerenv";
    let out = small_image(dir.path(), &[], &["--entrypoint", "/busybox"]);
    assert_eq!(run_file(&out).args(["sh", "-c", look]).ok(), "/proc/mounts\nregular empty file 755\n");
    let own = [
        Entry::link("etc/mtab", EntryType::Symlink, "../proc/self/mounts"),
        Entry::file(".dockerenv", 0o600, b"the image's\n"),
    ];
    let other = self::dir();
    let out = small_image(other.path(), &own, &["--entrypoint", "/busybox"]);
    let text = run_file(&out).args(["sh", "-c", look]).ok();
    assert_eq!(text, "../proc/self/mounts\nthe image's\nregular file 600\n");
}

fn image_of_one_static_program() {
    let dir = dir();
    let out = small_image(
        dir.path(),
        &[],
        &["--entrypoint", r#"["/busybox","echo","static"]"#, "--workdir", "/w/d"],
    );
    assert_eq!(run_file(&out).args(["x"]).ok(), "static x\n");
}

/// The promise: the root file system and 24 MB.
fn size_of_the_output() {
    for image in Image::ALL {
        let wasm = image.wasm();
        let json = inspect_json(&wasm);
        let root = json["parts"]["root"]["stored"].as_u64().expect("a number");
        let size = fs::metadata(&wasm).expect("the output").len();
        assert!(size <= root + 24_000_000, "{image:?}: {size} bytes, root file system {root}");
    }
}

fn progress_is_quiet_when_asked() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    let run = |options: &[&str]| -> Done {
        program(forelift(), |c| {
            c.arg("convert").args(options).arg(Image::Busybox.reference()).arg(&out);
        })
    };
    run(&["-q"]).expect_status(0).expect_out("").expect_err("");
    let done = run(&[]).expect_status(0);
    assert!(done.out().lines().count() == 1 && done.out().contains("out.wasm"), "{done}");
    assert!(done.err().lines().count() >= 2 && !done.err().contains('\x1b'), "{done}");
}

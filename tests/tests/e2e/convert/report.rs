//! What convert and inspect say of an image: the report, the names of lifted functions, sizes.

use crate::testing::dir;
use forelift_tests::{
    images::{Image, convert, inspect_json},
    process::program,
    workspace::forelift,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

pub(super) fn json_report() {
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

pub(super) fn inspect() {
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
pub(super) fn names_of_lifted_functions() {
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

/// The promise: the root file system and 24 MB.
pub(super) fn size_of_the_output() {
    for image in Image::ALL {
        let wasm = image.wasm();
        let json = inspect_json(&wasm);
        let root = json["parts"]["root"]["stored"].as_u64().expect("a number");
        let size = fs::metadata(&wasm).expect("the output").len();
        assert!(size <= root + 24_000_000, "{image:?}: {size} bytes, root file system {root}");
    }
}

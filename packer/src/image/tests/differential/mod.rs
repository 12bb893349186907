//! Random stacks of layers, laid over each other here and by `umoci unpack`: the trees must be equal, but for
//! the deviations that [`stacks::Deviation`] names.
//!
//! `FORELIFT_SEEDS=FROM..TO` (or one seed) runs others than the fixed ones, for as long as they take.

mod names;
mod stacks;

use crate::image::{
    Kind, LoadOptions, LoadedImage, load,
    testing::{OciLayout, gzip},
};
use stacks::{DEVIATIONS, Deviation, Entry, archive, stack};
use std::{
    collections::{BTreeMap, HashMap},
    env,
    fmt::Write,
    fs,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
};

/// Seeds of an ordinary run.
const SEEDS: Range<u64> = 0..300;

fn seeds() -> Range<u64> {
    let Ok(text) = env::var("FORELIFT_SEEDS") else { return SEEDS };
    let parse = |s: &str| s.trim().parse::<u64>().unwrap_or_else(|e| panic!("FORELIFT_SEEDS={text}: {e}"));
    let range = match text.split_once("..") {
        Some((from, to)) => parse(from)..parse(to),
        None => parse(&text)..parse(&text) + 1,
    };
    assert!(!range.is_empty(), "FORELIFT_SEEDS={text}: no seed in it");
    range
}

/// A layout of these layers, tagged `t`.
fn layout(layers: &[Vec<Entry>]) -> OciLayout {
    let mut layout = OciLayout::new();
    let tars: Vec<_> =
        layers.iter().map(|layer| archive(layer)).map(|tar| (tar.clone(), gzip(&tar))).collect();
    layout.image("riscv64", Some("t"), serde_json::json!({}), &tars);
    layout
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// What umoci makes of a layout.
fn unpack(layout: &OciLayout, to: &Path) -> LoadedImage {
    let mut command = Command::new("umoci");
    command.args(["raw", "unpack", "--image", &format!("{}:t", layout.dir.path().display())]);
    if !is_root() {
        command.arg("--rootless");
    }
    let output = command.arg(to).output().unwrap_or_else(|e| panic!("umoci: {e}: run `scripts/setup test`"));
    assert!(output.status.success(), "umoci: {}", String::from_utf8_lossy(&output.stderr));
    load(&format!("dir:{}", to.display()), &LoadOptions::default(), &mut ()).unwrap()
}

/// All that is compared of a tree, a line for each path: kind, metadata, content or target, and for one of
/// several names of an inode the first of them.
fn listing(image: &LoadedImage, owners: bool) -> BTreeMap<String, String> {
    let tree = &image.tree;
    let mut lines = BTreeMap::new();
    let mut first: HashMap<usize, String> = HashMap::new();
    let mut todo = vec![(String::new(), tree.root())];
    while let Some((path, id)) = todo.pop() {
        for (name, dirent) in tree.entries(id).into_iter().flatten().rev() {
            todo.push((format!("{path}/{}", String::from_utf8_lossy(name)), dirent.inode));
        }
        if path.is_empty() {
            continue;
        }
        let node = tree.inode(id);
        let meta = &node.meta;
        let mut line = match &node.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::Symlink(to) => format!("link to {}", String::from_utf8_lossy(to)),
            Kind::File { size, .. } => {
                let mut data = vec![0; *size as usize];
                tree.read_at(id, 0, &mut data).unwrap();
                format!("file `{}`", String::from_utf8_lossy(&data))
            }
            other => format!("{other:?}"),
        };
        write!(line, " of {}", first.entry(id.index()).or_insert_with(|| path.clone())).unwrap();
        write!(line, " at {}.{}", meta.mtime.secs, meta.mtime.nanos).unwrap();
        if !matches!(node.kind, Kind::Symlink(_)) {
            write!(line, " mode {:o}", meta.mode).unwrap();
        }
        if owners {
            write!(line, " owner {}:{}", meta.uid, meta.gid).unwrap();
        }
        lines.insert(path, line);
    }
    lines
}

/// How the trees differ. Where a mark removes what is deeper down, umoci leaves the directory there with the
/// time of the unpacking, which no entry here has: that is counted instead.
fn difference(ours: &LoadedImage, theirs: &LoadedImage, times: &mut usize) -> String {
    let (mut ours, theirs) = (listing(ours, is_root()), listing(theirs, is_root()));
    for (path, line) in theirs.iter().filter(|(_, line)| line.starts_with("dir")) {
        let (of, at) = line.split_once(" at ").unwrap();
        let (time, rest) = at.split_once(' ').unwrap();
        let seconds: f64 = time.parse().unwrap();
        if let Some(line) = ours.get_mut(path).filter(|line| line.starts_with("dir") && seconds > 1e6) {
            let ended = line.split_once(" mode").unwrap().1.to_owned();
            *line = format!("{of} at {time} mode{ended}");
            assert!(rest.starts_with("mode"));
            *times += 1;
        }
    }
    let mut text = String::new();
    for path in ours.keys().chain(theirs.keys().filter(|path| !ours.contains_key(*path))) {
        let (a, b) = (ours.get(path), theirs.get(path));
        if a != b {
            writeln!(text, "{path}:\n  ours  {a:?}\n  umoci {b:?}").unwrap();
        }
    }
    text
}

fn show(layers: &[Vec<Entry>]) -> String {
    let mut text = String::new();
    for (number, layer) in layers.iter().enumerate() {
        writeln!(text, "layer {}", number + 1).unwrap();
        for Entry { path, kind, number } in layer {
            writeln!(text, "  {path} {kind:?} ({number})").unwrap();
        }
    }
    text
}

#[test]
fn random_stacks_are_what_umoci_unpacks() {
    let seeds = seeds();
    let mut count: BTreeMap<Deviation, usize> = BTreeMap::new();
    let (mut entries, mut names, mut times) = (0, 0, 0);
    for seed in seeds.clone() {
        let made = stack(seed);
        let told = format!(
            "FORELIFT_SEEDS={seed} repeats this.\nours:\n{}umoci's:\n{}",
            show(&made.ours),
            show(&made.theirs)
        );
        let ours = load(&layout(&made.ours).name(), &LoadOptions::default(), &mut ())
            .unwrap_or_else(|e| panic!("{e}\n{told}"));
        let dir = tempfile::tempdir().unwrap();
        let theirs = std::panic::catch_unwind(|| unpack(&layout(&made.theirs), &dir.path().join("root")))
            .unwrap_or_else(|_| panic!("{told}"));
        let difference = difference(&ours, &theirs, &mut times);
        assert!(difference.is_empty(), "{difference}{told}");
        for (deviation, n) in made.deviations {
            *count.entry(deviation).or_default() += n;
        }
        entries += made.ours.iter().map(Vec::len).sum::<usize>();
        names += ours.tree.live_inodes() - 1;
    }
    println!(
        "{} stacks, {entries} entries, {names} inodes left, {times} without their time; {count:?}",
        seeds.end - seeds.start
    );
    if seeds == SEEDS {
        assert!(entries > 4_000 && names > 1_200, "{entries} entries, {names} inodes");
        for deviation in DEVIATIONS {
            assert!(count.get(&deviation).is_some_and(|&n| n >= 5), "{deviation:?} hardly occurs: {count:?}");
        }
    }
}

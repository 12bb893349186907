//! A directory that any static web server can serve and whose page runs the container: `convert --web`.
//!
//! ```text
//! index.html             the page
//! image.json             the names of everything below
//! NOTICE                 licences of what the rest is
//! sw.js                  a service worker, with which the page opens without a network
//! app-DIGEST/            the page's programs, the npm package `forelift` among them
//! code-DIGEST.wasm       emulator, lifted code, machine state; .br and .gz beside it
//! data/DIGEST.bin        guest RAM as it was saved, and the root file system, in compressed pieces
//! ```
//!
//! The code is a module like any image's, without RAM's contents and with a root file system outside of it
//! ([`forelift_abi::embed::ROOT_FD`]). All names but the first four are made of digests, so everything but
//! those can be cached for ever, and parts of two versions never meet.
//!
//! * [`files`] fills the directory, whole or not at all;
//! * [`pieces`] cuts and compresses the data;
//! * [`first`] finds out what a command reads first;
//! * [`manifest`] is the contents of `image.json`.

pub mod files;
pub mod first;
pub mod manifest;
pub mod pieces;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use forelift_abi::layout::REGION_ALIGN;
use rayon::join;
use serde::Serialize;
use thiserror::Error;
use wasmparser::{Parser, Payload};

use crate::{
    assets::{self, AssetError, WebAssets},
    lift::train,
    pack::{
        self, PackError, Parts, manifest::Manifest as Image, module::ModuleError, output::beside, writer,
    },
    progress::Stages,
};
use files::{Directory, Spool};
use manifest::{Code, Manifest, Page, Root};

/// Why there is no directory.
#[derive(Debug, Error)]
pub enum WebError {
    /// The directory, or a file in it, cannot be written.
    #[error("{path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The parts do not make a module.
    #[error("{path}: {source}")]
    Module {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
    /// The installation lacks the page.
    #[error(transparent)]
    Asset(#[from] AssetError),
}

/// What the page is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its title.
    pub title: String,
    /// Arguments for the image, split as a shell does.
    pub args: Vec<String>,
    /// Where the container has its network from: `fetch`, or the address of a relay.
    pub net: Option<String>,
    /// Its ports that the page shows.
    pub ports: Vec<u16>,
    /// Whether the page's address cannot change anything.
    pub fixed: bool,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Bytes that a visitor's browser fetches before the container runs, when the server compresses the code.
    pub to_open: u64,
    /// Bytes of all files.
    pub total: u64,
    /// Number of files.
    pub files: usize,
    /// Largest file.
    pub largest: u64,
}

/// The network that the page's own requests are.
pub const FETCH: &str = "fetch";
/// The program that such a network needs, and no other.
const GATEWAY: &str = "gateway.wasm";

/// Most functions of a module, and bytes of one's body, that V8 accepts (`wasm-limits.h`).
const MOST_FUNCTIONS: u32 = 1_000_000;
const LARGEST_BODY: u64 = 7_654_321;

/// What the directory is made of.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// The emulator, with lifted code if there is any.
    pub runtime: &'a [u8],
    /// Whether its functions keep their names.
    pub keep_names: bool,
    /// The image.
    pub parts: Parts<'a>,
    /// The blocks of its root file system that are read first, as bits.
    pub first: &'a [u64],
}

/// Writes the directory for `contents`; `image` is what its module says of itself.
///
/// # Errors
/// When the parts do not fit a module that browsers take, or the directory cannot be written.
pub fn write(
    contents: &Contents<'_>,
    mut image: Image,
    options: &Options,
    files: Files,
    stages: &mut Stages,
) -> Result<(writer::Summary, Summary), WebError> {
    let Files { directory, assets } = files;
    let path = directory.path().to_path_buf();
    let io = |source| WebError::Directory { path: path.clone(), source };
    let mut spool = Spool::new(beside(&path)).map_err(io)?;
    let Parts { ram, root, .. } = contents.parts;
    let outside = (root.len() as u64).next_multiple_of(REGION_ALIGN);
    let title = options.title.clone();

    stages.begin("compressing the code", None);
    image.data = files::digest_of(&[ram, root]);
    let data_digest = image.data.clone();
    let mut bytes = Vec::new();
    let parts = Parts { ram: &[], root: &[], root_outside: outside, ..contents.parts };
    let pack = writer::Options { keep_names: contents.keep_names, shell: None };
    let summary = pack::pack(contents.runtime, &parts, image, pack, &mut bytes, |_, _| {})
        .and_then(|summary| check(&bytes).map(|()| summary))
        .map_err(|source| WebError::Module { path: path.clone(), source })?;
    let (gzipped, brotli) = join(|| pieces::gzip(&bytes), || compress_brotli(&bytes));
    let brotli = brotli.map_err(io)?;
    let code = spool.add_named("code-", ".wasm", &bytes).map_err(io)?;
    spool.add(format!("{code}.gz"), &gzipped).map_err(io)?;
    spool.add(format!("{code}.br"), &brotli).map_err(io)?;

    stages.begin("compressing memory", Some(ram.len() as u64));
    let memory = pieces::memory(ram, summary.header.ram.addr, &mut spool, stages).map_err(io)?;
    stages.begin("compressing the files", Some(root.len() as u64));
    let chunks = pieces::chunks(root, &mut spool, stages).map_err(io)?;
    let first = pieces::blocks(root, contents.first, &mut spool, stages).map_err(io)?;

    stages.begin("writing the directory", None);
    let app = add_app(&assets, &mut spool).map_err(io)?;
    let page = page(&assets.index, &app, &title);
    let has_gateway = !options.ports.is_empty() || options.net.as_deref() == Some(FETCH);
    let opened = assets.app.iter().filter(|(name, _)| has_gateway || name != GATEWAY);
    let programs: u64 = opened.map(|(_, bytes)| bytes.len() as u64).sum();
    let data: u64 = memory.iter().chain(&first).map(|piece| piece.size).sum();
    let manifest = Manifest {
        format: manifest::FORMAT,
        forelift: env!("CARGO_PKG_VERSION").into(),
        data: data_digest,
        code: Code { file: code, size: bytes.len() as u64 },
        memory,
        root: Root { size: outside, chunk: pieces::CHUNK as u64, chunks, first },
        page: Page {
            title,
            args: options.args.clone(),
            net: options.net.clone(),
            ports: options.ports.clone(),
            fixed: options.fixed,
        },
        files: spool.names(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(io::Error::from).map_err(io)?;
    let to_open = brotli.len() as u64 + data + programs + (page.len() + manifest.len()) as u64;
    let last = [
        ("NOTICE", &assets.notice[..]),
        ("sw.js", &assets.service_worker),
        ("index.html", page.as_bytes()),
        ("image.json", &manifest),
    ];
    let (files, total, largest) = directory.publish(spool, &last).map_err(io)?;
    stages.end();
    Ok((summary, Summary { to_open, total, files, largest }))
}

/// Adds the page's programs; the name of their directory.
fn add_app(assets: &WebAssets, spool: &mut Spool) -> io::Result<String> {
    let all: Vec<&[u8]> = assets.app.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]).collect();
    let dir = format!("app-{}", files::digest_of(&all));
    for (name, bytes) in &assets.app {
        spool.add(format!("{dir}/{name}"), bytes)?;
    }
    Ok(dir)
}

/// The page for these programs, with this title.
fn page(index: &str, app: &str, title: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        c => c.to_string(),
    };
    let title: String = title.chars().map(escape).collect();
    index.replace("{{app}}", app).replace("{{title}}", &title)
}

/// Compresses code for servers that have compressed files beside the plain ones.
fn compress_brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    const QUALITY: u32 = 9;
    const WINDOW: u32 = 22;
    let mut out = brotli::CompressorWriter::new(Vec::new(), 1 << 16, QUALITY, WINDOW);
    out.write_all(bytes)?;
    Ok(out.into_inner())
}

/// Whether browsers take the module.
fn check(module: &[u8]) -> Result<(), PackError> {
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(ModuleError::from)?;
        if let Payload::CodeSectionEntry(body) = payload {
            functions += 1;
            let range = body.range();
            let size = range.end - range.start;
            if size > LARGEST_BODY || functions > MOST_FUNCTIONS {
                return Err(PackError::Part(format!(
                    "function {functions} of the code, of {size} bytes, is beyond what browsers take: lower --lift"
                )));
            }
        }
    }
    Ok(())
}

/// What is there before the long work.
pub struct Files {
    directory: Directory,
    assets: WebAssets,
}

impl Files {
    /// The directory that `--web` names, and the page's programs.
    ///
    /// # Errors
    /// When the directory cannot be written or holds something else, or the installation lacks the page.
    pub fn find(path: &Path) -> Result<Self, WebError> {
        let io = |source| WebError::Directory { path: path.into(), source };
        let directory = Directory::check(path).map_err(io)?;
        Ok(Files { directory, assets: assets::web()? })
    }
}

impl Options {
    /// The commands whose first reads are fetched first: what the page runs, and those to train on.
    pub fn commands(&self, train: &[String]) -> Vec<(&'static str, String)> {
        let own = shlex::try_join(self.args.iter().map(String::as_str)).unwrap_or_default();
        let train = train.iter().map(|command| (train::OPTION, command.clone()));
        [("--web-args", own)].into_iter().chain(train).collect()
    }
}

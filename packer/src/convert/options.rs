//! What a conversion is asked for.

use std::path::PathBuf;

use crate::{lift::Budget, platform::Platform, web};

/// How to convert an image.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image's name, as [`image::load`](crate::image::load) takes it.
    pub image: String,
    /// The module to write, or the directory. Temporary files go to its directory.
    pub output: PathBuf,
    /// Platform to choose; `None`: what the image is for.
    pub platform: Option<Platform>,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// A kernel to use instead of the installed one.
    pub kernel: Option<PathBuf>,
    /// Arguments to append to the kernel's command line.
    pub append: Option<String>,
    /// Whether the guest is booted now and the module resumes it. Otherwise the module boots at every start.
    pub snapshot: bool,
    /// Commands to train on, each split as a shell would; none: the image's own command.
    pub train: Vec<String>,
    /// Instructions that each training run may take.
    pub train_limit: u64,
    /// How much code is lifted.
    pub lift: Budget,
    /// Where profiles and lifted regions are kept between conversions; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// A file for the table of lifted functions.
    pub symbol_map: Option<PathBuf>,
    /// What a page is to be, if a directory for the web is written.
    pub web: Option<web::Options>,
    /// Whether a component is written, with a network of its own.
    pub component: bool,
    /// Whether the emulator's functions keep their names. Those of lifted functions are always there.
    pub keep_names: bool,
}

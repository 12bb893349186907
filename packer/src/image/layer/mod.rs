//! Layers laid over each other (OCI image-spec, *layer.md*), without touching the host's file system.
//!
//! Every name is resolved inside the tree, as a process with the image as its root would: `..` stops at the
//! root, symbolic links are followed within the image, at most 40 of them. A name that climbs above the root
//! is refused, as docker does. Later entries take the place of earlier ones. A directory over a directory
//! gives it its metadata; over anything else, a link included, it takes its place. An entry below what is no
//! directory in a lower layer makes a directory of that (as umoci and containerd do); in its own layer, it is
//! refused.

mod apply;
mod builder;
mod marks;
mod resolve;

pub(crate) use builder::{Builder, Refusal};

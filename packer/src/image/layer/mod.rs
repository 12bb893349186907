//! Layers, applied to a tree one after another (OCI image-spec, *layer.md*), without touching the host's file
//! system.
//!
//! Every name is resolved inside the tree, as a process with the image as its root would: `..` stops at the
//! root, and symbolic links are followed within the image, at most 40 of them. A name that climbs above the
//! root is refused, as docker does. Later entries replace earlier ones. A directory over a directory changes
//! its metadata; over anything else, a link included, it replaces it. An entry below a file or link of a
//! lower layer makes a directory of that (as umoci and containerd do); below one of its own layer, it is
//! refused.
//!
//! * `builder`: the tree that layers are applied to;
//! * `resolve`: where the names of entries lead;
//! * `marks`: whiteouts;
//! * `apply`: the entries of a layer.

mod apply;
mod builder;
mod marks;
mod resolve;

pub(crate) use builder::{Builder, Refusal};

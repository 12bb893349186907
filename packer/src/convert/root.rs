//! The root file system: the container's files as an EROFS image.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::Path,
};

use memmap2::Mmap;

use super::{ConvertError, load::load};
use crate::{
    erofs,
    image::{LoadedImage, Progress},
    lift::names,
    pack::{memory, output::Output},
    platform::Platform,
    progress::Stages,
};

/// A root file system image.
pub struct Root {
    /// The image, in a file without a name.
    file: File,
    /// The same, mapped.
    pub map: Mmap,
    /// Paths of the container's files, and where they are in the image.
    pub files: Vec<(String, Range<u64>)>,
}

impl Root {
    /// Maps it once more: a mapping that can be given away.
    ///
    /// # Errors
    /// Those of the system.
    pub fn map_again(&self) -> io::Result<Mmap> {
        // SAFETY: an unlinked file of our own.
        unsafe { Mmap::map(&self.file) }
    }
}

/// Writes the root file system of `loaded` to an unlinked file in `dir` and maps it. `ram_len` is guest RAM
/// in bytes: both must fit the module's memory. `None`: the root file system will not be in it.
///
/// # Errors
/// When they do not fit, or the file cannot be written.
pub fn build(
    loaded: &LoadedImage,
    ram_len: Option<u64>,
    dir: &Path,
    stages: &mut Stages,
) -> Result<Root, ConvertError> {
    let image = lay_out(loaded)?;
    if let Some(ram_len) = ram_len {
        memory::check_sum(ram_len, image.size(), 0, memory::MEMORY_LIMIT)?;
    }
    stages.begin("building the root file system", Some(image.size()));
    let file = tempfile::tempfile_in(dir).map_err(ConvertError::at(dir))?;
    let mut out = BufWriter::with_capacity(256 << 10, &file);
    image.write_to(&mut out, &mut Advance(stages)).map_err(|source| ConvertError::WriteRoot {
        place: format!("temporary file in {}", dir.display()),
        source,
    })?;
    out.flush().map_err(ConvertError::at(dir))?;
    drop(out);
    // SAFETY: an unlinked file of our own.
    let map = unsafe { Mmap::map(&file) }.map_err(ConvertError::at(dir))?;
    let files = names::files(&loaded.tree, &image);
    stages.end();
    Ok(Root { file, map, files })
}

/// Writes the root file system of the container image `image` to the file `output`, and nothing else.
///
/// # Errors
/// When the image cannot be loaded, or the file cannot be written; nothing is left of it then.
pub fn write_root(
    image: &str,
    platform: Option<Platform>,
    output: &Path,
    stages: &mut Stages,
) -> Result<(), ConvertError> {
    let mut file = Output::create(output).map_err(ConvertError::at(output))?;
    let loaded = load(image, platform, output, stages)?;
    let root = lay_out(&loaded)?;
    stages.begin("writing the root file system", Some(root.size()));
    {
        let mut out = file.writer();
        root.write_to(&mut out, &mut Advance(stages))
            .map_err(|source| ConvertError::WriteRoot { place: output.display().to_string(), source })?;
        out.flush().map_err(ConvertError::at(output))?;
    }
    file.finish().map_err(ConvertError::at(output))?;
    stages.end();
    Ok(())
}

fn lay_out(loaded: &LoadedImage) -> Result<erofs::Volume<'_>, ConvertError> {
    Ok(erofs::Volume::new(&loaded.tree, &erofs::Options { seed: loaded.digest.clone() })?)
}

/// Reports bytes without opening further stages.
struct Advance<'a>(&'a Stages);

impl Progress for Advance<'_> {
    fn stage(&mut self, _: &str, _: Option<u64>) {}

    fn advance(&mut self, bytes: u64) {
        self.0.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::image::ImageError;

    #[test]
    fn it_is_written_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (root, out) = (dir.path().join("root"), dir.path().join("out"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(root.join("file"), [7; 10_000]).unwrap();
        let name = format!("dir:{}", root.display());
        let write = |name: &str| write_root(name, None, &out.join("root.erofs"), &mut Stages::new(true));
        let missing = write("dir:/no/such/directory").unwrap_err();
        assert!(matches!(missing, ConvertError::Image(ImageError::Io { .. })), "{missing:?}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        write(&name).unwrap();
        let bytes = fs::read(out.join("root.erofs")).unwrap();
        assert_eq!(bytes[1024..1028], 0xe0f5_e1e2_u32.to_le_bytes());

        let stages = &mut Stages::new(true);
        let loaded = load(&name, None, &out, stages).unwrap();
        let root = build(&loaded, Some(64 << 20), &out, stages).unwrap();
        assert!(root.map[..] == bytes[..]);
        let [(path, range)] = &root.files[..] else { panic!("{:?}", root.files) };
        assert_eq!(
            (&path[..], &root.map[range.start as usize..range.end as usize]),
            ("/file", &[7; 10_000][..])
        );
        let error = build(&loaded, Some(4 << 30), &out, stages).err().unwrap();
        assert!(matches!(error, ConvertError::Pack(_)), "{error:?}");
    }
}

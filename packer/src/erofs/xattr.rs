//! Inline extended attributes (erofs.rst, *Extended attributes*): a 12-byte header, then entries of 4-byte
//! multiples.

use crate::image::Xattr;

/// Bytes of a `struct erofs_xattr_ibody_header`.
const HEADER: usize = 12;
/// Most bytes of attributes: `i_xattr_icount` has 16 bits and counts words.
const MAX: usize = HEADER + 4 * (u16::MAX as usize - 1);

/// Name index and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    match name {
        b"system.posix_acl_access" => return Some((2, b"")),
        b"system.posix_acl_default" => return Some((3, b"")),
        _ => {}
    }
    let spaces: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
    spaces.iter().find_map(|&(prefix, index)| Some((index, name.strip_prefix(prefix)?)))
}

/// The bytes of an inode's attributes, which follow the inode; empty without attributes.
///
/// # Errors
/// What does not fit.
pub(super) fn encode(xattrs: &[Xattr]) -> Result<Vec<u8>, String> {
    if xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = vec![0; HEADER];
    for Xattr { name, value } in xattrs {
        let shown = || name.escape_ascii();
        let (index, rest) =
            split(name).ok_or_else(|| format!("attribute `{}` of unknown namespace", shown()))?;
        let name_len = u8::try_from(rest.len())
            .map_err(|_| format!("the name of attribute `{}` is too long", shown()))?;
        let value_len = u16::try_from(value.len())
            .map_err(|_| format!("attribute `{}` is longer than 65535 bytes", shown()))?;
        out.extend_from_slice(&[name_len, index]);
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    if out.len() > MAX {
        return Err(format!("its extended attributes take {} bytes, at most {MAX} fit", out.len()));
    }
    Ok(out)
}

/// `i_xattr_icount` for that many bytes.
pub(super) fn count(bytes: usize) -> u16 {
    if bytes == 0 { 0 } else { ((bytes - HEADER) / 4 + 1) as u16 }
}

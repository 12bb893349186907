//! One header block (POSIX.1-2008 *ustar Interchange Format*; GNU tar manual, *Basic Tar Format*).

/// Unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

/// The fields of a header that matter here, checked and decoded.
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) typeflag: u8,
    pub(super) mode: u64,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Stored size in bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    pub(super) major: u32,
    pub(super) minor: u32,
    /// GNU type `S`: size with holes, the first runs, and whether blocks with more follow.
    pub(super) real_size: u64,
    pub(super) sparse: Vec<(u64, u64)>,
    pub(super) sparse_more: bool,
}

/// A NUL-padded text field.
fn text(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|&b| b != 0).collect()
}

/// A number: octal digits among blanks, or GNU's base 256 (big-endian two's complement, marked by the first
/// bit).
fn number(field: &[u8], what: &str) -> Result<i64, String> {
    let [first, rest @ ..] = field else { return Ok(0) };
    if first & 0x80 != 0 {
        let head = if first & 0x40 != 0 { i64::from(*first as i8) } else { i64::from(first & 0x7f) };
        return rest.iter().try_fold(head, |value, &b| {
            let next = value.checked_mul(256).and_then(|v| v.checked_add(b.into()));
            next.ok_or_else(|| format!("the {what} is absurd"))
        });
    }
    let digits: Vec<u8> =
        field.iter().copied().skip_while(|&b| b == b' ').take_while(|&b| b != 0 && b != b' ').collect();
    digits.iter().try_fold(0i64, |value, &b| {
        if !(b'0'..=b'7').contains(&b) {
            return Err(format!("the {what} `{}` is not octal", digits.escape_ascii()));
        }
        value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(b - b'0')))
            .ok_or(format!("the {what} is absurd"))
    })
}

fn unsigned(field: &[u8], what: &str) -> Result<u64, String> {
    u64::try_from(number(field, what)?).map_err(|_| format!("the {what} is negative"))
}

fn small(field: &[u8], what: &str) -> Result<u32, String> {
    u32::try_from(unsigned(field, what)?).map_err(|_| format!("the {what} does not fit 32 bits"))
}

/// GNU sparse runs, up to the first empty slot.
pub(super) fn runs(table: &[u8]) -> Result<Vec<(u64, u64)>, String> {
    let slots = table.chunks_exact(24).take_while(|slot| slot[0] != 0);
    slots.map(|s| Ok((unsigned(&s[..12], "sparse offset")?, unsigned(&s[12..], "sparse length")?))).collect()
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, String> {
        let blank = |i: usize, b: u8| if (148..156).contains(&i) { b' ' } else { b };
        let sum: i64 = block.iter().enumerate().map(|(i, &b)| i64::from(blank(i, b))).sum();
        // Some old archivers summed signed characters.
        let signed: i64 = block.iter().enumerate().map(|(i, &b)| i64::from(blank(i, b) as i8)).sum();
        let told = number(&block[148..156], "checksum");
        if !told.as_ref().is_ok_and(|&told| told == sum || told == signed) {
            return Err("no tar header here (bad checksum): the archive is damaged or no tar archive".into());
        }
        let typeflag = block[156];
        let gnu = &block[257..265] == b"ustar  \0";
        let ustar = !gnu && &block[257..262] == b"ustar";
        let mut name = text(&block[..100]);
        if ustar && block[345] != 0 {
            let mut whole = text(&block[345..500]);
            whole.push(b'/');
            whole.extend_from_slice(&name);
            name = whole;
        }
        let device = matches!(typeflag, b'3' | b'4');
        let sparse = typeflag == b'S';
        Ok(Header {
            name,
            link: text(&block[157..257]),
            typeflag,
            mode: unsigned(&block[100..108], "mode")?,
            uid: unsigned(&block[108..116], "owner")?,
            gid: unsigned(&block[116..124], "group")?,
            size: unsigned(&block[124..136], "size")?,
            mtime: number(&block[136..148], "time")?,
            major: if device { small(&block[329..337], "major device number")? } else { 0 },
            minor: if device { small(&block[337..345], "minor device number")? } else { 0 },
            real_size: if sparse { unsigned(&block[483..495], "size")? } else { 0 },
            sparse: if sparse { runs(&block[386..482])? } else { Vec::new() },
            sparse_more: sparse && block[482] != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000755\0", "x"), Ok(0o755));
        assert_eq!(number(b"  12 \0  ", "x"), Ok(0o12));
        assert_eq!(number(b"\0\0\0\0", "x"), Ok(0));
        assert_eq!(number(&[0x80, 0, 0, 1, 0], "x"), Ok(256));
        assert_eq!(number(&[0xff; 12], "x"), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xfe], "x"), Ok(-2));
        assert!(number(&[0x80, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "x").is_err());
        assert!(number(b"12a4", "x").is_err());
        assert!(number(b"7777777777777777777777777", "x").is_err());
        assert!(unsigned(&[0xff; 8], "x").is_err());
    }
}

//! PAX extended headers (POSIX.1-2008 *pax*, *Extended Header*), with the `SCHILY.xattr` and `GNU.sparse`
//! vendor keys.

use super::sparse::Described;
use crate::image::tree::Mtime;
use std::collections::BTreeMap;

/// What extension headers say about an entry.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) sparse: Described,
}

fn decimal(value: &[u8], key: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(value).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|t| t.parse().ok()).ok_or_else(|| {
        format!(
            "PAX header: `{}={}` is not a number of 64 bits",
            key.escape_ascii(),
            value[..value.len().min(40)].escape_ascii()
        )
    })
}

/// `[-]seconds[.fraction]`, rounded down to nanoseconds.
fn time(value: &[u8]) -> Option<Mtime> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let secs: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => Mtime { secs, nanos },
        (true, 0) => Mtime { secs: -secs, nanos: 0 },
        (true, _) => Mtime { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn name(value: &[u8], key: &[u8]) -> Result<Vec<u8>, String> {
    if value.contains(&0) {
        return Err(format!("PAX header: the {} contains a NUL", key.escape_ascii()));
    }
    Ok(value.to_vec())
}

impl Records {
    /// Reads the body of an extended header: `LENGTH KEY=VALUE\n` each.
    pub(super) fn read(&mut self, mut body: &[u8]) -> Result<(), String> {
        while !body.is_empty() {
            // Some writers pad with NULs inside the counted size.
            if body.iter().all(|&b| b == 0) {
                break;
            }
            let bad = || "PAX header: malformed record".to_owned();
            let space = body.iter().position(|&b| b == b' ').ok_or_else(bad)?;
            let len = usize::try_from(decimal(&body[..space], b"length")?).map_err(|_| bad())?;
            if len <= space + 1 || len > body.len() || body[len - 1] != b'\n' {
                return Err(bad());
            }
            let record = &body[space + 1..len - 1];
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(bad)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            body = &body[len..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        // An empty value takes the key back (POSIX), for names as for numbers.
        let number = || if value.is_empty() { Ok(None) } else { decimal(value, key).map(Some) };
        match key {
            b"path" => self.path = (!value.is_empty()).then(|| name(value, key)).transpose()?,
            b"linkpath" => self.link = (!value.is_empty()).then(|| name(value, key)).transpose()?,
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => {
                let time = time(value).ok_or("PAX header: mtime is not a time")?;
                self.mtime = Some(time);
            }
            b"GNU.sparse.name" => self.sparse_name = Some(name(value, key)?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|&b| b == b',').filter(|v| !v.is_empty());
                self.sparse.numbers = numbers.map(|v| decimal(v, key)).collect::<Result<_, _>>()?;
                self.sparse.here = true;
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.numbers.push(decimal(value, key)?);
                self.sparse.here = true;
            }
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = number()?,
            b"GNU.sparse.major" => self.sparse.major = decimal(value, key)?,
            b"GNU.sparse.minor" => self.sparse.minor = decimal(value, key)?,
            _ => {
                if let Some(xattr) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(xattr.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_down() {
        assert_eq!(time(b"12"), Some(Mtime { secs: 12, nanos: 0 }));
        assert_eq!(time(b"12.5"), Some(Mtime { secs: 12, nanos: 500_000_000 }));
        assert_eq!(time(b"1.0000000019"), Some(Mtime { secs: 1, nanos: 1 }));
        assert_eq!(time(b"-1.25"), Some(Mtime { secs: -2, nanos: 750_000_000 }));
        assert_eq!(time(b"-3"), Some(Mtime { secs: -3, nanos: 0 }));
        assert_eq!(time(b"1e3"), None);
        assert_eq!(time(b"99999999999999999999"), None);
        assert_eq!(time(b""), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for body in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"4 ab\n",
            b"0 a=b\n",
            b"2 a=b\n",
            b"9 size=x\n",
            b"99999999999999999999999 a=b\n",
        ] {
            assert!(Records::default().read(body).is_err(), "{}", body.escape_ascii());
        }
        let mut records = Records::default();
        records.read(b"11 size=12\n10 path=a\n\0\0").unwrap();
        assert_eq!((records.size, records.path), (Some(12), Some(b"a".to_vec())));
    }
}

//! Who runs the command: `user[:group]` resolved with the container's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are those of docker (moby/sys, package *user*, `GetExecUser`): a numeric user is always a uid
//! and need not be listed; the first matching line wins; supplementary groups come from `/etc/group` only
//! when no group is named; lines that do not parse are skipped. The files are parsed by hand: a static init
//! has no name service switch, and the image's would be the wrong one.

use crate::failure::Failure;

/// Largest uid or gid that docker accepts.
const MAX_ID: u32 = i32::MAX as u32;

/// The identity to run the command with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// Supplementary groups; the primary group is the first of them, as docker has it since CVE-2022-36109.
    pub(crate) groups: Vec<u32>,
    /// Home directory.
    pub(crate) home: Vec<u8>,
}

/// Lines of `file` split at colons; empty lines and comments are skipped.
fn records(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|&b| b == b'\n')
        .map(|line| line.trim_ascii())
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| line.split(|&b| b == b':').collect())
}

fn number(text: &[u8]) -> Option<u32> {
    // A sign is no digit of an id, though `parse` would take it.
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // An overlong number is still a number, just not a valid id.
    Some(std::str::from_utf8(text).ok()?.parse().unwrap_or(u32::MAX))
}

fn in_range(id: u32) -> Result<u32, Failure> {
    if id > MAX_ID { Err(Failure::own("uids and gids must be in range 0-2147483647")) } else { Ok(id) }
}

/// Resolves `spec` (`user[:group]`, names or numbers; empty means root).
///
/// # Errors
/// 125 with docker's words when a name is not listed or a number is out of range.
pub(crate) fn resolve(spec: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Failure> {
    let (user_arg, group_arg) = spec.split_once(':').unwrap_or((spec, ""));
    let user_id = if user_arg.is_empty() { Some(0) } else { number(user_arg.as_bytes()) };
    let mut found = Identity { uid: 0, gid: 0, groups: Vec::new(), home: b"/".to_vec() };

    let listed = records(passwd).find_map(|r| {
        let [name, _, uid, gid, rest @ ..] = r.as_slice() else { return None };
        let (uid, gid) = (number(uid)?, number(gid)?);
        let matches = user_id.map_or(*name == user_arg.as_bytes(), |wanted| wanted == uid);
        matches.then(|| (name.to_vec(), uid, gid, rest.get(1).map_or(Vec::new(), |h| h.to_vec())))
    });
    let mut name = None;
    if let Some((listed_name, uid, gid, home)) = listed {
        (found.uid, found.gid, name) = (uid, gid, Some(listed_name));
        if !home.is_empty() {
            found.home = home;
        }
    } else if let Some(uid) = user_id {
        found.uid = in_range(uid)?;
    } else {
        return Err(Failure::own(format!(
            "unable to find user {user_arg}: no matching entries in passwd file"
        )));
    }

    let groups = |file| {
        records(file).filter_map(|r: Vec<&[u8]>| {
            let [name, _, gid, members @ ..] = r.as_slice() else { return None };
            Some((name.to_vec(), number(gid)?, members.first().map_or(Vec::new(), |m| m.to_vec())))
        })
    };
    if !group_arg.is_empty() {
        let group_id = number(group_arg.as_bytes());
        let listed = groups(group)
            .find(|(name, gid, _)| group_id.map_or(name == group_arg.as_bytes(), |wanted| wanted == *gid));
        found.gid = match (listed, group_id) {
            (Some((_, gid, _)), _) => gid,
            (None, Some(gid)) => in_range(gid)?,
            (None, None) => {
                return Err(Failure::own(format!(
                    "unable to find group {group_arg}: no matching entries in group file"
                )));
            }
        };
    } else if let Some(name) = name {
        found.groups = groups(group)
            .filter(|(_, _, members)| members.split(|&b| b == b',').any(|m| m == name))
            .map(|(_, gid, _)| gid)
            .collect();
    }
    found.groups.retain(|g| *g != found.gid);
    found.groups.insert(0, found.gid);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nbad:x:1a:2::/:\n\
        web:x:33:44:Web,,:/var/www:/bin/false\nweb2:x:33:45::/second:/bin/sh\n1000:x:7:7::/numeric-name:\nbare:x:50:51\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:root,web\nweb:x:44:web\nssl:x:90:web\nbroken:x\nnum:x:9x:web\n";

    fn ok(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let i = resolve(spec, PASSWD, GROUP).unwrap();
        (i.uid, i.gid, i.groups, String::from_utf8(i.home).unwrap())
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ok(""), (0, 0, vec![0, 4], "/root".into()));
        assert_eq!(ok("web"), (33, 44, vec![44, 4, 90], "/var/www".into()));
        // A number matches the uid, and the first line of it gives the rest.
        assert_eq!(ok("33"), (33, 44, vec![44, 4, 90], "/var/www".into()));
        // A number is never a name.
        assert_eq!(ok("1000"), (1000, 0, vec![0], "/".into()));
        assert_eq!(ok("bare"), (50, 51, vec![51], "/".into()));
    }

    #[test]
    fn a_named_group_silences_supplementary_ones() {
        assert_eq!(ok("web:ssl"), (33, 90, vec![90], "/var/www".into()));
        assert_eq!(ok("web:7777"), (33, 7777, vec![7777], "/var/www".into()));
        assert_eq!(ok(":adm"), (0, 4, vec![4], "/root".into()));
    }

    #[test]
    fn numbers_work_without_files() {
        let i = resolve("65534:65533", b"", b"").unwrap();
        assert_eq!((i.uid, i.gid, i.groups, i.home), (65534, 65533, vec![65533], b"/".to_vec()));
        assert_eq!(resolve("", b"", b"").unwrap().uid, 0);
    }

    #[test]
    fn unknown_names_and_wild_numbers_are_refused() {
        let text = |spec| resolve(spec, PASSWD, GROUP).unwrap_err();
        assert_eq!(
            text("nobody"),
            Failure::own("unable to find user nobody: no matching entries in passwd file")
        );
        assert_eq!(
            text("web:none"),
            Failure::own("unable to find group none: no matching entries in group file")
        );
        assert!(text("2147483648").message.contains("0-2147483647"));
        assert!(text("99999999999999").message.contains("0-2147483647"));
        assert!(text("-1").message.contains("unable to find user -1"));
        assert!(text("0:4294967296").message.contains("0-2147483647"));
    }
}

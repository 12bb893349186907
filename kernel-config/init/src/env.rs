//! The command's environment: what docker adds when the image and the user did not say.

/// `PATH` of a container whose image names none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The value of `name`; the last assignment wins.
pub(crate) fn get<'a>(env: &'a [Vec<u8>], name: &str) -> Option<&'a [u8]> {
    env.iter().rev().find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Adds PATH, HOSTNAME, TERM (with a tty) and HOME where `env` does not have them, in docker's order.
pub(crate) fn complete(env: Vec<Vec<u8>>, hostname: &str, tty: bool, home: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(env.len() + 4);
    let defaults = [("PATH", DEFAULT_PATH, true), ("HOSTNAME", hostname, true), ("TERM", "xterm", tty)];
    for (name, value, wanted) in defaults {
        if wanted && get(&env, name).is_none() {
            all.push(format!("{name}={value}").into_bytes());
        }
    }
    let home_missing = get(&env, "HOME").is_none();
    all.extend(env);
    if home_missing {
        all.push([b"HOME=", home].concat());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(env: &[&str], tty: bool) -> Vec<String> {
        let env = env.iter().map(|e| e.as_bytes().to_vec()).collect();
        let all = complete(env, "box", tty, b"/root");
        all.into_iter().map(|e| String::from_utf8(e).unwrap()).collect()
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(run(&["A=1"], false), [&path, "HOSTNAME=box", "A=1", "HOME=/root"]);
        assert_eq!(run(&[], true), [&path, "HOSTNAME=box", "TERM=xterm", "HOME=/root"]);
        let own = ["PATH=", "HOSTNAME=h", "TERM=dumb", "HOME=/x"];
        assert_eq!(run(&own, true), own);
    }

    #[test]
    fn names_are_whole_and_the_last_wins() {
        let env = [b"PATHS=a".to_vec(), b"PATH=b=c".to_vec(), b"PATH=d".to_vec(), b"broken".to_vec()];
        assert_eq!(get(&env, "PATH"), Some(&b"d"[..]));
        assert_eq!(get(&env, "PAT"), None);
        assert_eq!(get(&env, "broken"), None);
    }
}

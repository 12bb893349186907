//! Signal names: the image's stop signal as docker reads it.

/// SIGTERM, the stop signal of an image that names none.
pub(crate) const SIGTERM: u8 = 15;

// Linux numbers of the generic ABI, which riscv64 and x86_64 share (include/uapi/asm-generic/signal.h).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
// As a C library counts them: the kernel's 32 and 33 belong to its threads.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// Reads a signal: a number, or a name in any case, with or without `SIG`, with `RTMIN+n` and `RTMAX-n`.
/// Empty means SIGTERM.
pub(crate) fn parse(text: &str) -> Option<u8> {
    let text = text.trim();
    if text.is_empty() {
        return Some(SIGTERM);
    }
    if let Ok(number) = text.parse::<u8>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Nothing, or the sign and a number.
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return RTMIN.checked_add(offset(rest, '+')?).filter(|n| *n <= RTMAX);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return RTMAX.checked_sub(offset(rest, '-')?).filter(|n| *n >= RTMIN);
    }
    let at = NAMES.iter().position(|n| *n == name).map(|i| i as u8 + 1);
    at.or_else(|| ALIASES.iter().find(|(n, _)| *n == name).map(|&(_, number)| number))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_numbers_and_real_time() {
        for (text, number) in [
            ("", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGQUIT", 3),
            ("sigwinch", 28),
            ("SIGSYS", 31),
            ("SIGUSR1", 10),
            ("POLL", 29),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
    }

    #[test]
    fn names_agree_with_libc() {
        for (name, number) in [
            ("HUP", libc::SIGHUP),
            ("BUS", libc::SIGBUS),
            ("STKFLT", libc::SIGSTKFLT),
            ("CHLD", libc::SIGCHLD),
            ("URG", libc::SIGURG),
            ("PROF", libc::SIGPROF),
            ("PWR", libc::SIGPWR),
        ] {
            assert_eq!(parse(name).map(i32::from), Some(number), "{name}");
        }
    }

    #[test]
    fn nonsense_is_none() {
        for text in
            ["SIG", "SIGFOO", "0", "65", "-1", "300", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMAX-31", "RTMIN€1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

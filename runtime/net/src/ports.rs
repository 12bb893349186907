//! The ports that the gateway itself uses towards the guest.

/// The first and the last (those of Linux, `ip_local_port_range`).
const FIRST: u16 = 32_768;
const LAST: u16 = 60_999;

/// Gives them one after the other, again and again.
#[derive(Default)]
pub(crate) struct Ports(Option<u16>);

impl Ports {
    pub(crate) fn next(&mut self) -> u16 {
        let next = self.0.filter(|port| *port < LAST).map_or(FIRST, |port| port + 1);
        self.0 = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_begin_again_after_the_last() {
        let mut ports = Ports::default();
        assert_eq!([ports.next(), ports.next()], [FIRST, FIRST + 1]);
        ports.0 = Some(LAST - 1);
        assert_eq!([ports.next(), ports.next()], [LAST, FIRST]);
    }
}

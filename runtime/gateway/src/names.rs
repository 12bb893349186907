//! Names of the guest's: a page cannot ask for addresses, so each name gets one that stands for it. They are
//! of 198.18.0.0/15, which nobody has (RFC 2544).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

/// The first address, and how many there are.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const MOST: u32 = 1 << 17;

/// Names with the addresses that stand for them. When there are no more addresses, the oldest name's is the
/// next.
#[derive(Debug, Default)]
pub struct Names {
    addresses: HashMap<String, Ipv4Addr>,
    names: HashMap<Ipv4Addr, String>,
    next: u32,
}

impl Names {
    /// The address that stands for a name; none for names of the guest's own.
    pub fn address(&mut self, name: &str) -> Option<Ipv4Addr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name.is_empty() || name == "localhost" || name.ends_with(".localhost") {
            return None;
        }
        if let Some(known) = self.addresses.get(&name) {
            return Some(*known);
        }
        // The first and the last of the network are left out.
        self.next = self.next % (MOST - 2) + 1;
        let address = Ipv4Addr::from(FIRST + self.next);
        if let Some(old) = self.names.insert(address, name.clone()) {
            self.addresses.remove(&old);
        }
        self.addresses.insert(name, address);
        Some(address)
    }

    /// What an address stands for: a name, or itself, in the form that addresses of the web have.
    pub fn host(&self, address: IpAddr) -> String {
        match address {
            IpAddr::V4(v4) => self.names.get(&v4).cloned().unwrap_or_else(|| v4.to_string()),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }

    /// The answer to a question for addresses.
    pub fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        forelift_net::answer_by(query, |name| self.address(name).map(IpAddr::V4).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_an_address_and_back() {
        let mut names = Names::default();
        let one = names.address("Example.ORG.").unwrap();
        assert_eq!(one.to_string(), "198.18.0.1");
        assert_eq!(names.address("example.org"), Some(one));
        assert_ne!(names.address("other.test"), Some(one));
        assert_eq!(names.host(one.into()), "example.org");
        assert_eq!(names.host("9.9.9.9".parse().unwrap()), "9.9.9.9");
        assert_eq!(names.host("2001:db8::1".parse().unwrap()), "[2001:db8::1]");
        assert_eq!((names.address("localhost"), names.address("")), (None, None));
    }

    #[test]
    fn the_oldest_names_make_room() {
        let mut names = Names::default();
        let first = names.address("n0").unwrap();
        for nth in 1..MOST - 1 {
            assert!(names.address(&format!("n{nth}")).unwrap().octets()[1] & !1 == 18);
        }
        assert_eq!(names.host(first.into()), format!("n{}", MOST - 2));
        assert_eq!((names.names.len(), names.addresses.len()), (131_070, 131_070));
    }
}

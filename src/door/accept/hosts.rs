//! Which addresses may be handed to a provider: public ones by `https` only, so that nobody is made to fetch what is not the caller's.
//!
//! This judges the text of an address. A public name may still lead to a private address; whoever connects must check again.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::outbound::is_public_name;

/// IPv4 networks that are not public: this network, private, shared (CGNAT), loopback, link-local, protocol assignments, documentation,
/// 6to4 relays, benchmarks, multicast, and reserved with broadcast.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
];
/// The only IPv6 network with public addresses. IPv4-mapped, NAT64, unique-local, link-local and multicast addresses are outside of it.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 3);
/// Parts of it that are not: protocol assignments with Teredo, documentation twice, and 6to4, which holds any IPv4 address.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [v6(0x2001, 0, 23), v6(0x2001, 0x0db8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];

/// Why an address must not be fetched, in words for the caller.
pub(super) fn check(url: &Url) -> Result<(), String> {
    if url.scheme() != "https" {
        return Err(format!("must begin with https:// or data:, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password".to_owned());
    }
    // The url crate has normalised the host: decimal, octal and hexadecimal forms of an IPv4 address are an `Ipv4` here.
    let public = match url.host() {
        None => return Err("has no host".to_owned()),
        Some(Host::Domain(name)) => is_public_name(name),
        Some(Host::Ipv4(address)) => is_public_v4(address),
        Some(Host::Ipv6(address)) => is_public_v6(address),
    };
    if public { Ok(()) } else { Err("names a host that is not public".to_owned()) }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    PUBLIC_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        super::check(&Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn public_hosts_are_accepted() {
        for url in [
            "https://example.com/a.png",
            "https://EXAMPLE.com./a.png?sig=1",
            "https://localhost.example.com/",
            "https://notlocal.net/",
            "https://8.8.8.8/",
            "https://172.15.0.1/",
            "https://172.32.0.1/",
            "https://100.63.255.255/",
            "https://[2606:4700::1111]/",
            "https://example.com:8443/",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn hosts_that_are_not_public_are_refused_however_they_are_written() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
            "x.home.arpa",
            "intranet",
            "0.0.0.0",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "2852039166",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "127。0。0。1",
            "ⓛocalhost",
        ] {
            assert!(check(&format!("https://{host}/x")).is_err(), "{host}");
        }
    }

    #[test]
    fn other_schemes_and_credentials_are_refused() {
        for url in [
            "http://example.com/",
            "file:///etc/passwd",
            "ftp://example.com/",
            "gopher://example.com/",
            "javascript:alert(1)",
        ] {
            assert!(check(url).unwrap_err().contains("https"), "{url}");
        }
        for url in ["https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/"] {
            let why = check(url).unwrap_err();
            assert!(why.contains("password") && !why.contains("secret"), "{why}");
        }
    }
}

//! Which hosts an address from outside may lead to: a vendor's answer must not make us read our own network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Resolves names to public addresses only, except the one host that the operator configured. If that is this machine, by whatever name, all
/// of this machine's names are: a stand-in at `127.0.0.1` may well link to `localhost`.
///
/// Looking when the connection is made, and not before, leaves no time to change the name's address in between.
#[derive(Debug, Clone)]
pub struct Fence {
    exempt: Option<String>,
    loopback: bool,
}

impl Fence {
    /// Around everything but the host of `configured`.
    pub fn around(configured: &Url) -> Self {
        let loopback = match configured.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        Self { exempt: configured.host_str().map(str::to_owned), loopback }
    }

    /// Whether the host may be asked at all. Names pass; their addresses are looked at when they are resolved.
    pub fn admits(&self, url: &Url) -> bool {
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) => return true,
            None => return false,
        };
        self.admits_address(literal) || self.is_exempt(url.host_str())
    }

    fn admits_address(&self, ip: IpAddr) -> bool {
        is_public(ip) || (self.loopback && ip.is_loopback())
    }

    /// True for the configured host.
    pub fn is_exempt(&self, host: Option<&str>) -> bool {
        host.is_some() && host == self.exempt.as_deref()
    }
}

impl Resolve for Fence {
    fn resolve(&self, name: Name) -> Resolving {
        let fence = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let exempt = fence.is_exempt(Some(name.as_str()));
            let admitted: Vec<_> = found.filter(|address| exempt || fence.admits_address(address.ip())).collect();
            if admitted.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the host has no public address").into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// True for an address of the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol = a == 192 && b == 0 && c == 0;
    let benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || protocol
        || benchmark)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [high, low] = [g.to_be_bytes(), h.to_be_bytes()];
    let embedded = Ipv4Addr::new(high[0], high[1], low[0], low[1]);
    match (a, b, c, d, e, f) {
        // IPv4 in IPv6: mapped, compatible (with it `::` and `::1`), and translated.
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => is_public_v4(embedded),
        // 6to4 holds the IPv4 address behind its prefix.
        (0x2002, ..) => {
            let [high, low] = [b.to_be_bytes(), c.to_be_bytes()];
            is_public_v4(Ipv4Addr::new(high[0], high[1], low[0], low[1]))
        }
        (0x2001, 0xdb8 | 0, ..) => false,
        // Global unicast is 2000::/3; unique local, link-local, site-local and multicast lie outside of it.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["1.1.1.1", "172.15.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn the_configured_host_is_exempt() {
        let url = |text: &str| Url::parse(text).unwrap();
        let fence = Fence::around(&url("http://10.1.2.3:9/v1"));
        assert!(fence.admits(&url("http://10.1.2.3:8/x")));
        assert!(!fence.admits(&url("http://10.1.2.4/x")));
        // Other spellings of the same address are read as that address.
        assert!(fence.admits(&url("http://0x0a.1.2.3/x")) && !fence.admits(&url("http://0x7f.0.0.2/x")));
        assert!(!fence.admits(&url("http://[::1]/x")));
        assert!(fence.admits(&url("https://replicate.delivery/x")));
    }

    #[tokio::test]
    async fn a_configured_host_on_this_machine_exempts_all_names_of_this_machine() {
        let url = |text: &str| Url::parse(text).unwrap();
        let fence = Fence::around(&url("http://127.0.0.1:9/v1"));
        assert!(fence.admits(&url("http://[::1]:8/x")) && fence.resolve("localhost".parse().unwrap()).await.is_ok());
        assert!(!fence.admits(&url("http://169.254.169.254/x")));
    }

    #[tokio::test]
    async fn a_name_of_our_own_network_does_not_resolve() {
        let fence = Fence::around(&Url::parse("https://api.example").unwrap());
        assert!(fence.resolve("localhost".parse().unwrap()).await.is_err());
        let fence = Fence::around(&Url::parse("http://localhost:1").unwrap());
        assert!(fence.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}

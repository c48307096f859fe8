//! Which hosts an address from outside may lead to: neither a vendor's answer nor a caller may make us ask our own network.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv4Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Names that never lead to a public host.
const NOT_PUBLIC_NAMES: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// Resolves names to public addresses only, except for hosts and networks that the operator named.
///
/// Looking when the connection is made, and not before, leaves no time to change the name's address in between.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    /// Hosts as a URL has them: whatever they resolve to is admitted.
    hosts: Vec<String>,
    networks: Vec<IpNet>,
    /// Names that the system is not asked for.
    #[cfg(test)]
    names: Vec<(&'static str, IpAddr)>,
}

impl Fence {
    /// Around everything but the host of `configured`. If that is this machine, by whatever name, all of this machine's names are admitted: a
    /// stand-in at `127.0.0.1` may well link to `localhost`.
    pub fn around(configured: &Url) -> Self {
        let is_loopback = match configured.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let loopback: [IpNet; 2] =
            [Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(), IpAddr::V6(Ipv6Addr::LOCALHOST).into()];
        Self {
            hosts: configured.host_str().map(str::to_owned).into_iter().collect(),
            networks: if is_loopback { loopback.to_vec() } else { Vec::new() },
            #[cfg(test)]
            names: Vec::new(),
        }
    }

    /// Around everything but these places: each a host's name, an IP address, or a network such as `10.0.0.0/8`. `None` if one is none of
    /// these.
    pub fn allowing<'a>(places: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut fence = Self::default();
        for place in places {
            if let Ok(network) = place.parse::<IpNet>() {
                fence.networks.push(network.trunc());
            } else if let Ok(ip) = place.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
                fence.networks.push(ip.into());
            } else {
                match Host::parse(place).ok()? {
                    Host::Domain(name) => fence.hosts.push(name),
                    // Another spelling of an address.
                    Host::Ipv4(ip) => fence.networks.push(IpAddr::V4(ip).into()),
                    Host::Ipv6(ip) => fence.networks.push(IpAddr::V6(ip).into()),
                }
            }
        }
        Some(fence)
    }

    /// Whether the host may be asked at all. Names pass; their addresses are looked at when they are resolved.
    pub fn admits(&self, url: &Url) -> bool {
        match literal(url) {
            Some(ip) => self.admits_address(ip) || self.is_exempt(url.host_str()),
            None => url.has_host(),
        }
    }

    /// Why nothing may be sent to an address that somebody gave us, in words for that somebody: `https` to a public host, or also `http` to one
    /// that the operator named.
    ///
    /// # Errors
    /// The address is no such one.
    pub fn check(&self, url: &Url) -> Result<(), &'static str> {
        let (is_named, is_public) = match literal(url) {
            Some(ip) => (self.is_exempt(url.host_str()) || self.is_in_network(ip), is_public(ip)),
            None => (self.is_exempt(url.host_str()), url.domain().is_some_and(is_public_name)),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_named => {}
            _ => return Err("must begin with https://, unless the settings allow its host"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password");
        }
        if url.fragment().is_some() {
            return Err("must not hold a fragment (#)");
        }
        if url.port() == Some(0) {
            return Err("must not name port 0");
        }
        if is_named || is_public {
            Ok(())
        } else {
            Err("names a host that is neither public nor allowed by the settings")
        }
    }

    /// With this address of a name, as a name server would tell it.
    #[cfg(test)]
    pub(crate) fn knowing(mut self, name: &'static str, ip: IpAddr) -> Self {
        self.names.push((name, ip));
        self
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        #[cfg(test)]
        if let Some((_, ip)) = self.names.iter().find(|(known, _)| *known == name) {
            return Ok(vec![SocketAddr::new(*ip, 0)]);
        }
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }

    fn admits_address(&self, ip: IpAddr) -> bool {
        is_public(ip) || self.is_in_network(ip)
    }

    fn is_in_network(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// True for a host that the operator named.
    pub fn is_exempt(&self, host: Option<&str>) -> bool {
        host.is_some_and(|host| self.hosts.iter().any(|exempt| exempt == host))
    }
}

impl Resolve for Fence {
    fn resolve(&self, name: Name) -> Resolving {
        let fence = self.clone();
        Box::pin(async move {
            let found = fence.look_up(name.as_str()).await?;
            let exempt = fence.is_exempt(Some(name.as_str()));
            let admitted: Vec<_> =
                found.into_iter().filter(|address| exempt || fence.admits_address(address.ip())).collect();
            if admitted.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the host has no public address").into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// True if a fence refused to resolve the host of a call that failed with this.
pub fn is_fenced(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// True if the name may lead to a public host; its addresses tell.
pub fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let within = |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    // A name without a dot is looked up in the local domain.
    name.contains('.') && !NOT_PUBLIC_NAMES.iter().any(|suffix| within(suffix))
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(_)) | None => None,
    }
}

/// True for an address of the public internet.
fn is_public(ip: IpAddr) -> bool {
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
        // Documentation, and what is set aside for protocols (Teredo, ORCHID and others).
        (0x2001, 0xdb8 | 0..0x200, ..) | (0x3fff, 0..0x1000, ..) => false,
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
            "2001:0:7f00:1::",
            "2001:20::1",
            "3fff::1",
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

    #[test]
    fn what_the_operator_named_may_be_private_and_plain() {
        let fence = Fence::allowing(["hooks.internal", "10.1.0.0/16", "127.0.0.1", "[::1]", "0x0a.2.0.1"]).unwrap();
        let check = |url: &str| fence.check(&Url::parse(url).unwrap());
        for fine in [
            "https://example.com/a?b",
            "https://example.com:8443/",
            "https://8.8.8.8/",
            "http://hooks.internal/",
            "https://HOOKS.internal:9/",
            "http://10.1.2.3/",
            "https://10.1.2.3/",
            "http://127.0.0.1:80/",
            "http://[::1]/",
            "http://10.2.0.1/",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for (bad, why) in [
            ("http://example.com/", "https"),
            ("ftp://hooks.internal/", "https"),
            ("http://8.8.8.8/", "https"),
            ("https://x.hooks.internal/", "neither public"),
            ("https://localhost/", "neither public"),
            ("https://intranet/", "neither public"),
            ("https://10.2.0.2/", "neither public"),
            ("https://127.0.0.2/", "neither public"),
            ("https://169.254.169.254/", "neither public"),
            ("https://[::ffff:127.0.0.2]/", "neither public"),
            ("https://2130706434/", "neither public"),
            ("https://user@example.com/", "user name"),
            ("https://:word@example.com/", "user name"),
            ("https://example.com/#x", "fragment"),
            ("https://example.com:0/", "port 0"),
        ] {
            assert!(check(bad).is_err_and(|told| told.contains(why)), "{bad}: {:?}", check(bad));
        }
        assert!(Fence::default().check(&Url::parse("http://127.0.0.1/").unwrap()).is_err());
        for bad in ["", "a b", "10.0.0.0/33", "https://host", "host:80", "a/b"] {
            assert!(Fence::allowing([bad]).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_an_admitted_network_resolves() {
        let resolves = async |fence: Fence| fence.resolve("localhost".parse().unwrap()).await.is_ok();
        assert!(resolves(Fence::allowing(["127.0.0.0/8", "::1"]).unwrap()).await);
        assert!(resolves(Fence::allowing(["localhost"]).unwrap()).await);
        assert!(!resolves(Fence::allowing(["10.0.0.0/8", "example.com"]).unwrap()).await);
    }
}

//! The address of the database: `postgres://user:password@host:port/name?sslmode=verify-full`.
//!
//! `sslmode` as libpq has it: `disable`; `prefer` (the default) and `require` encrypt and check nobody's name; `verify-ca` also checks who issued
//! the certificate, `verify-full` the name in it as well. Issuers are the platform's, or those in the file `sslrootcert`, which turns
//! `prefer` and `require` into `verify-ca`. Further parameters are those of the driver, such as `target_session_attrs=read-write`.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Check};

/// How long opening a connection to one host may take.
const CONNECTING: Duration = Duration::from_secs(4);
/// A peer that acknowledges nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(10);
/// How often one that has said nothing is asked whether it is there.
const PROBE: Duration = Duration::from_secs(5);

/// Where the database is and how it is spoken to. Shown without its password.
#[derive(Clone)]
pub struct Address {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: MakeRustlsConnect,
}

/// Why an address cannot be used. Tells no part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Another scheme, or no address at all.
    #[error("must be an address such as postgres://user:password@host:5432/name?sslmode=verify-full (value not shown)")]
    Shape,
    /// It names no host.
    #[error("names no host (value not shown)")]
    NoHost,
    /// The value of `sslmode`.
    #[error("has an sslmode that is none of disable, prefer, require, verify-ca, verify-full")]
    SslMode,
    /// The issuers' certificates cannot be read.
    #[error("{0}")]
    Issuers(String),
}

impl Address {
    /// Reads an address and the certificates of issuers.
    ///
    /// # Errors
    /// If it is none that can be used.
    pub fn parse(url: &SecretString) -> Result<Self, BadAddress> {
        let url = url.expose_secret().trim();
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(BadAddress::Shape);
        }
        let (mut mode, mut issuers) = ("prefer".to_owned(), None);
        // As the driver reads it: what stands before the first @ is user and password.
        let host_at = url.find('@').map_or(0, |at| at + 1);
        let query_at = url[host_at..].find('?').map_or(url.len(), |at| host_at + at);
        let (bare, query) = (&url[..query_at], url[query_at..].strip_prefix('?').unwrap_or_default());
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = decoded(value),
                Some(("sslrootcert", value)) => issuers = Some(PathBuf::from(decoded(value))),
                Some(_) | None => rest.push(pair),
            }
        }
        // What the driver would say of it may quote a part of the password.
        let mut config: tokio_postgres::Config =
            format!("{bare}?{}", rest.join("&")).parse().map_err(|_| BadAddress::Shape)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadAddress::NoHost);
        }
        let (ssl_mode, check) = match (mode.as_str(), &issuers) {
            ("disable", _) => (SslMode::Disable, Check::Nothing),
            ("prefer", None) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            ("prefer", Some(_)) => (SslMode::Prefer, Check::Issuer),
            ("require", Some(_)) | ("verify-ca", _) => (SslMode::Require, Check::Issuer),
            ("verify-full", _) => (SslMode::Require, Check::IssuerAndName),
            _ => return Err(BadAddress::SslMode),
        };
        config.ssl_mode(ssl_mode).connect_timeout(CONNECTING).tcp_user_timeout(SILENCE);
        // The system's own interval of more than a minute would keep dead connections in the pool for those who need one next.
        config.keepalives_idle(SILENCE).keepalives_interval(PROBE).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("filmgate");
        }
        let tls = tls::connector(check, issuers.as_deref()).map_err(BadAddress::Issuers)?;
        Ok(Self { config, tls })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let host = match host {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            };
            let port = ports.get(index).or_else(|| ports.first()).unwrap_or(&5432);
            write!(f, "{}{host}:{port}", if index > 0 { "," } else { "" })?;
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, BadAddress> {
        Address::parse(&url.into())
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let address = parse("postgres://user:s3cret@db.example:6543/films?sslmode=disable&connect_timeout=3").unwrap();
        assert_eq!(address.to_string(), "db.example:6543/films");
        assert_eq!(format!("{address:?}"), "Address(db.example:6543/films)");
        assert_eq!(address.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(parse("postgres://u:p?sslmode=no&x@db/x?sslmode=disable").unwrap().to_string(), "db:5432/x");
        assert_eq!(parse("postgresql://u@a,b:7/x?sslmode=disable").unwrap().to_string(), "a:5432,b:7/x");
    }

    #[test]
    fn a_bad_address_is_refused_without_showing_it() {
        for (url, expected) in [
            ("mysql://user:s3cret@host/db", BadAddress::Shape),
            ("host=db password=s3cret", BadAddress::Shape),
            ("postgres://user:s3cret@host/db?x=1", BadAddress::Shape),
            ("postgres://host:port/db", BadAddress::Shape),
            ("postgres:///db", BadAddress::NoHost),
            ("postgres://host/db?sslmode=always", BadAddress::SslMode),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("s3cret"));
        }
        let missing = parse("postgres://host/db?sslmode=verify-full&sslrootcert=%2Fno%2Fsuch.pem").unwrap_err();
        assert!(missing.to_string().contains("/no/such.pem"), "{missing}");
    }

    #[test]
    fn every_mode_of_libpq_but_allow_is_known() {
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            parse(&format!("postgres://host/db?sslmode={mode}")).unwrap();
        }
    }
}

//! Encrypted connections: rustls on aws-lc with the platform's issuers, checking as much as the address asks for.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is checked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Only that the server has its key: nobody can listen in, but anybody could pretend to be the server.
    Nothing,
    /// Also who issued it.
    Issuer,
    /// Also that it names the host.
    IssuerAndName,
}

/// Connects with these checks; `issuers` is a PEM file in place of the platform's issuers. The error is for people.
pub(super) fn connector(check: Check, issuers: Option<&Path>) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot be used with TLS: {error}"))?;
    let webpki = match check {
        Check::Nothing => None,
        Check::Issuer | Check::IssuerAndName => {
            let roots = Arc::new(roots(issuers)?);
            if check == Check::IssuerAndName {
                return Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()));
            }
            let webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(webpki.map_err(|error| format!("needs certificates of issuers: {error}"))?)
        }
    };
    let lenient = Arc::new(Lenient { webpki, provider });
    Ok(MakeRustlsConnect::new(builder.dangerous().with_custom_certificate_verifier(lenient).with_no_client_auth()))
}

fn roots(issuers: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match issuers {
        Some(file) => {
            let unreadable = |error| format!("names the file {} in sslrootcert: {error}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        // What the platform has and rustls cannot read is no issuer for us.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("needs certificates of issuers and none were found; name a file in sslrootcert".to_owned());
    }
    Ok(roots)
}

/// Checks the handshake, the issuer if there are known ones, and not the name.
#[derive(Debug)]
struct Lenient {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(webpki) = &self.webpki else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked after everything else.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

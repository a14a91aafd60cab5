//! TLS towards Redis and Postgres: whose certificates are trusted, and what of them is checked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing: this hides what is said from who only listens, and from nobody else.
    Nothing,
    /// That a trusted authority signed it; whatever the name in it.
    Authority,
    /// That, and that it is for the host that was asked for.
    AuthorityAndName,
}

/// How to speak TLS. The authorities are those of `ca_file` (PEM), without it the system's.
///
/// Fails with a sentence without subject when the authorities cannot be read or there are none.
pub fn client(check: Check, ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    // Named, so that it does not depend on what else is linked into the program.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up ({error})"))?;
    let roots = || ca_file.map_or_else(of_system, of_file);
    let builder = match check {
        Check::AuthorityAndName => builder.with_root_certificates(roots()?),
        lenient => {
            let roots = if lenient == Check::Authority { Some(roots()?) } else { None };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { roots, algorithms }))
        }
    };
    Ok(builder.with_no_client_auth())
}

fn of_file(file: &Path) -> Result<Arc<RootCertStore>, String> {
    let name = file.display();
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| format!("{name} cannot be read ({error})"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("{name} is no PEM file ({error})"))?;
        roots.add(certificate).map_err(|error| format!("{name} holds a certificate that cannot be used ({error})"))?;
    }
    if roots.is_empty() { Err(format!("{name} holds no certificate")) } else { Ok(Arc::new(roots)) }
}

fn of_system() -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    // Systems carry odd certificates; one that cannot be used is one that is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no certificates of authorities; name a file of them".to_owned());
    }
    Ok(Arc::new(roots))
}

/// Checks less than rustls does by itself: never the name, and the authority only when there are any.
#[derive(Debug)]
struct Lenient {
    roots: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_authority_is_named() {
        let told = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let why = client(Check::AuthorityAndName, Some(file.path())).unwrap_err();
            assert!(why.starts_with(&file.path().display().to_string()), "{why}");
            why
        };
        assert!(told("").ends_with("holds no certificate"));
        assert!(told("-----BEGIN CERTIFICATE-----\nx").contains("is no PEM file"));
        assert!(told("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").contains("cannot be used"));
        let absent = client(Check::Authority, Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(absent.starts_with("/nowhere/ca.pem cannot be read"), "{absent}");
    }
}

//! Whom we trust: the public authorities, the system's, and those of `CA_CERT_DATA`.
//!
//! The public ones are compiled in, since an image may hold nothing but the program. A private authority adds to them
//! and does not replace them: one Secret may serve a store behind a public name later.

use std::error::Error as StdError;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore, SignatureScheme};

use crate::error::chain;

/// TLS for whom a name proves: the public authorities and the system's. For other requests than a store's.
pub fn trusting_authorities() -> Result<ClientConfig, String> {
    config(b"", false)
}

/// TLS that takes any certificate: for who listens on this machine itself, where no authority vouches for anybody.
pub fn trusting_anybody() -> Result<ClientConfig, String> {
    config(b"", true)
}

/// The error is a sentence about the certificates.
pub(super) fn config(ca_certificates: &[u8], insecure: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("set up TLS: {e}"))?;
    let builder = match insecure {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        false => builder.with_root_certificates(roots(ca_certificates)?),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(ca_certificates: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Some in a system's collection are of kinds that cannot be used; the others can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(ca_certificates) {
        let certificate = certificate.map_err(|e| format!("CA_CERT_DATA cannot be read: {e}"))?;
        roots.add(certificate).map_err(|e| format!("CA_CERT_DATA holds an unusable certificate: {e}"))?;
        found += 1;
    }
    match found == 0 && !ca_certificates.trim_ascii().is_empty() {
        true => Err("CA_CERT_DATA holds no certificate in PEM".to_owned()),
        false => Ok(roots),
    }
}

/// Why no other try at TLS would end otherwise, if that is what `error` is about.
pub(super) fn refusal(error: &(dyn StdError + 'static)) -> Option<String> {
    chain(error).find_map(|cause| match tls_error(cause)? {
        rustls::Error::InvalidCertificate(why) => Some(format!(
            "the server's certificate is refused ({why}); a private authority is trusted through CA_CERT_DATA"
        )),
        // What comes back are not even records of TLS, but words of another protocol.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("the server does not speak TLS: write http:// before its host if that is meant".to_owned())
        }
        _ => None,
    })
}

/// An error of TLS itself, however often it is wrapped: one of input or output is no source of that around it.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut innermost = error;
    while let Some(inner) = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        innermost = inner;
    }
    innermost.downcast_ref()
}

/// For `insecureTLS`: checks signatures and nothing else.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_cannot_be_read_is_told() {
        assert!(config(b"", false).is_ok());
        assert!(config(b"\n", false).is_ok());
        for wrong in [
            &b"hunter2"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\n",
        ] {
            let said = config(wrong, false).unwrap_err();
            assert!(said.starts_with("CA_CERT_DATA") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_refused_certificate_is_found_below_what_wraps_it() {
        let refused = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let io = |error: Box<dyn StdError + Send + Sync>| std::io::Error::other(error);
        for error in [io(refused().into()), io(io(refused().into()).into())] {
            let said = refusal(&error).unwrap();
            assert!(said.contains("(UnknownIssuer)") && said.contains("CA_CERT_DATA"), "{said}");
        }
        assert_eq!(refusal(&io("hunter2".into())), None);
    }
}

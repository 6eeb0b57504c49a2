//! The private CA of a server and the certificate that it shows, as files in the server's folder.
//!
//! The certificate holds for this machine and for the host names of the vendors whose clients know no other, and it is
//! no CA's itself: rustls refuses those as a server's.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "*.blob.core.windows.net", "api.backblazeb2.com"];

/// Where the files lie, all of them PEM.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) ca: PathBuf,
    pub(super) leaf: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificate {
    pub(super) fn write(folder: &Path) -> Self {
        let mut of_ca = CertificateParams::default();
        of_ca.distinguished_name.push(DnType::CommonName, "CA of a store of the tests");
        of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        of_ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate().expect("aws-lc makes a key");
        let ca = of_ca.self_signed(&ca_key).expect("the CA signs itself");

        let mut of_leaf = CertificateParams::new(NAMES.map(str::to_owned)).expect("the names are valid");
        of_leaf.distinguished_name.push(DnType::CommonName, "store of the tests");
        of_leaf.is_ca = IsCa::ExplicitNoCa;
        of_leaf.use_authority_key_identifier_extension = true;
        of_leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        of_leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("aws-lc makes a key");
        let leaf = of_leaf.signed_by(&key, &Issuer::new(of_ca, ca_key)).expect("the CA signs the leaf");

        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder is ours");
            path
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            leaf: write("certificate.pem", leaf.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}

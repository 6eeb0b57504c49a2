//! MinIO, which no registry packages: the binary that `PILLION_TEST_MINIO` names.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Credentials, Launch, Place, Security};

/// The binary, where the one who runs the tests named one.
pub(super) fn binary() -> Option<PathBuf> {
    std::env::var_os("PILLION_TEST_MINIO").filter(|path| !path.is_empty()).map(PathBuf::from)
}

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    let binary = binary().expect("PILLION_TEST_MINIO names a binary of MinIO");
    let port = place.ports.take();
    let (data, certificates) = (place.folder.join("data"), place.folder.join("certificates"));
    for folder in [&data, &certificates] {
        fs::create_dir(folder).expect("the folder is ours");
    }
    if place.security == Security::Tls {
        // Their being there turns TLS on.
        for (from, to) in [(&place.certificate.leaf, "public.crt"), (&place.certificate.key, "private.key")] {
            fs::copy(from, certificates.join(to)).expect("the folder is ours");
        }
    }
    let owner = Credentials::owner();
    let mut command = Command::new(binary);
    command.env("MINIO_ROOT_USER", owner.id).env("MINIO_ROOT_PASSWORD", owner.secret);
    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", place.folder);
    command.arg("server").arg(data).args(["--address", &format!("127.0.0.1:{port}")]);
    command.arg("--certs-dir").arg(certificates);
    let ready = format!("{}://127.0.0.1:{port}/minio/health/cluster", place.security.scheme());
    Launch { command, port, tls_port: None, path: "", questions: vec![(ready, 200)] }
}

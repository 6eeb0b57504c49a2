//! Ceph's object gateway with a monitor and one OSD in memory, in the distribution's version: what Rook runs.

use std::path::Path;
use std::process::Command;

use super::{Credentials, Launch, Place, Rights, Security, Server, installed, script};

/// What `e2e/stores/ceph.sh` calls, and [`owner`].
const PROGRAMS: [&str; 7] =
    ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    for program in PROGRAMS {
        installed(program);
    }
    let port = place.ports.take();
    let gateway = match place.security {
        Security::Plain => format!("endpoint=127.0.0.1:{port}"),
        Security::Tls => {
            let (leaf, key) = (&place.certificate.leaf, &place.certificate.key);
            let (leaf, key) = (leaf.display(), key.display());
            format!("ssl_endpoint=127.0.0.1:{port} ssl_certificate={leaf} ssl_private_key={key}")
        }
    };
    let mut command = Command::new(script("ceph.sh"));
    command.arg(place.folder);
    command.arg(place.ports.take().to_string()).arg(place.ports.take().to_string()).arg(gateway);
    let questions = vec![(format!("{}://127.0.0.1:{port}/", place.security.scheme()), 200)];
    Launch { command, port, tls_port: None, path: "", questions }
}

/// Makes the user to whom the store belongs, once the gateway has made its pools.
pub(super) fn owner(folder: &Path) {
    let owner = Credentials::owner();
    make(folder, &["user", "create", "--uid=owner", "--display-name=owner"], &owner);
}

pub(super) fn user(server: &Server, rights: Rights) -> Credentials {
    match rights {
        Rights::Read => {
            let reader = Credentials::reader();
            let words = ["subuser", "create", "--uid=owner", "--subuser=owner:reader", "--access=read"];
            make(server.folder(), &[&words[..], &["--key-type=s3"]].concat(), &reader);
            reader
        }
        Rights::Nothing => {
            let stranger = Credentials::stranger();
            let words = ["user", "create", "--uid=stranger", "--display-name=stranger", "--max-buckets=-1"];
            make(server.folder(), &words, &stranger);
            stranger
        }
        Rights::Quota { bytes } => {
            // Each has what it stored so far to itself.
            let limited = Credentials::new(&format!("LIMITED{:08x}", fastrand::u32(..)), "limited-secret");
            let user = format!("--uid={}", limited.id);
            make(server.folder(), &["user", "create", &user, "--display-name=limited"], &limited);
            let most = format!("--max-size={bytes}");
            administer(server.folder(), &["quota", "set", "--quota-scope=user", &user, &most]);
            administer(server.folder(), &["quota", "enable", "--quota-scope=user", &user]);
            limited
        }
    }
}

/// A user or a subuser with these keys; made before, it is the same one.
fn make(folder: &Path, words: &[&str], credentials: &Credentials) {
    let keys = [format!("--access-key={}", credentials.id), format!("--secret-key={}", credentials.secret)];
    administer(folder, &[words, &[&keys[0], &keys[1]]].concat());
}

fn administer(folder: &Path, words: &[&str]) {
    let mut command = Command::new("radosgw-admin");
    command.current_dir(folder).args(["-c", "ceph.conf"]).args(words);
    let output = command.output().expect("start radosgw-admin");
    let text = String::from_utf8_lossy(&output.stderr);
    let is_there = text.contains("exist");
    assert!(output.status.success() || is_there, "radosgw-admin {words:?}: {text}");
}

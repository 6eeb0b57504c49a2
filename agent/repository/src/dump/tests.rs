//! Headers, read back by the system's tar.

use std::io::Write;
use std::process::{Command, Stdio};

use super::tar;
use crate::format::time::Timestamp;
use crate::format::tree::{ExtendedAttribute, Node, NodeKind};

fn listed(archive: &[u8]) -> String {
    let mut tar = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--full-time", "--xattrs", "--file", "-"])
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs tar");
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn archive(entries: &[(&str, Node)]) -> Vec<u8> {
    let mut archive: Vec<u8> =
        entries.iter().flat_map(|(path, node)| tar::header(path.as_bytes(), node)).collect();
    archive.extend(tar::END);
    archive
}

fn node(kind: NodeKind, mode: u32, time: (i64, u32)) -> Node {
    let mtime = Timestamp { seconds: time.0, nanoseconds: time.1 };
    Node { mode, mtime, ..Node::new("x", kind) }
}

#[test]
fn what_a_plain_header_cannot_say_is_read_back_whole() {
    let long = format!("{}/{}", "d".repeat(150), "\u{fc}".repeat(100));
    let file =
        Node { uid: 3_000_000_000, ..node(NodeKind::File, 0o4644 & 0o777 | 1 << 23, (1_000_000_000, 5)) };
    let link = Node { link_target: long.clone().into_bytes(), ..node(NodeKind::Symlink, 0o777, (0, 0)) };
    let old = node(NodeKind::Dir, 0o755 | 1 << 31, (-1, 250_000_000));
    // GNU tar lists times before 1970 with the fraction on the wrong side, so the record itself is looked at.
    let header = tar::header(b"old", &old);
    assert!(String::from_utf8_lossy(&header).contains(" mtime=-0.75\n"), "{header:?}");
    let text = listed(&archive(&[(&long, file), ("link", link), ("old", old)]));
    // How wide the columns are depends on the version of tar.
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].starts_with("-rwSr--r-- 3000000000/0"), "{text}");
    assert!(lines[0].contains("2001-09-09 01:46:40.000000005"), "{text}");
    assert!(lines[1].starts_with("lrwxrwxrwx 0/0") && lines[1].contains("link -> ddd"), "{text}");
    assert!(lines[2].starts_with("drwxr-xr-x") && lines[2].ends_with(" old/"), "{text}");
}

#[test]
fn extended_attributes_and_acls_are_told_of() {
    let mut file = node(NodeKind::File, 0o644, (0, 0));
    let acl = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0];
    file.rare.extended_attributes = vec![
        ExtendedAttribute { name: b"user.a".to_vec(), value: b"\0=\n".to_vec() },
        ExtendedAttribute { name: b"system.posix_acl_access".to_vec(), value: acl.to_vec() },
    ];
    let blocks = tar::header(b"x", &file);
    let text = String::from_utf8_lossy(&blocks);
    assert!(text.contains("27 SCHILY.xattr.user.a=\0=\n\n"), "{text}");
    assert!(text.contains("SCHILY.acl.access=user::rw-\nuser:1000:r--\n"), "{text}");
    assert_eq!(blocks.len() % 512, 0);
    assert_eq!(listed(&archive(&[("x", file)])).lines().count(), 1);
}

use super::*;

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn parse(options: ExcludeOptions) -> Exclusion {
    Exclusion::parse(options).expect("valid options")
}

#[test]
fn without_options_nothing_is_left_out() {
    let exclusion = parse(ExcludeOptions::default());
    assert!(!exclusion.by_name(b"/a"));
    assert!(!exclusion.by_metadata(false, u64::MAX));
    assert!(!exclusion.by_device(b"/a", false, 1, 2));
    assert!(exclusion.directory_markers().is_empty());
    assert!(exclusion.recorded().is_empty());
}

#[test]
fn sizes_are_read_as_restic_reads_them() {
    for (text, expected) in [
        ("0", Some(0)),
        ("12", Some(12)),
        ("+5b", Some(5)),
        ("3k", Some(3 << 10)),
        ("3M", Some(3 << 20)),
        ("1g", Some(1 << 30)),
        ("2T", Some(2 << 40)),
        ("8388607T", Some(8_388_607 << 40)),
        ("8388608T", None),
        ("9223372036854775807", Some(i64::MAX as u64)),
        ("9223372036854775808", None),
        ("-1", None),
        ("-1k", None),
        ("", None),
        ("k", None),
        ("1.5k", None),
        ("1 k", None),
        ("1kb", None),
        ("1é", None),
    ] {
        assert_eq!(parse_size(text), expected, "{text:?}");
    }
}

#[test]
fn only_what_is_larger_than_the_limit_and_no_directory_is_left_out() {
    let exclusion = parse(ExcludeOptions { larger_than: Some("1k".into()), ..ExcludeOptions::default() });
    assert!(!exclusion.by_metadata(false, 1024));
    assert!(exclusion.by_metadata(false, 1025));
    assert!(!exclusion.by_metadata(true, 4096));
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    for (options, expected) in [
        (
            ExcludeOptions { larger_than: Some("much".into()), ..ExcludeOptions::default() },
            "--exclude-larger-than: \"much\" is no size: write a number, perhaps with k, M, G or T behind it",
        ),
        (
            ExcludeOptions { if_present: bytes(&[":header"]), ..ExcludeOptions::default() },
            "--exclude-if-present: \":header\" names no file",
        ),
        (
            ExcludeOptions { if_present: bytes(&[""]), ..ExcludeOptions::default() },
            "--exclude-if-present: \"\" names no file",
        ),
    ] {
        assert_eq!(Exclusion::parse(options).expect_err("refused").to_string(), expected);
    }
}

#[test]
fn a_marker_keeps_itself_but_not_its_neighbours() {
    let exclusion = parse(ExcludeOptions {
        if_present: bytes(&[".nobackup", ".tag:yes: sure"]),
        caches: true,
        ..ExcludeOptions::default()
    });
    let markers = exclusion.directory_markers();
    assert_eq!(markers.len(), 3);
    assert_eq!(*markers[1].name, *b".tag");
    assert_eq!(*markers[1].header, *b"yes: sure");
    assert_eq!(*markers[2].name, *b"CACHEDIR.TAG");

    assert!(!exclusion.by_markers(&[], b"file"));
    assert!(exclusion.by_markers(&[0], b"file"));
    assert!(!exclusion.by_markers(&[0], b".nobackup"));
    assert!(exclusion.by_markers(&[0, 1], b".nobackup"));
}

#[test]
fn a_header_has_to_be_there_in_full() {
    let marker = DirectoryMarker::parse(b".tag:yes").expect("valid");
    for (first_bytes, expected) in [
        (&b"yes"[..], Header::Fits),
        (b"yes and more", Header::Fits),
        (b"ye", Header::TooShort),
        (b"", Header::TooShort),
        (b"no!", Header::Differs),
    ] {
        assert_eq!(marker.check(first_bytes), expected);
    }
    assert_eq!(DirectoryMarker::parse(b".tag:").expect("valid").check(b""), Header::Fits);
}

#[test]
fn one_file_system_keeps_the_empty_mount_point() {
    let exclusion = parse(ExcludeOptions {
        target_devices: Some(vec![
            TargetDevice { path: b"/data".to_vec(), device: 1 },
            TargetDevice { path: b"/data/mnt/sub/".to_vec(), device: 7 },
        ]),
        ..ExcludeOptions::default()
    });
    for (path, is_directory, device, parent_device, expected) in [
        ("/data/a", false, 1, 1, false),
        ("/data/mnt", true, 2, 1, false),
        ("/data/mnt/x", true, 2, 2, true),
        ("/data/mnt/f", false, 2, 2, true),
        ("/data/f", false, 2, 1, true),
        ("/data/mnt/sub", true, 7, 2, false),
        ("/data/mnt/sub/x", false, 7, 7, false),
        ("/data/mnt/sub/y", true, 1, 7, false),
        ("/data/mnt/sub/y/z", true, 1, 1, true),
        ("/elsewhere", false, 9, 9, false),
    ] {
        let left_out = exclusion.by_device(path.as_bytes(), is_directory, device, parent_device);
        assert_eq!(left_out, expected, "{path}");
    }
}

#[test]
fn the_programs_own_directories_are_left_out() {
    let exclusion = parse(ExcludeOptions {
        own_directories: bytes(&["/var/cache/pillion/"]),
        ..ExcludeOptions::default()
    });
    assert!(exclusion.by_name(b"/var/cache/pillion"));
    assert!(exclusion.by_name(b"/var/cache/pillion/x"));
    assert!(!exclusion.by_name(b"/var/cache/pillion2"));
}

#[test]
fn built_in_excludes_hold_below_the_root_only_and_can_be_taken_back() {
    let exclusion = parse(ExcludeOptions {
        patterns: PatternOptions { patterns: bytes(&["!.nfs-docs"]), ..PatternOptions::default() },
        built_in_roots: bytes(&["/x/.snapshot/[data]/", "/"]),
        ..ExcludeOptions::default()
    });
    for (path, expected) in [
        ("/x/.snapshot/[data]/lost+found", true),
        ("/x/.snapshot/[data]/.pillion-restore", true),
        ("/x/.snapshot/[data]/a/.nfs0001", true),
        ("/lost+found", true),
        ("/a/lost+found", false),
        ("/a/b/.nfs01", true),
        ("/a/.nfs-docs", false),
        ("/a/nfs", false),
    ] {
        assert_eq!(exclusion.by_name(path.as_bytes()), expected, "{path}");
    }
    let exclusion = parse(ExcludeOptions {
        patterns: PatternOptions {
            patterns: bytes(&["*.tmp"]),
            insensitive_patterns: bytes(&["zzz"]),
            file_patterns: bytes(&["y"]),
            ..PatternOptions::default()
        },
        built_in_roots: bytes(&["/x/.snapshot/[data]"]),
        ..ExcludeOptions::default()
    });
    assert!(!exclusion.by_name(b"/x/.snapshot/[data]/kept"));
    assert_eq!(
        exclusion.recorded(),
        [
            "/x/.snapshot/\\[data\\]/lost+found",
            "/x/.snapshot/\\[data\\]/.pillion-restore",
            "/x/.snapshot/\\[data\\]/**/.snapshot",
            "/x/.snapshot/\\[data\\]/**/.nfs*",
            "*.tmp",
        ]
    );
}

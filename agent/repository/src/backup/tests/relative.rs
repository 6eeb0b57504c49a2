//! Relative sources, in a file system of their own: the script knows absolute paths only.

#![allow(clippy::disallowed_methods, reason = "tests make and look at files of their own")]

use super::*;

#[test]
fn relative_paths_begin_in_the_working_directory_whatever_the_process_has() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("elsewhere/data")).unwrap();
    std::fs::write(directory.path().join("elsewhere/data/file"), b"content").unwrap();
    for (source, name) in [("data", "/data/file"), (".", "/data/file"), ("../elsewhere/data/file", "/file")] {
        let store = fixture::create(Version::Two);
        let mut options = options(SourcePaths::Resolved, source);
        options.working_directory = directory.path().join("elsewhere").into_os_string().into_encoded_bytes();
        let report = backup_to(store.clone(), &options, &Silent).unwrap();
        assert_eq!(report.faults, Faults::default(), "{source}");
        let held = restored(&fixture::open(store), &report.snapshot.tree);
        let paths: Vec<_> = held.keys().filter(|path| path.ends_with("file")).collect();
        assert!(paths.len() == 1 && paths[0].ends_with(name), "{source}: {paths:?}");
    }
}

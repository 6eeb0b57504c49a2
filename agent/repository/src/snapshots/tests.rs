//! The words for snapshots and paths, against a repository in memory.

use std::sync::Arc;

use pillion_backend::Backend;
use pillion_backend::mem::Mem;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::repository::{Creator, Settings, init};
use crate::store::Store;

struct Fixture {
    _runtime: tokio::runtime::Runtime,
    repository: Repository,
    ids: Vec<Id>,
}

impl Fixture {
    /// Snapshots of these seconds, hosts and tags; the tree's ID is that of the number.
    fn new(snapshots: &[(i64, &str, &[&str])]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let backend: Arc<dyn Backend> = Arc::new(Mem::new());
        let store = Store::new(backend, runtime.handle().clone(), CancellationToken::new());
        let creator = Creator { hostname: "test".to_owned(), username: "test".to_owned() };
        let repository = init(&store, b"secret", &creator, Settings::default()).unwrap();
        let ids = snapshots.iter().map(|(seconds, host, tags)| {
            let json = format!(
                r#"{{"time":"1970-01-01T00:00:{seconds:02}Z","tree":"{}","paths":["/data"],"hostname":"{host}","tags":{}}}"#,
                Id::of(&seconds.to_le_bytes()),
                serde_json::to_string(tags).unwrap(),
            );
            repository.save_file(FileKind::Snapshot, json.as_bytes()).unwrap()
        });
        let ids = ids.collect();
        Self { _runtime: runtime, repository, ids }
    }

    fn find(&self, name: &str, filter: &SnapshotFilter) -> Result<usize, String> {
        let found = find_snapshot(&self.repository, name.as_bytes(), filter);
        found
            .map(|(id, ..)| self.ids.iter().position(|known| *known == id).unwrap())
            .map_err(|e| e.to_string())
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn latest_is_the_newest_that_the_filter_lets_through() {
    let fixture = Fixture::new(&[(10, "a", &["x"]), (30, "b", &[]), (20, "a", &["x", "y"])]);
    let all = SnapshotFilter::default;
    assert_eq!(fixture.find("latest", &all()), Ok(1));
    assert_eq!(fixture.find("latest", &SnapshotFilter { hosts: strings(&["a", "z"]), ..all() }), Ok(2));
    let before = |seconds| Some(Timestamp { seconds, nanoseconds: 0 });
    assert_eq!(fixture.find("latest", &SnapshotFilter { not_after: before(20), ..all() }), Ok(2));
    assert_eq!(fixture.find("latest", &SnapshotFilter { not_after: before(19), ..all() }), Ok(0));
    let tags = |lists: &[&[&str]]| SnapshotFilter {
        tags: lists.iter().map(|list| strings(list)).collect(),
        ..all()
    };
    assert_eq!(fixture.find("latest", &tags(&[&["x"]])), Ok(2));
    assert_eq!(fixture.find("latest", &tags(&[&["z"], &["y", "x"]])), Ok(2));
    assert_eq!(fixture.find("latest", &tags(&[&[""]])), Ok(1), "the empty tag is for snapshots without");
    let paths = SnapshotFilter { paths: strings(&["/other"]), ..all() };
    assert_eq!(fixture.find("latest", &paths), Err(r#"no snapshot matches "latest""#.to_owned()));
}

#[test]
fn an_id_may_be_shortened_while_it_is_unique() {
    let fixture = Fixture::new(&[(1, "a", &[]), (2, "a", &[])]);
    let full = fixture.ids[1].to_string();
    let filter = SnapshotFilter { hosts: strings(&["nobody"]), ..SnapshotFilter::default() };
    assert_eq!(fixture.find(&full, &filter), Ok(1), "a filter is for `latest` only");
    assert_eq!(fixture.find(&full[..20], &filter), Ok(1));
    let (id, _, path) =
        find_snapshot(&fixture.repository, format!("{}:/a:b/c", &full[..20]).as_bytes(), &filter).unwrap();
    assert_eq!((id, &path[..]), (fixture.ids[1], &b"/a:b/c"[..]));
    for (name, error) in [
        ("", r#"no snapshot matches """#.to_owned()),
        ("xyz", r#"no snapshot matches "xyz""#.to_owned()),
        (&Id::of(b"none").to_string(), format!("no snapshot matches \"{}\"", Id::of(b"none"))),
    ] {
        assert_eq!(fixture.find(name, &filter), Err(error));
    }
    let many: Vec<_> = (0..17).map(|seconds| (seconds, "a", &[][..])).collect();
    let many = Fixture::new(&many);
    let ambiguous = "0123456789abcdef"
        .chars()
        .any(|digit| matches!(find_id(&many.repository, &digit.to_string()), Err(Error::AmbiguousPrefix(_))));
    assert!(ambiguous, "of 17 IDs two begin alike");
}

#[test]
fn each_snapshot_is_selected_once() {
    let fixture = Fixture::new(&[(1, "a", &[]), (2, "b", &[])]);
    let all = SnapshotFilter::default();
    let select =
        |names: &[String]| select_snapshots(&fixture.repository, names, &all).map(|(found, _)| found.len());
    assert_eq!(select(&[]).unwrap(), 2);
    let full = fixture.ids[1].to_string();
    assert_eq!(select(&[full.clone(), "latest".to_owned(), full[..30].to_owned()]).unwrap(), 1);
    assert!(select(&[format!("{full}:/path")]).is_err());
}

#[test]
fn paths_are_cleaned_before_they_are_walked() {
    let names = |path: &str| {
        clean(path.as_bytes())
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(""), Vec::<String>::new());
    assert_eq!(names("/"), Vec::<String>::new());
    assert_eq!(names("//a/./b/../c/"), ["a", "c"]);
    assert_eq!(names("../../a"), ["a"]);
}

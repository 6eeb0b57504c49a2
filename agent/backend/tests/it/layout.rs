//! What lies in a bucket, as another client of S3 sees it: names and bytes, of what we wrote and of what it writes.

use futures_util::TryStreamExt;
use pillion_backend::{Backend, FileKind, FileName};
use pillion_e2e::servers::{Kind, Security, Server, shared};
use s3::creds::Credentials;
use s3::{Bucket, Region};

use crate::scene::{fresh_name, s3, tried_again};

fn other_client(server: &Server, bucket: &str) -> Box<Bucket> {
    let owner = server.credentials();
    let keys = Credentials::new(Some(&owner.id), Some(&owner.secret), None, None, None).unwrap();
    let region =
        Region::Custom { region: server.region().to_owned(), endpoint: server.endpoint().to_owned() };
    Bucket::new(bucket, region, keys).unwrap().with_path_style()
}

/// A file of each kind, and where it belongs.
fn files() -> [(FileName, String); 6] {
    FileKind::ALL.map(|kind| {
        let id = "abcd".repeat(16);
        match kind {
            FileKind::Config => (FileName::config(), "demo/x/config".to_owned()),
            FileKind::Pack => (FileName::new(kind, &id).unwrap(), format!("demo/x/data/ab/{id}")),
            _ => (FileName::new(kind, &id).unwrap(), format!("demo/x/{}/{id}", kind.folder())),
        }
    })
}

/// Bytes that are those of this name only, and no text.
fn content(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0, 0xff, b'\r', b'\n']].concat()
}

async fn another_client_finds_what_we_write_and_we_what_it_writes(kind: Kind) {
    let server = shared(kind, Security::Plain);
    let (ours, theirs) = (fresh_name(), fresh_name());
    let [store, empty] = [&ours, &theirs].map(|bucket| tried_again(s3(server, bucket, "/demo/x/")));
    store.create().await.unwrap();
    for (file, name) in files() {
        store.save(&file, content(&name).into()).await.unwrap();
    }
    let bucket = other_client(server, &ours);
    let pages = bucket.list(String::new(), None).await.unwrap();
    let mut found: Vec<_> =
        pages.into_iter().flat_map(|page| page.contents).map(|object| object.key).collect();
    found.sort();
    let mut expected = files().map(|(_, name)| name);
    expected.sort();
    assert_eq!(found, expected);
    for name in expected {
        assert_eq!(bucket.get_object(&name).await.unwrap().as_slice(), content(&name), "{name}");
    }

    empty.create().await.unwrap();
    let bucket = other_client(server, &theirs);
    for (file, name) in files() {
        bucket.put_object(&name, &content(&name)).await.unwrap();
        let size_bytes = content(&name).len() as u64;
        assert_eq!(empty.stat(&file).await.unwrap().size_bytes, size_bytes);
        assert_eq!(empty.load(&file, size_bytes).await.unwrap(), content(&name), "{name}");
        let listed: Vec<_> = empty.list(file.kind()).map_ok(|entry| entry.file).try_collect().await.unwrap();
        assert_eq!(listed, [file]);
    }
}

#[tokio::test]
async fn another_client_of_versity_and_we_see_the_same_files() {
    another_client_finds_what_we_write_and_we_what_it_writes(Kind::Versity).await;
}

#[tokio::test]
async fn another_client_of_ceph_and_we_see_the_same_files() {
    another_client_finds_what_we_write_and_we_what_it_writes(Kind::Ceph).await;
}

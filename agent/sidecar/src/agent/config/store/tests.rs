//! Manifests as the product's pages have them, pasted as they are.

use super::super::raw::Raw;
use super::super::tests::resolve;
use super::*;

const REST: &str = "sources: /data\nschedule: '@daily'\n";

fn of_backend(yaml: &str) -> Result<(String, Connection), Vec<String>> {
    let config = resolve(&format!("{REST}{yaml}"))?;
    Ok((config.repository.to_string(), config.connection))
}

fn connections(count: &str) -> Connection {
    Connection { max_connections: count.parse().unwrap(), ..Connection::default() }
}

#[test]
fn the_manifests_of_object_stores_are_the_settings_of_a_store() {
    let region = Connection { region: Some("us-west-1".to_owned()), ..Connection::default() };
    let insecure = Connection { insecure_tls: true, ..connections("9") };
    for (yaml, location, connection) in [
        (
            // AWS.
            "backend:\n  s3:\n    endpoint: s3.amazonaws.com # the server's URL elsewhere\n    bucket: shop-backup\n    \
             region: us-west-1\n    prefix: /backup/demo/deployment/shop\n  storageSecretName: s3-secret\n",
            "s3:https://s3.amazonaws.com/shop-backup/backup/demo/deployment/shop",
            region,
        ),
        (
            // MinIO behind a Service, with a certificate of its own.
            "backend:\n  s3:\n    endpoint: 'https://my-minio-service.minio-namespace.svc'\n    bucket: shop-backup\n    \
             prefix: /source/data\n    insecureTLS: true\n    maxConnections: 9\n  storageSecretName: minio-secret\n",
            "s3:https://my-minio-service.minio-namespace.svc/shop-backup/source/data",
            insecure,
        ),
        (
            // Rook's object store.
            "backend:\n  s3:\n    endpoint: 'http://rook-ceph-rgw-my-store-external.rook-ceph.svc'\n    bucket: shop-backup\n    \
             prefix: /source/data\n  storageSecretName: rook-secret\n",
            "s3:http://rook-ceph-rgw-my-store-external.rook-ceph.svc/shop-backup/source/data",
            Connection::default(),
        ),
        (
            // DigitalOcean Spaces.
            "backend:\n  s3:\n    endpoint: nyc3.digitaloceanspaces.com\n    bucket: shop-backup\n  storageSecretName: do-secret\n",
            "s3:https://nyc3.digitaloceanspaces.com/shop-backup",
            Connection::default(),
        ),
        (
            "backend:\n  azure:\n    container: shop-backup\n    prefix: /demo/deployment/shop\n  storageSecretName: azure-secret\n",
            "azure:shop-backup:/demo/deployment/shop",
            Connection::default(),
        ),
        (
            "backend:\n  b2:\n    bucket: shop-backup\n    prefix: /demo/deployment/shop\n    maxConnections: 10\n  \
             storageSecretName: b2-secret\n",
            "b2:shop-backup:/demo/deployment/shop",
            connections("10"),
        ),
    ] {
        assert_eq!(of_backend(yaml), Ok((location.to_owned(), connection)), "{yaml}");
    }
}

#[test]
fn the_example_of_the_readme_is_understood() {
    let page = include_str!("../../../../../../README.md");
    let (_, section) = page.split_once("\n### Stores\n").expect("the page has the section");
    let example = section.split("```").nth(1).and_then(|example| example.strip_prefix("yaml\n")).unwrap();
    let location = resolve(example).unwrap().repository.to_string();
    assert_eq!(location, "s3:https://minio.storage.svc/shop-backup/demo/deployment/shop");
}

#[test]
fn the_manifests_of_volumes_are_their_mount_path() {
    for volume in [
        "hostPath:\n      path: /data/shop/repo",
        "nfs:\n      server: \"nfs-service.storage.svc.cluster.local\"\n      path: \"/\" # below the exports",
        "persistentVolumeClaim:\n      claimName: repo-pvc",
        "gcePersistentDisk:\n      pdName: repo\n      fsType: ext4",
        "awsElasticBlockStore: # is there already\n      volumeID: vol-1\n      fsType: ext4",
        "azureDisk:\n      diskName: repo.vhd\n      diskURI: https://account.blob.microsoft.net/vhds/repo.vhd",
        "storageos:\n      volumeName: vol01\n      fsType: ext4",
        "emptyDir: {}",
        "subPath: below/the/volume",
    ] {
        let yaml = format!(
            "backend:\n  local:\n    mountPath: /safe/data\n    {volume}\n  storageSecretName: local-secret\n"
        );
        assert_eq!(of_backend(&yaml), Ok(("/safe/data".to_owned(), Connection::default())), "{yaml}");
    }
}

#[test]
fn what_is_wrong_with_a_manifest_is_told_with_its_path_and_all_at_once() {
    for (yaml, expected) in [
        (
            "backend: {s3: {endpoint: 'ftp://h', prefix: a/../b, insecureTLS: perhaps, maxConnections: 1k, region: a/b, typo: 1}}",
            &[
                "backend.s3.endpoint: an endpoint begins with http:// or https://, or with its host",
                "backend.s3.bucket: is not set",
                "backend.s3.prefix: the prefix holds `..`: write the path itself",
                "backend.s3.region: a region is at most 64 letters, digits, dashes, dots and underscores",
                "backend.s3.insecureTLS: \"perhaps\" is neither true nor false",
                "backend.s3.maxConnections: \"1k\" is no number of connections: it is one from 1 to 256",
                "backend.s3.typo: there is no such setting",
            ][..],
        ),
        (
            "backend: {azure: {container: '', prefix: [a], insecureTLS: true}, typo: {a: b}}",
            &[
                "backend.typo: there is no such setting",
                "backend.azure.container: is not set",
                "backend.azure.prefix: is a list: write one value",
                "backend.azure.insecureTLS: there is no such setting",
            ],
        ),
        (
            "backend: {b2: {bucket: short, region: r}}",
            &[
                "backend.b2.bucket: a bucket of B2 has 6 to 63 letters, digits and dashes",
                "backend.b2.region: there is no such setting",
            ],
        ),
        (
            "backend: {local: {mountPath: safe, hostPath: {path: /x}, host: x}}",
            &[
                "backend.local.mountPath: \"safe\" is no absolute path",
                "backend.local.host: there is no such setting",
            ],
        ),
        ("backend: {local: {}}", &["backend.local.mountPath: is not set"]),
        ("backend: {s3: s3.amazonaws.com}", &["backend.s3: is no mapping: write it as in the manifest"]),
        (
            "backend: s3",
            &[
                "backend: is no mapping: write it as in the manifest",
                "repository: is not set, and neither is backend",
            ],
        ),
        ("backend: {storageSecretName: x}", &["backend: holds no store: there are s3, azure, b2, local"]),
        ("backend: {s3: }", &["backend: holds no store: there are s3, azure, b2, local"]),
        (
            "backend: {storageSecretName: {a: b}, b2: {bucket: bucket-1}}",
            &["backend.storageSecretName: is a mapping: write one value"],
        ),
        (
            "backend: {b2: {bucket: bucket-1}, local: {mountPath: x}}",
            &["backend: holds b2 and local: keep one", "backend.local.mountPath: \"x\" is no absolute path"],
        ),
        (
            "repository: 'b2:short'\nbackend: {b2: {}}",
            &[
                "backend: repository is set too: keep one",
                "repository: open location: wrong setting: a bucket of B2 has 6 to 63 letters, digits and dashes",
                "backend.b2.bucket: is not set",
            ],
        ),
        (
            "backend: {gcs: {bucket: b}, swift: {container: c}, rest: {url: 'https://user:hunter2@host'}}",
            &[
                "backend.gcs: this version has no Google Cloud Storage: there are s3, azure, b2 and local",
                "backend.swift: this version has no OpenStack Swift: there are s3, azure, b2 and local",
                "backend.rest: this version has no REST server: there are s3, azure, b2 and local",
            ],
        ),
    ] {
        assert_eq!(of_backend(yaml).unwrap_err(), expected, "{yaml}");
    }
}

#[test]
fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
    let yaml = "backend: {s3: {endpoint: 'https://user:hunter2@host', bucket: b}}";
    let problems = of_backend(yaml).unwrap_err().join(" ");
    assert!(problems.contains("Secret") && !problems.contains("hunter2"), "{problems}");
}

#[test]
fn what_is_not_set_in_a_manifest_may_be_zero_or_empty_or_null() {
    let yaml =
        "backend: {azure: {container: c, prefix: '', maxConnections: 0}, s3: null, storageSecretName: }";
    assert_eq!(of_backend(yaml), Ok(("azure:c:/".to_owned(), Connection::default())));
}

#[test]
fn a_store_that_is_shown_is_read_again_as_the_same() {
    for yaml in [
        "backend: {s3: {endpoint: 'http://h:9000', bucket: b, prefix: /p, region: 1e3, insecureTLS: true, maxConnections: 9}}",
        "backend: {azure: {container: c, prefix: /p}}",
        "backend: {b2: {bucket: '123456', maxConnections: 2}}",
        "backend: {local: {mountPath: /safe/data, subPath: x}}",
        "repository: s3:h/b",
    ] {
        let config = resolve(&format!("{REST}{yaml}\nlimitUpload: 7\nlimitDownload: 0\n")).unwrap();
        let again = resolve(&config.to_yaml()).unwrap();
        assert_eq!(
            (&again.repository, &again.connection),
            (&config.repository, &config.connection),
            "{}",
            config.to_yaml()
        );
        assert_eq!(config.connection.upload_limit.to_string(), "7");
    }
}

#[test]
fn a_location_of_a_variable_or_an_option_hides_the_manifest() {
    let file = || Raw::from_yaml(&format!("{REST}backend: {{b2: {{bucket: short}}}}")).unwrap();
    let above = Raw { repository: Some(Text("azure:c:/".to_owned())), ..Raw::default() };
    let config = super::super::Config::resolve(above.over(file())).unwrap();
    assert_eq!(config.repository.to_string(), "azure:c:/");
    assert!(super::super::Config::resolve(Raw::default().over(file())).is_err());
}

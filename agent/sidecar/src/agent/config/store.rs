//! What the settings say of the store: a location in restic's words, or a manifest's `spec.backend`.
//!
//! The manifest is pasted as it is, so what means something to whoever mounts and injects, and nothing here, is
//! accepted by name: the Secret's name, and the volume behind a local path. Everything else that is not understood is
//! refused with its full path. Holds no credential.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pillion_backend::location::{AzureLocation, B2Location, Endpoint, Location, Prefix, S3Location};

use super::raw::{Backend, Text, Written};
use super::section::Section;
use super::{Reader, absolute_path, parse_location, parse_switch};
use crate::open::Connection;
use crate::setting::parse_region;

const STORES: [&str; 4] = ["s3", "azure", "b2", "local"];

/// The stores a manifest may have that we do not.
const OTHER_STORES: [(&str, &str); 3] = [
    ("gcs", "this version has no Google Cloud Storage: there are s3, azure, b2 and local"),
    ("swift", "this version has no OpenStack Swift: there are s3, azure, b2 and local"),
    ("rest", "this version has no REST server: there are s3, azure, b2 and local"),
];

/// Kubernetes' names for what may lie behind `local.mountPath`: the pod has mounted it.
const VOLUME_SOURCES: [&str; 30] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

/// The store, from whichever of the two settings names it. `None` only where a problem was added.
pub(super) fn resolve(
    read: &mut Reader<'_>,
    repository: Option<Text>,
    backend: Option<Backend>,
) -> Option<(Location, Connection)> {
    let repository = repository.filter(|text| !text.0.is_empty());
    if repository.is_some() && backend.is_some() {
        read.problems.push("backend: repository is set too: keep one".to_owned());
    }
    match (repository, backend) {
        (None, None) => {
            read.problems.push("repository: is not set, and neither is backend".to_owned());
            None
        }
        (repository @ Some(_), None) => {
            let location = read.optional("repository", repository, parse_location);
            location.map(|location| (location, Connection::default()))
        }
        (repository, Some(Backend(entries))) => {
            let _told = read.optional("repository", repository, parse_location);
            of_manifest(read, entries)
        }
    }
}

fn of_manifest(read: &mut Reader<'_>, entries: BTreeMap<String, Written>) -> Option<(Location, Connection)> {
    let problems_before = read.problems.len();
    let mut manifest = Section::new("backend", entries);
    let _meaningless: Option<Text> = manifest.text(read, "storageSecretName");
    for (name, problem) in OTHER_STORES {
        if manifest.accept(name) {
            read.problems.push(format!("backend.{name}: {problem}"));
        }
    }
    let named: Vec<&str> = STORES.into_iter().filter(|name| manifest.has(name)).collect();
    let stores = named.iter().map(|name| Some((*name, manifest.section(read, name)?))).collect::<Vec<_>>();
    manifest.finish(read);
    if named.len() > 1 {
        read.problems.push(format!("backend: holds {}: keep one", named.join(" and ")));
    }
    let mut found = None;
    for (name, section) in stores.into_iter().flatten() {
        found = match name {
            "s3" => s3(read, section),
            "azure" => azure(read, section),
            "b2" => b2(read, section),
            _ => local(read, section).map(|path| (Location::Local(path), Connection::default())),
        };
    }
    if named.is_empty() && read.problems.len() == problems_before {
        read.problems.push(format!("backend: holds no store: there are {}", STORES.join(", ")));
    }
    found
}

fn s3(read: &mut Reader<'_>, mut section: Section) -> Option<(Location, Connection)> {
    let endpoint = section.required(read, "endpoint", |text| Endpoint::parse(text).map_err(str::to_owned));
    // The bucket's name alone is judged: what is wrong with the other parts is told with theirs.
    let bucket = section.required(read, "bucket", |text| {
        S3Location::new("host", text, "").map(|location| location.bucket).map_err(str::to_owned)
    });
    let prefix = prefix(read, &mut section);
    let region = section.optional(read, "region", parse_region);
    let insecure_tls = section.optional(read, "insecureTLS", parse_switch).unwrap_or(false);
    let max_connections = section.optional(read, "maxConnections", str::parse).unwrap_or_default();
    section.finish(read);
    let location = S3Location { endpoint: endpoint?, bucket: bucket?, prefix };
    let connection = Connection { region, insecure_tls, max_connections, ..Connection::default() };
    Some((Location::S3(location), connection))
}

fn azure(read: &mut Reader<'_>, mut section: Section) -> Option<(Location, Connection)> {
    let container = section.required(read, "container", |text| {
        AzureLocation::new(text, "").map(|location| location.container).map_err(str::to_owned)
    });
    let prefix = prefix(read, &mut section);
    let max_connections = section.optional(read, "maxConnections", str::parse).unwrap_or_default();
    section.finish(read);
    let location = AzureLocation { container: container?, prefix };
    Some((Location::Azure(location), Connection { max_connections, ..Connection::default() }))
}

fn b2(read: &mut Reader<'_>, mut section: Section) -> Option<(Location, Connection)> {
    let bucket = section.required(read, "bucket", |text| {
        B2Location::new(text, "").map(|location| location.bucket).map_err(str::to_owned)
    });
    let prefix = prefix(read, &mut section);
    let max_connections = section.optional(read, "maxConnections", str::parse).unwrap_or_default();
    section.finish(read);
    let location = B2Location { bucket: bucket?, prefix };
    Some((Location::B2(location), Connection { max_connections, ..Connection::default() }))
}

/// The repository is at the mount's path. `subPath` is the volume's, and the mount has it already: below the path again, it
/// would lead to another directory.
fn local(read: &mut Reader<'_>, mut section: Section) -> Option<PathBuf> {
    let path = section.required(read, "mountPath", absolute_path);
    let _of_the_mount: Option<Text> = section.text(read, "subPath");
    for volume in VOLUME_SOURCES {
        section.accept(volume);
    }
    section.finish(read);
    path
}

fn prefix(read: &mut Reader<'_>, section: &mut Section) -> Prefix {
    let parse = |text: &str| Prefix::parse(text).map_err(str::to_owned);
    section.optional(read, "prefix", parse).unwrap_or_default()
}

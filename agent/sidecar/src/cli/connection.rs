//! How a store is spoken to, in restic's options: limits, certificates, and `-o KEY=VALUE`.
//!
//! As with restic, an option counts for the store that its name begins with, and one of another store is not looked
//! at. What this store does not know is refused; what only restic does is refused by that word.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use pillion_backend::location::Location;
use pillion_backend::open::BucketLookup;

use super::failure::Failure;
use super::global::Options;
use crate::access::{MAX_CERTIFICATES_BYTES, StoreAccess, holds_certificate};
use crate::environment::Environment;
use crate::open::Connection;
use crate::setting::parse_region;

/// What restic has an option for, and we do not.
const ABSENT: [&str; 12] = [
    "azure.access-tier",
    "local.connections",
    "s3.enable-restore",
    "s3.layout",
    "s3.list-objects-v1",
    "s3.restore-days",
    "s3.restore-tier",
    "s3.restore-timeout",
    "s3.retries",
    "s3.storage-class",
    "s3.unsafe-anonymous-auth",
    "b2.test-mode",
];

/// What the options say of a store.
pub fn of(options: &Options, location: &Location) -> Result<Connection, Failure> {
    let connection = Connection {
        insecure_tls: options.insecure_tls,
        upload_limit: options.limit_upload.unwrap_or_default(),
        download_limit: options.limit_download.unwrap_or_default(),
        ..Connection::default()
    };
    with_extended(connection, &extended(&options.option)?, location)
}

/// The options by their names. One given twice must say the same.
fn extended(given: &[String]) -> Result<BTreeMap<String, &str>, Failure> {
    let mut options = BTreeMap::new();
    for text in given {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if key.is_empty() {
            return Err(Failure::new("-o: an option is written KEY=VALUE"));
        }
        if options.insert(key.clone(), value).is_some_and(|before| before != value) {
            return Err(Failure::new(format!("-o {key}: is given more than once")));
        }
    }
    Ok(options)
}

fn with_extended(
    mut connection: Connection,
    options: &BTreeMap<String, &str>,
    location: &Location,
) -> Result<Connection, Failure> {
    let scheme = match location {
        Location::Local(_) => "local",
        Location::S3(_) => "s3",
        Location::Azure(_) => "azure",
        Location::B2(_) => "b2",
    };
    for (key, value) in options {
        let wrong = |problem: String| Failure::new(format!("-o {key}: {problem}"));
        match (key.split_once('.'), &**key) {
            (Some((store, _)), _) if store != scheme => {}
            (None, _) => {}
            (_, "s3.connections" | "azure.connections" | "b2.connections") => {
                connection.max_connections = value.parse().map_err(wrong)?;
            }
            (_, "s3.region") => connection.region = Some(parse_region(value).map_err(wrong)?),
            (_, "s3.bucket-lookup") => connection.bucket_lookup = parse_lookup(value).map_err(wrong)?,
            (_, absent) if ABSENT.contains(&absent) => {
                return Err(wrong("restic has this option, this program does not".to_owned()));
            }
            _ => return Err(wrong("this option is not known".to_owned())),
        }
    }
    Ok(connection)
}

fn parse_lookup(text: &str) -> Result<BucketLookup, String> {
    match text {
        "auto" => Ok(BucketLookup::Auto),
        "dns" => Ok(BucketLookup::Host),
        "path" => Ok(BucketLookup::Path),
        _ => Err(format!("{text:?} is no bucket lookup: there are auto, dns and path")),
    }
}

/// Who we are to the store: all of it from the environment, and certificates from files too.
pub fn access(
    options: &Options,
    environment: &Environment,
    location: &Location,
) -> Result<StoreAccess, Failure> {
    let mut access = StoreAccess::of_environment(location, environment).map_err(|problems| {
        Failure::new(format!("no access to {location}: {}", problems.join("; ")))
            .hint("set the variables of the store's credentials")
    })?;
    for file in certificate_files(options, environment) {
        if !access.ca_certificates.is_empty() {
            access.ca_certificates.push(b'\n');
        }
        access.ca_certificates.extend(read_certificates(&file)?);
    }
    Ok(access)
}

/// The options', else the variable's.
fn certificate_files(options: &Options, environment: &Environment) -> Vec<PathBuf> {
    match (&options.cacert[..], environment.text("RESTIC_CACERT")) {
        ([], Some(files)) => files.split(',').map(PathBuf::from).collect(),
        (files, _) => files.to_vec(),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(format!("read certificates from {}: {why}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(&e))?;
    file.take(MAX_CERTIFICATES_BYTES + 1).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    match holds_certificate(&bytes) {
        _ if bytes.len() as u64 > MAX_CERTIFICATES_BYTES => {
            Err(failed(&format!("more than {MAX_CERTIFICATES_BYTES} bytes")))
        }
        false => Err(failed(&"there is none in PEM")),
        true => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(location: &str, options: &[&str]) -> Result<Connection, String> {
        let option = options.iter().map(ToString::to_string).collect();
        let options = Options { option, ..Options::default() };
        of(&options, &Location::parse(location).unwrap()).map_err(|failure| failure.message)
    }

    #[test]
    fn options_count_for_the_store_they_are_named_after() {
        let connection =
            read("s3:h/b", &["S3.Connections = 7", "s3.region=r", "s3.bucket-lookup=dns", "b2.x=1"]).unwrap();
        assert_eq!((connection.max_connections.count(), connection.region.as_deref()), (7, Some("r")));
        assert_eq!(connection.bucket_lookup, BucketLookup::Host);
        for location in ["azure:c:/", "b2:bucket-1:/"] {
            let options = ["azure.connections=8", "b2.connections=8", "s3.connections=x", "sftp.args=y"];
            assert_eq!(read(location, &options).unwrap().max_connections.count(), 8);
        }
        assert_eq!(read("/r", &["s3.nonsense=1", "nonsense=1"]).unwrap(), Connection::default());
    }

    #[test]
    fn what_the_store_does_not_know_is_refused() {
        for (option, problem) in [
            ("s3.nonsense=1", "-o s3.nonsense: this option is not known"),
            ("s3.storage-class=GLACIER", "-o s3.storage-class: restic has this option"),
            ("s3.connections=many", "-o s3.connections: \"many\" is no number"),
            ("s3.bucket-lookup=host", "-o s3.bucket-lookup: \"host\" is no bucket lookup"),
            ("s3.region=a/b", "-o s3.region: a region is"),
            ("=x", "-o: an option is written KEY=VALUE"),
        ] {
            let told = read("s3:h/b", &[option]).unwrap_err();
            assert!(told.starts_with(problem), "{told}");
        }
        let twice = ["s3.connections=1", "s3.connections=2"];
        assert_eq!(read("s3:h/b", &twice).unwrap_err(), "-o s3.connections: is given more than once");
        assert!(read("s3:h/b", &["s3.connections=1", "s3.connections=1"]).is_ok());
    }

    #[test]
    fn certificates_are_those_of_the_secret_and_of_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let begin = "-----BEGIN CERTIFICATE-----";
        let (a, b) = (file("a", &format!("a {begin}")), file("b", &format!("b {begin}")));
        let both = format!("{},{}", a.display(), b.display());
        let data = format!("c {begin}");
        let environment = Environment::from_iter([("RESTIC_CACERT", &*both), ("CA_CERT_DATA", &data)]);
        let trusted = |cacert: &[&PathBuf], location: &str| {
            let cacert = cacert.iter().map(|path| (*path).clone()).collect();
            let options = Options { cacert, ..Options::default() };
            let access = access(&options, &environment, &Location::parse(location).unwrap());
            access.map(|access| String::from_utf8(access.ca_certificates).unwrap())
        };
        assert_eq!(trusted(&[], "s3:h/b").unwrap(), format!("c {begin}\na {begin}\nb {begin}"));
        assert_eq!(trusted(&[&b], "s3:h/b").unwrap(), format!("c {begin}\nb {begin}"));
        for (path, problem) in
            [(file("none", "text"), "there is none in PEM"), (directory.path().join("gone"), "No such file")]
        {
            let told = trusted(&[&path], "s3:h/b").unwrap_err().message;
            assert!(told.starts_with("read certificates from ") && told.contains(problem), "{told}");
        }
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let environment = Environment::from_iter([("AZURE_ACCOUNT_SAS", "hunter2\nhunter3")]);
        let location = Location::parse("azure:c:/p").unwrap();
        let failure = access(&Options::default(), &environment, &location).unwrap_err();
        assert_eq!(
            failure.message,
            "no access to azure:c:/p: AZURE_ACCOUNT_NAME is missing; AZURE_ACCOUNT_SAS is no text of one line"
        );
    }
}

//! Credentials from a mounted Secret and from the environment: whole sets, and everything that can be missing.

use std::os::unix::fs::symlink;

use super::*;

/// A directory as kubelet mounts a Secret.
fn mounted(values: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let version = directory.path().join("..2026_11_21");
    std::fs::create_dir(&version).unwrap();
    symlink("..2026_11_21", directory.path().join("..data")).unwrap();
    for (name, value) in values {
        std::fs::write(version.join(name), value).unwrap();
        symlink(Path::new("..data").join(name), directory.path().join(name)).unwrap();
    }
    directory
}

fn load_from(directory: &Path, variables: &[(&str, &str)], location: &str) -> Result<Credentials, Unusable> {
    let environment = Environment::from_iter(variables.iter().copied());
    load(directory, &environment, &Location::parse(location).unwrap())
}

const S3: [(&str, &str); 3] =
    [("RESTIC_PASSWORD", "hunter1"), ("AWS_ACCESS_KEY_ID", "hunter2"), ("AWS_SECRET_ACCESS_KEY", "hunter3")];

#[test]
fn one_whole_set_comes_from_one_place() {
    let absent = Path::new("/nonexistent/credentials");
    let of_directory = load_from(mounted(&S3).path(), &[], "s3:h/b").unwrap();
    let of_environment = load_from(absent, &S3, "s3:h/b").unwrap();
    assert_eq!(of_environment.place, "the environment");
    assert_eq!(of_directory.access, of_environment.access);
    assert_eq!(of_directory.password.expose(), b"hunter1");
    assert_eq!((of_directory.warning, of_environment.warning), (None, None));

    let both = mounted(&S3);
    let same = load_from(both.path(), &S3, "s3:h/b").unwrap();
    assert_eq!((&*same.place, same.warning), (both.path().to_str().unwrap(), None));
}

#[test]
fn a_mounted_secret_counts_and_what_the_environment_says_otherwise_is_told_by_name() {
    let directory = mounted(&S3);
    let variables =
        [("RESTIC_PASSWORD", "hunter1"), ("AWS_ACCESS_KEY_ID", "hunter4"), ("AWS_SESSION_TOKEN", "hunter5")];
    let both = load_from(directory.path(), &variables, "s3:h/b").unwrap();
    assert_eq!(both.access, load_from(directory.path(), &[], "s3:h/b").unwrap().access);
    let warning = both.warning.unwrap();
    assert!(warning.ends_with(": AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN"), "{warning}");
    assert!(!warning.contains("hunter"), "{warning}");
}

#[test]
fn where_azure_is_may_be_said_in_the_secret_or_else_in_the_environment() {
    let keys = [
        ("RESTIC_PASSWORD", "hunter1"),
        ("AZURE_ACCOUNT_NAME", "acc"),
        ("AZURE_ACCOUNT_KEY", "aHVudGVyMg=="),
    ];
    let elsewhere = ("AZURE_ENDPOINT_SUFFIX", "core.example");
    let load = |files: &[(&'static str, &'static str)], variables: &[(&'static str, &'static str)]| {
        let loaded = load_from(mounted(files).path(), variables, "azure:c:/p").unwrap();
        (loaded.access, loaded.warning)
    };
    let with = |place| [&keys[..], &[place]].concat();
    let (expected, told) = load(&with(elsewhere), &[]);
    assert_eq!(told, None);
    assert_ne!(load(&keys, &[]).0, expected);
    assert_eq!(load(&keys, &[elsewhere]), (expected.clone(), None));
    let (access, told) = load(&with(elsewhere), &[("AZURE_ENDPOINT_SUFFIX", "other.example")]);
    assert_eq!(access, expected);
    assert!(told.unwrap().ends_with(": AZURE_ENDPOINT_SUFFIX"));
}

#[test]
fn half_a_secret_is_not_made_whole_from_the_environment() {
    let directory = mounted(&S3[..2]);
    let unusable = load_from(directory.path(), &S3, "s3:h/b").unwrap_err();
    let sentence = format!("credentials of {}: AWS_SECRET_ACCESS_KEY is missing", directory.path().display());
    assert_eq!((unusable.is_absent, unusable.to_string()), (false, sentence));
}

#[test]
fn everything_that_is_missing_is_told_in_one_sentence() {
    let absent = Path::new("/nonexistent/credentials");
    for (variables, location, sentence) in [
        (
            &[][..],
            "b2:bucket-1:/",
            "no credentials: mount the Secret at /nonexistent/credentials or set variables: \
             RESTIC_PASSWORD is missing; B2_ACCOUNT_ID is missing; B2_ACCOUNT_KEY is missing",
        ),
        (
            &[("MINIO_ACCESS_KEY", "hunter2"), ("MINIO_SECRET_KEY", "hunter3")],
            "s3:h/b",
            "credentials of the environment: RESTIC_PASSWORD is missing; \
             MINIO_ACCESS_KEY is not read: name it AWS_ACCESS_KEY_ID; \
             MINIO_SECRET_KEY is not read: name it AWS_SECRET_ACCESS_KEY",
        ),
        (
            &[("RESTIC_PASSWORD", "\n"), ("AWS_ACCESS_KEY_ID", "hunter2"), ("CA_CERT_DATA", "hunter3")],
            "s3:h/b",
            "credentials of the environment: RESTIC_PASSWORD is empty; AWS_SECRET_ACCESS_KEY is missing; \
             CA_CERT_DATA: holds no certificate in PEM",
        ),
        (
            &[("AWS_ACCESS_KEY_ID", "hunter2")],
            "/r",
            "credentials of the environment: RESTIC_PASSWORD is missing",
        ),
    ] {
        let unusable = load_from(absent, variables, location).unwrap_err();
        assert_eq!(unusable.to_string(), sentence);
        assert_eq!(unusable.is_absent, variables.is_empty(), "{sentence}");
    }
}

#[test]
fn what_is_there_and_cannot_be_read_is_told_once_and_is_not_missing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("RESTIC_PASSWORD")).unwrap();
    std::fs::write(directory.path().join("AWS_ACCESS_KEY_ID"), vec![b'x'; 65 << 10]).unwrap();
    let told = load_from(directory.path(), &S3, "s3:h/b").unwrap_err();
    let [first, second] = &told.problems[..] else { panic!("{told}") };
    assert!(
        first.starts_with("AWS_ACCESS_KEY_ID: read ") && first.contains("more than 65536 bytes"),
        "{first}"
    );
    assert!(second.starts_with("RESTIC_PASSWORD: read ") && second.contains("no regular file"), "{second}");

    std::fs::create_dir(directory.path().join("B2_ACCOUNT_KEY")).unwrap();
    let told = load_from(directory.path(), &[], "b2:bucket-1:/").unwrap_err();
    assert_eq!(told.to_string().matches("B2_ACCOUNT_KEY: read ").count(), 1, "{told}");
    assert!(!told.to_string().contains("B2_ACCOUNT_KEY is missing"), "{told}");
    assert!(told.to_string().contains("B2_ACCOUNT_ID is missing"), "{told}");

    let bundle = "-----BEGIN CERTIFICATE-----\n".repeat(10_000);
    let values = [&S3[..], &[("CA_CERT_DATA", &*bundle)]].concat();
    let loaded = load_from(mounted(&values).path(), &[], "s3:h/b").unwrap();
    assert_eq!(loaded.access.ca_certificates, bundle.as_bytes());
}

#[test]
fn a_directory_that_lets_nobody_in_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let circle = directory.path().join("circle");
    symlink("circle", &circle).unwrap();
    let told = load_from(&circle, &S3, "s3:h/b").unwrap_err();
    assert_eq!((told.is_absent, told.problems.len()), (false, 1), "{told}");
    assert!(told.to_string().contains("circle"), "{told}");
}

#[test]
fn a_rotated_secret_is_read_anew_and_from_one_version() {
    let directory = mounted(&S3);
    let before = load_from(directory.path(), &[], "s3:h/b").unwrap();
    let next = directory.path().join("..2026_11_22");
    std::fs::create_dir(&next).unwrap();
    for (name, _) in S3 {
        std::fs::write(next.join(name), "rotated").unwrap();
    }
    symlink("..2026_11_22", directory.path().join("..data_tmp")).unwrap();
    std::fs::rename(directory.path().join("..data_tmp"), directory.path().join("..data")).unwrap();
    let after = load_from(directory.path(), &[], "s3:h/b").unwrap();
    assert_eq!(after.password.expose(), b"rotated");
    assert_ne!(after.access, before.access);
}

#[test]
fn a_password_is_taken_as_it_is() {
    for written in ["p", "p\n", "p\r\n", "p\n\n", "p\r", " p "] {
        let directory = mounted(&[("RESTIC_PASSWORD", written)]);
        for loaded in [
            load_from(directory.path(), &[], "/r").unwrap(),
            load_from(Path::new("/nonexistent"), &[("RESTIC_PASSWORD", written)], "/r").unwrap(),
        ] {
            assert_eq!(loaded.password.expose(), written.as_bytes());
        }
    }
}

#[test]
fn what_is_loaded_shows_no_secret() {
    let values = [&S3[..], &[("AWS_SESSION_TOKEN", "hunter4")]].concat();
    let loaded = load_from(mounted(&values).path(), &[("RESTIC_PASSWORD", "hunter5")], "s3:h/b").unwrap();
    assert!(!format!("{loaded:?}").replace("hunter2", "").contains("hunter"), "{loaded:?}");
}

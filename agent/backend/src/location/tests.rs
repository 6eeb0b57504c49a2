use super::*;
use proptest::prelude::*;

#[test]
fn paths_are_directories() {
    for (text, path) in [
        ("/srv/repo", "/srv/repo"),
        ("/srv/a:b", "/srv/a:b"),
        ("../a:b", "../a:b"),
        ("./s3:x", "./s3:x"),
        ("repo", "repo"),
        ("local:/srv/repo", "/srv/repo"),
        ("local:repo", "repo"),
        ("local:s3:x", "s3:x"),
        ("local:local:x", "local:x"),
        ("s3/x", "s3/x"),
        (" ", " "),
    ] {
        assert_eq!(Location::parse(text).unwrap(), Location::Local(path.into()), "{text}");
    }
}

#[test]
fn what_is_no_location_is_refused() {
    for text in ["", "local", "local:", "a:b", "c:/x", ":x", "S3:x", "file:/x", "/a\0b"] {
        assert_eq!(Location::parse(text).unwrap_err().kind, ErrorKind::Misconfigured, "{text}");
    }
}

#[test]
fn other_stores_are_refused_without_repeating_what_was_given() {
    for scheme in OTHER_SCHEMES {
        for text in [format!("{scheme}:https://user:hunter2@host/"), scheme.to_owned()] {
            let error = Location::parse(&text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{text}");
            let said = format!("{error} {error:?}");
            assert!(said.contains(scheme) && said.contains("this version"), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("user"), "{said}");
        }
    }
    let error = Location::parse("rests:https://user:hunter2@host/").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn object_stores_are_written_as_restic_writes_them() {
    for (text, shown) in [
        ("s3:s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
        ("s3:nyc3.digitaloceanspaces.com/b/p", "s3:https://nyc3.digitaloceanspaces.com/b/p"),
        ("s3:http://minio:9000/b//demo/x/", "s3:http://minio:9000/b/demo/x"),
        ("s3:https://[::1]:9000/b", "s3:https://[::1]:9000/b"),
        ("s3://host/b/p", "s3:https://host/b/p"),
        ("azure:container:/", "azure:container:/"),
        ("azure:container:p/q", "azure:container:/p/q"),
        ("b2:bucket-1", "b2:bucket-1:/"),
        ("b2:bucket-1:/p/./q", "b2:bucket-1:/p/q"),
    ] {
        assert_eq!(Location::parse(text).unwrap().to_string(), shown, "{text}");
    }
}

#[test]
fn a_bucket_that_cannot_be_is_refused() {
    for text in [
        "s3",
        "s3:",
        "s3:host",
        "s3:host/",
        "s3:/b",
        "s3:ftp://host/b",
        "s3:host:port/b",
        "s3:http:///b",
        "s3:10.0.0.256/b",
        "s3:1.2.3.4.5/b",
        "s3:https://host.256/b",
        "s3:https://xn--a/b",
        "s3:host/b/../c",
        "s3:host/b?x=1",
        "azure:container",
        "azure::/",
        "azure:a/b:/",
        "b2:short",
        "b2:buck_et:/",
        "b2:bucket:/..",
    ] {
        assert_eq!(Location::parse(text).unwrap_err().kind, ErrorKind::Misconfigured, "{text}");
    }
}

#[test]
fn an_endpoint_with_a_password_is_refused_without_repeating_it() {
    let error = Location::parse("s3:https://user:hunter2@host/bucket").unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("Secret") && !said.contains("hunter2") && !said.contains("user:"), "{said}");
}

proptest! {
    #[test]
    fn what_is_shown_parses_to_the_same_location(text in "(local:|/|\\./|\\.\\./|s3:|s3:http://|azure:|b2:bucket|)[a-z:/. ]{0,12}") {
        if let Ok(location) = Location::parse(&text) {
            prop_assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
        }
    }
}

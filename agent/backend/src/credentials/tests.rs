use super::*;

fn read(
    location: &str,
    secret: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Result<Credentials, Vec<String>> {
    let find = |values: &[(&str, &str)], name: &str| {
        values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let values = Values {
        secret: &|name| find(secret, name).map(Secret::new),
        environment: &|name| find(environment, name),
    };
    Credentials::read(&Location::parse(location).unwrap(), &values)
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    for (location, secret, expected) in [
        ("s3:h/b", &[("AWS_ACCESS_KEY_ID", "a")][..], &["AWS_SECRET_ACCESS_KEY is missing"][..]),
        (
            "s3:h/b",
            &[("AWS_SECRET_ACCESS_KEY", "a\nb")],
            &["AWS_ACCESS_KEY_ID is missing", "AWS_SECRET_ACCESS_KEY is no text of one line"],
        ),
        (
            "s3:h/b",
            &[("MINIO_ACCESS_KEY", "a"), ("MINIO_SECRET_KEY", "b")],
            &[
                "MINIO_ACCESS_KEY is not read: name it AWS_ACCESS_KEY_ID",
                "MINIO_SECRET_KEY is not read: name it AWS_SECRET_ACCESS_KEY",
            ],
        ),
        (
            "s3:h/b",
            &[("AWS_ACCESS_KEY_ID", "a"), ("MINIO_SECRET_KEY", "b")],
            &["MINIO_SECRET_KEY is not read: name it AWS_SECRET_ACCESS_KEY"],
        ),
        (
            "s3:h/b",
            &[("MINIO_ACCESS_KEY", "a")],
            &["MINIO_ACCESS_KEY is not read: name it AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY is missing"],
        ),
        ("azure:c:/", &[], &["AZURE_ACCOUNT_NAME is missing", "AZURE_ACCOUNT_KEY is missing"]),
        ("b2:bucket", &[("B2_ACCOUNT_ID", "")], &["B2_ACCOUNT_ID is missing", "B2_ACCOUNT_KEY is missing"]),
    ] {
        let problems = read(location, secret, &[]).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}

#[test]
fn a_newline_at_the_end_of_a_key_is_not_part_of_it() {
    let keys = [("AWS_ACCESS_KEY_ID", "id\n"), ("AWS_SECRET_ACCESS_KEY", "key\r\n")];
    let without = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
    assert_eq!(read("s3:h/b", &keys, &[]), read("s3:h/b", &without, &[]));
}

#[test]
fn without_keys_the_platform_vouches_and_with_keys_it_is_not_asked() {
    let role = [("AWS_ROLE_ARN", "arn"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")];
    let pod = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t"),
    ];
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
    let s3 = |secret, environment| match read("s3:h/b", secret, environment).unwrap() {
        Credentials::S3(s3) => s3,
        other => panic!("{other:?}"),
    };
    assert!(matches!(s3(&[], &role), S3Credentials::WebIdentity { .. }));
    assert!(matches!(s3(&[], &pod), S3Credentials::PodIdentity { .. }));
    let pod_and_half_a_role = [&role[..1], &pod].concat();
    assert!(matches!(s3(&[], &pod_and_half_a_role), S3Credentials::PodIdentity { .. }));
    assert!(matches!(s3(&[], &[]), S3Credentials::InstanceProfile { endpoint: None }));
    assert!(matches!(s3(&keys, &role[..1]), S3Credentials::Static { .. }));
    assert!(matches!(s3(&keys, &role), S3Credentials::Static { session_token: None, .. }));
}

#[test]
fn half_of_a_role_is_told_and_is_not_the_machines_own() {
    for (environment, expected) in [
        (("AWS_ROLE_ARN", "arn"), "AWS_WEB_IDENTITY_TOKEN_FILE is missing, and AWS_ROLE_ARN is set"),
        (
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            "AWS_ROLE_ARN is missing, and AWS_WEB_IDENTITY_TOKEN_FILE is set",
        ),
        (
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is missing, and AWS_CONTAINER_CREDENTIALS_FULL_URI is set",
        ),
    ] {
        assert_eq!(read("s3:h/b", &[], &[environment]).unwrap_err(), [expected]);
    }
}

#[test]
fn an_endpoint_of_the_secret_stands_before_that_of_the_environment() {
    let keys = [("AZURE_ACCOUNT_NAME", "a"), ("AZURE_ACCOUNT_KEY", "k")];
    let endpoint = |secret: &[(&str, &str)], environment: &[(&str, &str)]| match read(
        "azure:c:/",
        &[&keys, secret].concat(),
        environment,
    )
    .unwrap()
    {
        Credentials::Azure(azure) => azure.endpoint,
        other => panic!("{other:?}"),
    };
    let suffix = |text: &str| AzureEndpoint::Suffix(text.to_owned());
    let url = |text: &str| AzureEndpoint::Url(text.to_owned());
    let of_environment = [("AZURE_STORAGE_ENDPOINT", "http://h:2/a")];
    assert_eq!(
        endpoint(&[("AZURE_STORAGE_ENDPOINT", "http://h:1/a/\n")], &of_environment),
        url("http://h:1/a")
    );
    assert_eq!(endpoint(&[("AZURE_ENDPOINT_SUFFIX", "x.example\n")], &of_environment), suffix("x.example"));
    assert_eq!(endpoint(&[], &of_environment), url("http://h:2/a"));
    assert_eq!(endpoint(&[], &[("AZURE_ENDPOINT_SUFFIX", "y.example")]), suffix("y.example"));
    assert_eq!(endpoint(&[], &[]), suffix("core.windows.net"));
}

#[test]
fn azure_takes_a_key_before_a_signature_before_a_workload_identity() {
    let identity = [
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/f"),
        ("AZURE_STORAGE_ENDPOINT", "http://h:1/account/"),
    ];
    let all = [("AZURE_ACCOUNT_NAME", "a"), ("AZURE_ACCOUNT_SAS", "sig=x"), ("AZURE_ACCOUNT_KEY", "k")];
    let azure = |secret| match read("azure:c:/", secret, &identity).unwrap() {
        Credentials::Azure(azure) => azure,
        other => panic!("{other:?}"),
    };
    assert!(matches!(azure(&all).proof, AzureProof::AccountKey(_)));
    assert!(matches!(azure(&all[..2]).proof, AzureProof::SharedAccessSignature(_)));
    assert!(matches!(azure(&all[..1]).proof, AzureProof::WorkloadIdentity { .. }));
    assert_eq!(azure(&all).endpoint, AzureEndpoint::Url("http://h:1/account".to_owned()));
}

#[test]
fn credentials_show_no_secret() {
    let keys =
        [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_SESSION_TOKEN", "hunter3")];
    let shown = format!("{:?}", read("s3:h/b", &keys, &[]).unwrap());
    assert!(!shown.contains("hunter"), "{shown}");
}

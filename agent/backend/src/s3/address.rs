//! Where a bucket is asked for: which host, whose name is where, which region a signature is for.
//!
//! AWS has a host for each region and tells where a bucket is; other stores have one host, and a region that matters
//! for the signature only. The region is guessed from the host's name, told by the settings, or learned.

use reqwest::Url;

use crate::location::{Endpoint, S3Location};
use crate::open::{BucketLookup, S3Options};
use crate::remote::{escape, escape_component};

/// Where buckets are that were made without a word about it.
const DEFAULT_REGION: &str = "us-east-1";

#[derive(Clone, Debug)]
pub(super) struct Address {
    endpoint: Endpoint,
    bucket: String,
    region: String,
    /// Of the bucket where its name is in the host, else of the server.
    base: Url,
    is_in_host: bool,
    aws: Option<Aws>,
}

/// A host of AWS that stands for a region and can be exchanged for another region's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Aws {
    /// `amazonaws.com`, or that of another partition.
    domain: String,
}

impl Address {
    /// The error is a sentence about the settings.
    pub(super) fn new(location: &S3Location, options: &S3Options) -> Result<Self, String> {
        let host = location.endpoint.host().to_ascii_lowercase();
        let (aws, of_host) = read_aws_host(&host);
        let is_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
        let of_host = of_host.or_else(|| region_in(&host));
        // A pod may be told the region of its cluster, which is not that of every bucket.
        let region = options.region.clone().or(of_host).or_else(|| options.usual_region.clone());
        // TLS certificates stand for one label before the host, so a name with dots goes into the path.
        let is_in_host = match options.bucket_lookup {
            BucketLookup::Auto => is_aws && !location.bucket.contains('.'),
            BucketLookup::Host => true,
            BucketLookup::Path => false,
        };
        let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        if !is_region_name(&region) {
            return Err("the region has a character that no region's name has".to_owned());
        }
        let (endpoint, bucket) = (location.endpoint.clone(), location.bucket.clone());
        let base = base(&endpoint, aws.as_ref(), &region, is_in_host.then_some(&*bucket))?;
        Ok(Self { endpoint, bucket, region, base, is_in_host, aws })
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Where a role's token is exchanged, where that is not below `amazonaws.com`.
    pub(super) fn token_service(&self) -> Option<String> {
        let is_china = self.endpoint.host().to_ascii_lowercase().ends_with(".amazonaws.com.cn");
        is_china.then(|| format!("https://sts.{}.amazonaws.com.cn", self.region))
    }

    /// Takes over a region the store named. `false` where that is no news, or no region.
    pub(super) fn move_to(&mut self, region: &str) -> bool {
        if region == self.region || !is_region_name(region) {
            return false;
        }
        let bucket = self.is_in_host.then_some(&*self.bucket);
        let Ok(base) = base(&self.endpoint, self.aws.as_ref(), region, bucket) else { return false };
        self.base = base;
        region.clone_into(&mut self.region);
        true
    }

    /// What a new bucket is told: AWS must hear of every region but the default one, others refuse the word.
    pub(super) fn location_constraint(&self) -> Option<&str> {
        (self.aws.is_some() && self.region != DEFAULT_REGION).then_some(self.region.as_str())
    }

    /// The URL of an object, or of the bucket.
    pub(super) fn url(&self, name: Option<&str>, query: &[(&'static str, String)]) -> Url {
        let mut url = self.base.clone();
        let bucket = if self.is_in_host { "" } else { self.bucket.as_str() };
        let path = match (bucket, name) {
            ("", None) => String::new(),
            ("", Some(name)) => escape(name),
            (bucket, None) => escape(bucket),
            (bucket, Some(name)) => format!("{}/{}", escape(bucket), escape(name)),
        };
        url.set_path(&path);
        if !query.is_empty() {
            let pairs: Vec<_> =
                query.iter().map(|(key, value)| format!("{key}={}", escape_component(value))).collect();
            url.set_query(Some(&pairs.join("&")));
        }
        url
    }
}

/// What a URL begins with. The bucket is given where its name is part of the host.
fn base(endpoint: &Endpoint, aws: Option<&Aws>, region: &str, bucket: Option<&str>) -> Result<Url, String> {
    let authority = match aws {
        Some(aws) => format!("s3.{region}.{}", aws.domain),
        None => endpoint.authority.clone(),
    };
    let endpoint = Endpoint { authority, ..endpoint.clone() };
    let no_host = |host: &str| format!("{host} is no host's name: look at the endpoint and the region");
    let mut url = Url::parse(&endpoint.to_string()).map_err(|_| no_host(endpoint.host()))?;
    let Some(bucket) = bucket else { return Ok(url) };
    if url.domain().is_none() {
        return Err(
            "an address of numbers has no room for the bucket's name before it: -o s3.bucket-lookup=path \
                    puts it after it"
                .to_owned(),
        );
    }
    let host = format!("{bucket}.{}", endpoint.host());
    // Where the bucket's name makes an address of the host, that is another server.
    match url.set_host(Some(&host)) {
        Ok(()) if url.domain().is_some() => Ok(url),
        _ => Err(format!(
            "{host} is no host's name: -o s3.bucket-lookup=path puts the bucket's name after the host"
        )),
    }
}

/// It becomes part of a host and of what is signed.
fn is_region_name(region: &str) -> bool {
    const MAX_REGION_BYTES: usize = 63;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !region.is_empty() && region.len() <= MAX_REGION_BYTES && region.chars().all(is_plain)
}

/// The parts of a host that AWS has for a region, or for finding one out: `s3.amazonaws.com`,
/// `s3.REGION.amazonaws.com`, `s3-REGION.amazonaws.com`. Its others (dual stack, private links) stay as they are.
fn read_aws_host(host: &str) -> (Option<Aws>, Option<String>) {
    let domain = ["amazonaws.com", "amazonaws.com.cn"];
    let found =
        domain.iter().find_map(|domain| Some((host.strip_suffix(domain)?.strip_suffix('.')?, *domain)));
    let Some((before, domain)) = found else { return (None, None) };
    let aws = Some(Aws { domain: domain.to_owned() });
    match before.strip_prefix("s3") {
        Some("") => (aws, None),
        Some(rest) => match rest.strip_prefix(['.', '-']) {
            Some(region) if is_region(region) => (aws, Some(region.to_owned())),
            _ => (None, region_in(host)),
        },
        None => (None, region_in(host)),
    }
}

/// A label of a host that looks like a region (`eu-central-1`, `us-west-004`), as several vendors have them.
fn region_in(host: &str) -> Option<String> {
    host.split('.').find(|label| is_region(label)).map(str::to_owned)
}

fn is_region(label: &str) -> bool {
    let parts: Vec<_> = label.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    words.len() >= 2
        && words.first().is_some_and(|area| area.len() == 2)
        && words.iter().all(is_word)
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    fn address(location: &str, options: &S3Options) -> Address {
        match Location::parse(location).unwrap() {
            Location::S3(s3) => Address::new(&s3, options).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_are_those_of_the_vendors() {
        for (location, url) in [
            ("s3:s3.amazonaws.com/b/p", "https://b.s3.us-east-1.amazonaws.com/p/config"),
            ("s3:s3.eu-west-1.amazonaws.com/b", "https://b.s3.eu-west-1.amazonaws.com/config"),
            ("s3:s3-eu-west-1.amazonaws.com/b", "https://b.s3.eu-west-1.amazonaws.com/config"),
            ("s3:s3.cn-north-1.amazonaws.com.cn/b", "https://b.s3.cn-north-1.amazonaws.com.cn/config"),
            ("s3:s3.amazonaws.com/b.c", "https://s3.us-east-1.amazonaws.com/b.c/config"),
            (
                "s3:s3.dualstack.eu-west-1.amazonaws.com/b",
                "https://b.s3.dualstack.eu-west-1.amazonaws.com/config",
            ),
            ("s3:http://minio:9000/b/a b+ü", "http://minio:9000/b/a%20b%2B%C3%BC/config"),
            ("s3:nyc3.digitaloceanspaces.com/b", "https://nyc3.digitaloceanspaces.com/b/config"),
        ] {
            let address = address(location, &S3Options::default());
            let prefix = match Location::parse(location).unwrap() {
                Location::S3(s3) => s3.prefix,
                other => panic!("{other:?}"),
            };
            assert_eq!(address.url(Some(&prefix.join("config")), &[]).as_str(), url);
        }
        let query = [("prefix", "a b/".to_owned())];
        let address = address("s3:http://minio:9000/b", &S3Options::default());
        assert_eq!(address.url(None, &query).as_str(), "http://minio:9000/b?prefix=a%20b%2F");
    }

    #[test]
    fn a_region_is_told_guessed_or_learned() {
        let told = S3Options { region: Some("x".to_owned()), ..S3Options::default() };
        let usual = S3Options { usual_region: Some("y".to_owned()), ..S3Options::default() };
        for (location, options, region) in [
            ("s3:s3.eu-west-1.amazonaws.com/b", &told, "x"),
            ("s3:s3.eu-west-1.amazonaws.com/b", &usual, "eu-west-1"),
            ("s3:s3.amazonaws.com/b", &usual, "y"),
            ("s3:s3.us-west-004.backblazeb2.com/b", &S3Options::default(), "us-west-004"),
            ("s3:s3.minio.svc.cluster.local/b", &S3Options::default(), "us-east-1"),
            ("s3:a-b-1.example.com/b", &S3Options::default(), "us-east-1"),
        ] {
            assert_eq!(address(location, options).region(), region, "{location}");
        }
        let mut aws = address("s3:s3.amazonaws.com/b", &S3Options::default());
        assert!(aws.move_to("eu-central-1") && !aws.move_to("eu-central-1"));
        assert_eq!(aws.url(None, &[]).as_str(), "https://b.s3.eu-central-1.amazonaws.com/");
        for no_region in ["evil.example.com/", "", "xn--a", "a.evil.example.com#"] {
            assert!(!aws.move_to(no_region), "{no_region}");
        }
        let mut other = address("s3:http://h:1/b", &S3Options::default());
        assert!(other.move_to("eu-central-1"));
        assert_eq!(other.url(None, &[]).as_str(), "http://h:1/b");
    }

    #[test]
    fn a_token_is_exchanged_within_the_partition_of_the_bucket() {
        let service = |location| address(location, &S3Options::default()).token_service();
        let china = "https://sts.cn-north-1.amazonaws.com.cn";
        assert_eq!(service("s3:s3.cn-north-1.amazonaws.com.cn/b").as_deref(), Some(china));
        assert_eq!(service("s3:s3.eu-west-1.amazonaws.com/b"), None);
        assert_eq!(service("s3:minio.example.com/b"), None);
    }

    #[test]
    fn only_aws_is_told_where_a_bucket_shall_be() {
        for (location, constraint) in [
            ("s3:s3.amazonaws.com/b", None),
            ("s3:s3.us-east-1.amazonaws.com/b", None),
            ("s3:s3.eu-west-1.amazonaws.com/b", Some("eu-west-1")),
            ("s3:s3.us-west-004.backblazeb2.com/b", None),
        ] {
            assert_eq!(
                address(location, &S3Options::default()).location_constraint(),
                constraint,
                "{location}"
            );
        }
    }

    #[test]
    fn settings_that_make_no_url_are_refused_with_what_is_wrong() {
        let refused = |location: &str, options: &S3Options| match Location::parse(location).unwrap() {
            Location::S3(s3) => Address::new(&s3, options).unwrap_err(),
            other => panic!("{other:?}"),
        };
        let region = |name: &str| S3Options { region: Some(name.to_owned()), ..S3Options::default() };
        let in_host = S3Options { bucket_lookup: BucketLookup::Host, ..S3Options::default() };
        for (location, options, words) in [
            (
                "s3:http://127.0.0.1:9000/bucket",
                &in_host,
                "an address of numbers has no room for the bucket's",
            ),
            ("s3:http://[::1]:9000/bucket", &in_host, "an address of numbers has no room for the bucket's"),
            ("s3:http://h:1/xn--a", &in_host, "xn--a.h is no host's name"),
            (
                "s3:s3.amazonaws.com/xn--a",
                &S3Options::default(),
                "is no host's name: -o s3.bucket-lookup=path",
            ),
            ("s3:s3.amazonaws.com/b", &region("xn--a"), "s3.xn--a.amazonaws.com is no host's name"),
            ("s3:s3.amazonaws.com/b", &region("a/b"), "the region has a character"),
            ("s3:http://h:1/b", &region("a\nb"), "the region has a character"),
        ] {
            let said = refused(location, options);
            assert!(said.contains(words), "{location}: {said}");
        }
    }
}

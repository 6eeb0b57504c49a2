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
    pub(super) fn new(location: &S3Location, options: &S3Options) -> Self {
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
        Self {
            endpoint: location.endpoint.clone(),
            bucket: location.bucket.clone(),
            region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            is_in_host,
            aws,
        }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Takes over a region the store named. `false` where that is no news.
    pub(super) fn move_to(&mut self, region: &str) -> bool {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if region == self.region || region.is_empty() || !region.chars().all(is_name) {
            return false;
        }
        region.clone_into(&mut self.region);
        true
    }

    /// What a new bucket is told: AWS must hear of every region but the default one, others refuse the word.
    pub(super) fn location_constraint(&self) -> Option<&str> {
        (self.aws.is_some() && self.region != DEFAULT_REGION).then_some(self.region.as_str())
    }

    /// The URL of an object, or of the bucket.
    pub(super) fn url(&self, name: Option<&str>, query: &[(&'static str, String)]) -> Url {
        let authority = match &self.aws {
            Some(aws) => format!("s3.{}.{}", self.region, aws.domain),
            None => self.endpoint.authority.clone(),
        };
        let endpoint = Endpoint { authority, ..self.endpoint.clone() };
        let base = endpoint.to_string();
        let mut url = Url::parse(&base).expect("an endpoint is a URL");
        if self.is_in_host {
            let host = format!("{}.{}", self.bucket, endpoint.host());
            url.set_host(Some(&host)).expect("a bucket's name before a host makes a host");
        }
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
            Location::S3(s3) => Address::new(&s3, options),
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
        assert!(!aws.move_to("evil.example.com/"), "a region is no host");
        let mut other = address("s3:http://h:1/b", &S3Options::default());
        assert!(other.move_to("eu-central-1"));
        assert_eq!(other.url(None, &[]).as_str(), "http://h:1/b");
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
}

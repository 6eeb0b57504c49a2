//! The locations of object stores: an endpoint where there is a choice of it, a bucket or container, a prefix.
//!
//! Each is written in restic's words and shown so that parsing it gives the same again. No credential has a place in
//! them: an endpoint with a user or password is refused.

use std::fmt;

use reqwest::Url;

use super::prefix::Prefix;

/// A server that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub security: Security,
    /// The host, with a port where it is not the usual one.
    pub authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
}

impl Endpoint {
    /// `http://HOST[:PORT]`, `https://HOST[:PORT]`, or bare, which means https.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (security, authority) = match text.split_once("://") {
            Some(("http", rest)) => (Security::Plain, rest),
            Some(("https", rest)) => (Security::Tls, rest),
            Some(_) => return Err("an endpoint begins with http:// or https://, or with its host"),
            None => (Security::Tls, text),
        };
        let authority = authority.trim_end_matches('/');
        if authority.contains('@') {
            return Err("the endpoint holds a user or password: credentials belong into the Secret");
        }
        if authority.contains('/') {
            return Err("the endpoint has a path: bucket and prefix have places of their own");
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_host = |host: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            let address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
            let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inner.map_or(!host.is_empty() && host.chars().all(plain), address)
        };
        if !is_host(host) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err("the endpoint is no host with or without a port");
        }
        // Some that are made of the right characters are none: 10.0.0.256, or a broken international name.
        if Url::parse(&format!("https://{authority}")).is_err() {
            return Err("the endpoint's host is no name and no address");
        }
        Ok(Self { security, authority: authority.to_owned() })
    }

    /// The host without the port.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.authority,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "http",
            Security::Tls => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// A bucket of a server that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    pub endpoint: Endpoint,
    pub bucket: String,
    pub prefix: Prefix,
}

impl S3Location {
    /// What follows `s3:`. restic also takes `s3://HOST/...`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix("//").unwrap_or(text);
        let host_start = text.find("://").map_or(0, |scheme_end| scheme_end + 3);
        let host_end = text[host_start..].find('/').map_or(text.len(), |slash| host_start + slash);
        let (endpoint, path) = text.split_at(host_end);
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        Self::new(endpoint, bucket, prefix)
    }

    /// From its parts, as settings have them.
    pub fn new(endpoint: &str, bucket: &str, prefix: &str) -> Result<Self, &'static str> {
        Ok(Self {
            endpoint: Endpoint::parse(endpoint)?,
            bucket: container_name(bucket)?,
            prefix: Prefix::parse(prefix)?,
        })
    }
}

/// A container of Azure Blob Storage; the account is part of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureLocation {
    pub container: String,
    pub prefix: Prefix,
}

impl AzureLocation {
    /// What follows `azure:`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let missing = "write azure:CONTAINER:/PREFIX, with both colons";
        let (container, prefix) = text.split_once(':').ok_or(missing)?;
        Self::new(container, prefix)
    }

    pub fn new(container: &str, prefix: &str) -> Result<Self, &'static str> {
        Ok(Self { container: container_name(container)?, prefix: Prefix::parse(prefix)? })
    }
}

/// A bucket of Backblaze B2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct B2Location {
    pub bucket: String,
    pub prefix: Prefix,
}

impl B2Location {
    /// What follows `b2:`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (bucket, prefix) = text.split_once(':').unwrap_or((text, ""));
        Self::new(bucket, prefix)
    }

    pub fn new(bucket: &str, prefix: &str) -> Result<Self, &'static str> {
        let bucket = container_name(bucket)?;
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(6..=63).contains(&bucket.len()) || !bucket.chars().all(is_valid) {
            return Err("a bucket of B2 has 6 to 63 letters, digits and dashes");
        }
        Ok(Self { bucket, prefix: Prefix::parse(prefix)? })
    }
}

/// The stores have rules of their own and tell them; here is what would make another URL of it.
fn container_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '$');
    match text {
        "" => Err("the bucket or container is missing"),
        "." | ".." => Err("the bucket or container has no name"),
        _ if !text.chars().all(is_plain) => {
            Err("the bucket or container has a character that no such name can have")
        }
        _ => Ok(text.to_owned()),
    }
}

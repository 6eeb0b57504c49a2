//! Where in a bucket or container a repository lies.
//!
//! Written with or without a slash at either end, as the manifests of our users are. A prefix is a plain path: it
//! never leads above the bucket, and what it is joined with is one of the fixed names of a repository.

use std::fmt;

/// Nothing, or names joined by single slashes, without one at either end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Drops empty and `.` components. The error is why it is refused.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(char::is_control) {
            return Err("the prefix holds a control character");
        }
        let names: Vec<_> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.contains(&"..") {
            return Err("the prefix holds `..`: write the path itself");
        }
        let joined = names.join("/");
        // What is left of the 1,024 bytes of an object's name after `/data/xx/` and a name of 64 digits.
        match joined.len() > 940 {
            true => Err("the prefix is longer than 940 bytes"),
            false => Ok(Self(joined)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the object at `path` below the prefix.
    pub fn join(&self, path: &str) -> String {
        match self.0.is_empty() {
            true => path.to_owned(),
            false => format!("{}/{path}", self.0),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn a_prefix_is_cleaned_and_never_leads_upwards() {
        for (text, clean) in [
            ("", ""),
            ("/", ""),
            ("demo", "demo"),
            ("/demo/deployment/my-deploy", "demo/deployment/my-deploy"),
            ("//a/./b//", "a/b"),
            ("a b/ü", "a b/ü"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(Prefix::parse(text).unwrap().as_str(), clean, "{text}");
        }
        for text in ["..", "a/../b", "/..", "a\nb", &"x".repeat(941)] {
            assert!(Prefix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn objects_lie_below_the_prefix() {
        assert_eq!(Prefix::parse("/a/b/").unwrap().join("keys/x"), "a/b/keys/x");
        assert_eq!(Prefix::default().join("config"), "config");
    }
}

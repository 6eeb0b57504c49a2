//! The settings file as text: which name was given what, to the letter.
//!
//! YAML would turn `1.10` into 1.1 and `1e3` into 1000, and neither the host nor the tag that somebody wrote is a number.
//! So a first pass only learns the shape of each value, and a second takes the scalars as they stand in the file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_norway::{Mapping, Value};

/// What a name was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Written {
    Text(String),
    List(Vec<String>),
    Mapping(BTreeMap<String, Self>),
    /// A list of mappings, and not an empty one.
    Mappings(Vec<BTreeMap<String, Self>>),
    /// No setting is written so; the words say how it is.
    #[serde(skip)]
    Other(&'static str),
}

/// Reads the file's text. Names without a value are left out; an empty file holds none.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Written>, String> {
    let shapes = match serde_norway::from_str(text).map_err(|e| e.to_string())? {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Mapping(shapes) => shapes,
        Value::Sequence(_) => return Err(no_settings("a list")),
        _ => return Err(no_settings("a single value")),
    };
    serde_norway::Deserializer::from_str(text).deserialize_map(Reader(&shapes)).map_err(|e| e.to_string())
}

fn no_settings(there_is: &str) -> String {
    format!("there is {there_is}, and settings are lines like `repository: /srv/backup`")
}

/// The second pass. The entries come in the order of the first.
struct Reader<'a>(&'a Mapping);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = BTreeMap<String, Written>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = BTreeMap<String, Written>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut settings = BTreeMap::new();
        for shape in self.0.values() {
            let Some(name) = entries.next_key()? else { break };
            let written = match shape {
                Value::Bool(_) | Value::Number(_) | Value::String(_) => Written::Text(entries.next_value()?),
                Value::Sequence(items) if items.iter().all(is_scalar) => Written::List(entries.next_value()?),
                Value::Sequence(items) if items.iter().all(Value::is_mapping) => {
                    Written::Mappings(entries.next_value_seed(Items(items))?)
                }
                Value::Mapping(shapes) => Written::Mapping(entries.next_value_seed(Reader(shapes))?),
                other => {
                    entries.next_value::<IgnoredAny>()?;
                    match other {
                        Value::Null => continue,
                        Value::Sequence(_) => Written::Other("a list of what is no text"),
                        _ => Written::Other("a value with a tag"),
                    }
                }
            };
            settings.insert(name, written);
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(settings)
    }
}

/// The second pass over a list of mappings.
struct Items<'a>(&'a [Value]);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<BTreeMap<String, Written>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<BTreeMap<String, Written>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of mappings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        for shapes in self.0.iter().filter_map(Value::as_mapping) {
            let Some(item) = items.next_element_seed(Reader(shapes))? else { break };
            read.push(item);
        }
        Ok(read)
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_taken_as_they_are_written() {
        let read = read(
            "host: 1.10\ntags: [1e3, 0x10, 1.10, on, 'a: b', \"\\x41\"]\nidentity: &name 007\ncacheDir: *name\n\
             empty:\nnull: ~\nexclude: |\n  two\n  lines\nexcludeCaches: True\nfloat: .inf\n",
        )
        .unwrap();
        let text = |text: &str| Written::Text(text.to_owned());
        let expected = [
            ("cacheDir", text("007")),
            ("exclude", text("two\nlines\n")),
            ("excludeCaches", text("True")),
            ("float", text(".inf")),
            ("host", text("1.10")),
            ("identity", text("007")),
            ("tags", Written::List(["1e3", "0x10", "1.10", "on", "a: b", "A"].map(str::to_owned).into())),
        ];
        assert_eq!(read.iter().map(|(name, written)| (name.as_str(), written)).collect::<Vec<_>>(), {
            expected.iter().map(|(name, written)| (*name, written)).collect::<Vec<_>>()
        });
    }

    #[test]
    fn a_mapping_is_read_like_the_whole_file() {
        let read =
            read("a:\n  b: {c: 1.10, d: [0x1], e: , f: [{g: 0x2}, {}], h: [{}, 1]}\n  2: yes\n").unwrap();
        let text = |text: &str| Written::Text(text.to_owned());
        let mapping = |entries: &[(&str, Written)]| Written::Mapping(entries.iter().map(own).collect());
        let inner = [
            ("c", text("1.10")),
            ("d", Written::List(vec!["0x1".to_owned()])),
            ("f", Written::Mappings(vec![BTreeMap::from([("g".to_owned(), text("0x2"))]), BTreeMap::new()])),
            ("h", Written::Other("a list of what is no text")),
        ];
        assert_eq!(read["a"], mapping(&[("2", text("yes")), ("b", mapping(&inner))]));
    }

    fn own((name, written): &(&str, Written)) -> (String, Written) {
        ((*name).to_owned(), written.clone())
    }

    #[test]
    fn what_is_no_text_and_no_list_of_texts_is_said_to_be_so() {
        let read = read("b: [[x]]\nc: [{x: y}, z]\nd: !secret x\ne: [~]\n1: one\nf: x\n").unwrap();
        for name in ["b", "c", "e"] {
            assert_eq!(read[name], Written::Other("a list of what is no text"), "{name}");
        }
        assert_eq!(read["d"], Written::Other("a value with a tag"));
        assert_eq!(read["1"], Written::Text("one".to_owned()));
        assert_eq!(read["f"], Written::Text("x".to_owned()));
    }

    #[test]
    fn what_holds_no_settings_is_said_in_words_of_a_person() {
        assert_eq!(
            read("- a\n").unwrap_err(),
            "there is a list, and settings are lines like `repository: /srv/backup`"
        );
        assert!(read("hello").unwrap_err().starts_with("there is a single value"));
        assert!(read("a: 1\na: 2\n").unwrap_err().contains("duplicate"), "the second would hide the first");
        assert_eq!(read("").unwrap(), BTreeMap::new());
        assert_eq!(read("# nothing\n").unwrap(), BTreeMap::new());
    }
}

//! Snapshot files: when what was backed up, and the tree it is.
//!
//! The fields stand in the order in which restic writes them and are left out where restic leaves them out.
//! Unknown fields are dropped when a snapshot is saved again, as restic drops them. Nothing here chooses among
//! snapshots: that is the caller's affair.

use serde::{Deserialize, Deserializer, Serialize};

use super::id::Id;
use super::time::Timestamp;
use super::{Invalid, json};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    pub tree: Id,
    /// Absolute.
    #[serde(default, deserialize_with = "null_is_default")]
    pub paths: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The first of the snapshots this one was rewritten from; see [`Snapshot::rewritten_from`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Snapshots of restic before 0.17 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// What the backup that made the snapshot did.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub backup_start: Timestamp,
    pub backup_end: Timestamp,
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub dirs_new: u64,
    pub dirs_changed: u64,
    pub dirs_unmodified: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    /// Plain bytes of the blobs that were new.
    pub data_added: u64,
    /// What they take in the repository.
    pub data_added_packed: u64,
    pub total_files_processed: u64,
    pub total_bytes_processed: u64,
}

impl Snapshot {
    pub fn decode(json: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(json).map_err(Invalid::malformed)
    }

    pub fn encode(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// To be called before a changed snapshot is saved, with the ID it was loaded under: the first ID is kept
    /// through every later change, so that copies of a snapshot find each other.
    pub fn rewritten_from(&mut self, id: Id) {
        // restic takes an ID of zeros for none.
        if self.original.is_none_or(|original| original == Id::default()) {
            self.original = Some(id);
        }
    }

    pub fn has_paths(&self, paths: &[String]) -> bool {
        paths.iter().all(|path| self.paths.contains(path))
    }

    pub fn has_tags(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.tags.contains(tag))
    }

    /// Adds what is not there yet, in order; whether that changed anything.
    pub fn add_tags(&mut self, tags: &[String]) -> bool {
        let before = self.tags.len();
        for tag in tags {
            if !self.tags.contains(tag) {
                self.tags.push(tag.clone());
            }
        }
        self.tags.len() != before
    }

    /// Whether that changed anything.
    pub fn remove_tags(&mut self, tags: &[String]) -> bool {
        let before = self.tags.len();
        self.tags.retain(|tag| !tags.contains(tag));
        self.tags.len() != before
    }
}

/// Go writes `null` for a list that was never made, and reads it as an empty one.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b";

    fn decode(text: &str) -> Snapshot {
        Snapshot::decode(text.as_bytes()).unwrap()
    }

    fn encoded(snapshot: &Snapshot) -> String {
        String::from_utf8(snapshot.encode()).unwrap()
    }

    #[test]
    fn every_field_is_written_in_restic_s_order() {
        let text = format!(
            r#"{{"time":"2024-05-06T07:08:09.5Z","parent":"{TREE}","tree":"{TREE}","paths":["/a\u0026b"],"hostname":"h","username":"u","uid":1,"gid":2,"excludes":["*.o"],"tags":["x","y"],"original":"{TREE}","program_version":"restic 0.19.1","summary":{{"backup_start":"2024-05-06T07:08:09Z","backup_end":"2024-05-06T07:08:10Z","files_new":1,"files_changed":2,"files_unmodified":3,"dirs_new":4,"dirs_changed":5,"dirs_unmodified":6,"data_blobs":7,"tree_blobs":8,"data_added":9,"data_added_packed":10,"total_files_processed":11,"total_bytes_processed":12}}}}"#
        );
        assert_eq!(encoded(&decode(&text)), text);
    }

    #[test]
    fn what_is_missing_or_null_is_empty_and_left_out() {
        let least = format!(r#"{{"time":"2024-05-06T07:08:09Z","tree":"{TREE}","paths":[]}}"#);
        assert_eq!(encoded(&decode(&least)), least);
        let nulls = format!(
            r#"{{"time":"2024-05-06T09:08:09+02:00","parent":null,"tree":"{TREE}","paths":null,"hostname":null,"tags":null,"excludes":null,"original":null,"summary":null,"label":"rustic's","delete":{{"x":[1]}}}}"#
        );
        assert_eq!(encoded(&decode(&nulls)), least);
    }

    #[test]
    fn a_snapshot_without_time_or_tree_is_refused() {
        for text in
            [format!(r#"{{"tree":"{TREE}"}}"#), r#"{"time":"2024-05-06T07:08:09Z","tree":null}"#.to_owned()]
        {
            assert!(Snapshot::decode(text.as_bytes()).is_err());
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = format!(r#"{{"time":"2024-05-06T07:08:09Z","tree":"{TREE}","paths":["/x"]}}"#);
        for length in 0..text.len() {
            assert!(Snapshot::decode(&text.as_bytes()[..length]).is_err());
        }
    }

    #[test]
    fn the_original_is_set_once() {
        let mut snapshot = decode(&format!(r#"{{"time":"2024-05-06T07:08:09Z","tree":"{TREE}"}}"#));
        snapshot.original = Some(Id::default());
        snapshot.rewritten_from(Id::of(b"first"));
        snapshot.rewritten_from(Id::of(b"second"));
        assert_eq!(snapshot.original, Some(Id::of(b"first")));
    }

    #[test]
    fn tags_are_a_set_in_order() {
        let tags = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut snapshot =
            decode(&format!(r#"{{"time":"2024-05-06T07:08:09Z","tree":"{TREE}","tags":["b"]}}"#));
        assert!(snapshot.add_tags(&tags(&["a", "b", "a"])));
        assert_eq!(snapshot.tags, tags(&["b", "a"]));
        assert!(!snapshot.add_tags(&tags(&["a"])));
        assert!(snapshot.has_tags(&tags(&["a", "b"])) && !snapshot.has_tags(&tags(&["a", "c"])));
        assert!(snapshot.remove_tags(&tags(&["b", "c"])) && !snapshot.remove_tags(&tags(&["c"])));
        assert_eq!(snapshot.tags, tags(&["a"]));
    }
}

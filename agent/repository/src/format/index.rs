//! Index files: which blobs lie in which packs.
//!
//! Decoding hands on one pack after the other, since a file may hold 50,000 blobs and a repository hundreds of
//! files. Fields that restic no longer writes (`supersedes`) or that only rustic does are skipped; above all a pack
//! in rustic's `packs_to_delete` is never handed on, for it may be gone at any moment.

mod usual;

use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Invalid;
use super::blob::BlobKind;
use super::id::Id;
use super::pack::{self, PackEntry};

/// Calls `each` with every pack of an index and its blobs, in the order of the file. After an error what was
/// handed on before is part of a damaged file and must not be kept.
pub fn decode(json: &[u8], each: &mut dyn FnMut(Id, &[PackEntry])) -> Result<(), Invalid> {
    if let Some(read) = usual::read(json) {
        let mut first = 0;
        for (pack, end) in read.packs {
            each(pack, &read.blobs[first..end]);
            first = end;
        }
        return Ok(());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut reader = Reader { each, blobs: Vec::new() };
    deserializer.deserialize_map(FileVisitor(&mut reader)).map_err(Invalid::malformed)?;
    deserializer.end().map_err(Invalid::malformed)
}

struct Reader<'a> {
    each: &'a mut dyn FnMut(Id, &[PackEntry]),
    /// The blobs of the pack being read; one buffer for all packs.
    blobs: Vec<PackEntry>,
}

struct FileVisitor<'a, 'b>(&'a mut Reader<'b>);

impl<'de> Visitor<'de> for FileVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Field {
            Packs,
            #[serde(other)]
            Other,
        }
        while let Some(field) = map.next_key()? {
            match field {
                Field::Packs => map.next_value_seed(List(PackSeed(self.0)))?,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Something that is read once for every element of a list.
trait Element<'de> {
    fn read<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error>;
}

/// A list whose elements are handed on one by one; `null` is an empty one, as Go reads it.
struct List<E>(E);

impl<'de, E: Element<'de>> DeserializeSeed<'de> for List<E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, E: Element<'de>> Visitor<'de> for List<E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<Error>(self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while self.0.read(&mut list)?.is_some() {}
        Ok(())
    }
}

struct PackSeed<'a, 'b>(&'a mut Reader<'b>);

impl<'de> Element<'de> for PackSeed<'_, '_> {
    fn read<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error> {
        list.next_element_seed(PackSeed(self.0))
    }
}

impl<'de> DeserializeSeed<'de> for PackSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PackSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pack")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Field {
            Id,
            Blobs,
            #[serde(other)]
            Other,
        }
        let Reader { each, blobs } = self.0;
        blobs.clear();
        let mut id = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Id => id = Some(map.next_value::<Id>()?),
                Field::Blobs => map.next_value_seed(List(BlobList(blobs)))?,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        each(id.ok_or_else(|| A::Error::missing_field("id"))?, blobs);
        Ok(())
    }
}

struct BlobList<'a>(&'a mut Vec<PackEntry>);

impl<'de> Element<'de> for BlobList<'_> {
    fn read<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error> {
        #[derive(Deserialize)]
        struct Blob {
            id: Id,
            r#type: Kind,
            offset: u64,
            length: u32,
            #[serde(default)]
            uncompressed_length: u32,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Kind {
            Data,
            Tree,
        }
        let Some(blob) = list.next_element::<Blob>()? else { return Ok(None) };
        if self.0.len() >= pack::MAX_ENTRIES {
            return Err(A::Error::custom("a pack has more blobs than its header has room for"));
        }
        let kind = match blob.r#type {
            Kind::Data => BlobKind::Data,
            Kind::Tree => BlobKind::Tree,
        };
        let uncompressed_length = NonZeroU32::new(blob.uncompressed_length);
        self.0.push(
            PackEntry::checked(kind, blob.id, blob.offset, blob.length, uncompressed_length)
                .map_err(A::Error::custom)?,
        );
        Ok(Some(()))
    }
}

/// Writes the JSON of an index that names these packs, with the newline that restic's encoder ends it with.
pub fn encode<'a>(
    packs: impl IntoIterator<Item = (Id, &'a [PackEntry])>,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"{\"packs\":[")?;
    for (number, (pack, blobs)) in packs.into_iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(out, "{comma}{{\"id\":\"{pack}\",\"blobs\":[")?;
        for (position, blob) in blobs.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let PackEntry { kind, id, offset, length, uncompressed_length } = blob;
            let kind = kind.noun();
            write!(
                out,
                "{comma}{{\"id\":\"{id}\",\"type\":\"{kind}\",\"offset\":{offset},\"length\":{length}"
            )?;
            if let Some(length) = uncompressed_length {
                write!(out, ",\"uncompressed_length\":{length}")?;
            }
            out.write_all(b"}")?;
        }
        out.write_all(b"]}")?;
    }
    out.write_all(b"]}\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::pack::tests::entries;

    const ID: &str = "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b";

    fn collect(json: &str) -> Result<Vec<(Id, Vec<PackEntry>)>, Invalid> {
        let mut packs = Vec::new();
        decode(json.as_bytes(), &mut |pack, blobs| packs.push((pack, blobs.to_vec())))?;
        Ok(packs)
    }

    fn encoded(packs: &[(Id, Vec<PackEntry>)]) -> String {
        let mut json = Vec::new();
        encode(packs.iter().map(|(pack, blobs)| (*pack, &blobs[..])), &mut json).unwrap();
        String::from_utf8(json).unwrap()
    }

    fn with_blob(blob: &str) -> String {
        format!(r#"{{"packs":[{{"id":"{ID}","blobs":[{blob}]}}]}}"#)
    }

    #[test]
    fn an_index_is_written_as_restic_writes_it() {
        let blob = |kind, uncompressed| PackEntry {
            kind,
            id: ID.parse().unwrap(),
            offset: 5,
            length: 40,
            uncompressed_length: NonZeroU32::new(uncompressed),
        };
        assert_eq!(encoded(&[]), "{\"packs\":[]}\n");
        let json = encoded(&[(ID.parse().unwrap(), vec![blob(BlobKind::Data, 0), blob(BlobKind::Tree, 9)])]);
        let expected = with_blob(&format!(
            r#"{{"id":"{ID}","type":"data","offset":5,"length":40}},{{"id":"{ID}","type":"tree","offset":5,"length":40,"uncompressed_length":9}}"#
        ));
        assert_eq!(json, expected + "\n");
    }

    #[test]
    fn fields_of_other_programs_are_skipped_and_packs_to_delete_are_not_present() {
        let json = format!(
            r#"{{"supersedes":["{ID}"],"packs_to_delete":[{{"id":"{ID}","blobs":[],"time":"x"}}],"packs":[{{"blobs":null,"time":null,"size":7,"id":"{ID}"}}]}}"#
        );
        assert_eq!(collect(&json).unwrap(), [(ID.parse().unwrap(), Vec::new())]);
        let only_deleted = format!(r#"{{"packs_to_delete":[{{"id":"{ID}","blobs":[]}}]}}"#);
        assert_eq!(collect(&only_deleted).unwrap(), []);
        assert_eq!(collect(r#"{"packs":null}"#).unwrap(), []);
    }

    #[test]
    fn blobs_that_cannot_be_are_refused() {
        for rest in [
            r#""type":"data","offset":0,"length":31"#,
            r#""type":"data","offset":4294967295,"length":32"#,
            r#""type":"data","offset":4294967296,"length":32"#,
            r#""type":"data","offset":-1,"length":32"#,
            r#""type":"data","offset":0,"length":4294967296"#,
            r#""type":"other","offset":0,"length":32"#,
            r#""type":"data","length":32"#,
        ] {
            assert!(collect(&with_blob(&format!(r#"{{"id":"{ID}",{rest}}}"#))).is_err(), "{rest}");
        }
        assert!(collect(r#"{"packs":[{"blobs":[]}]}"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_no_truncation_is(packs in prop::collection::vec((any::<[u8; 32]>(), entries()), 0..5), cut in any::<prop::sample::Index>()) {
            let packs: Vec<_> = packs.into_iter().map(|(id, blobs)| (Id::from_bytes(id), blobs)).collect();
            let json = encoded(&packs);
            prop_assert_eq!(collect(&json).unwrap(), packs);
            // The last byte is only the newline.
            prop_assert!(collect(&json[..cut.index(json.len() - 1)]).is_err());
        }

        #[test]
        fn no_change_panics(entries in entries(), position in any::<prop::sample::Index>(), byte: u8) {
            let mut json = encoded(&[(Id::default(), entries)]).into_bytes();
            let position = position.index(json.len());
            json[position] = byte;
            let _ = decode(&json, &mut |_, _| {});
        }
    }
}

//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Read once and without the system's resolver, which a static binary does not have. The lines count as they do
//! for restic's, which resolves the same way where it is built without C: the first that fits, in full form.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use crate::format::tree::SharedText;
use crate::limits::MAX_SMALL_FILE_BYTES;

/// Who is behind a number. What is not known has the empty name.
#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<u32, SharedText>,
    groups: HashMap<u32, SharedText>,
}

impl Accounts {
    /// The accounts of this machine or container; a missing file means that there are no names.
    pub fn load() -> Self {
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: names_by_number(passwd, 7, &[3]), groups: names_by_number(group, 4, &[]) }
    }

    pub fn user(&self, uid: u32) -> SharedText {
        self.users.get(&uid).cloned().unwrap_or_default()
    }

    pub fn group(&self, gid: u32) -> SharedText {
        self.groups.get(&gid).cloned().unwrap_or_default()
    }

    /// The number of a user's name, the smallest where several have it.
    pub fn uid(&self, user: &str) -> Option<u32> {
        number(&self.users, user)
    }

    pub fn gid(&self, group: &str) -> Option<u32> {
        number(&self.groups, group)
    }
}

fn number(names: &HashMap<u32, SharedText>, name: &str) -> Option<u32> {
    names.iter().filter(|(_, known)| ***known == *name).map(|(number, _)| *number).min()
}

fn read(path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_SMALL_FILE_BYTES as u64).read_to_end(&mut content));
    match read {
        Ok(_) => content,
        Err(_) => Vec::new(),
    }
}

/// `columns` fields at least, the number in the third, and integers in those `integers` names.
fn names_by_number(file: &[u8], columns: usize, integers: &[usize]) -> HashMap<u32, SharedText> {
    let mut names = HashMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.first() == Some(&b'#') {
            continue;
        }
        let fields: Vec<&[u8]> = line.splitn(columns, |byte| *byte == b':').collect();
        if fields.len() < columns || matches!(fields[0].first(), None | Some(b'+' | b'-')) {
            continue;
        }
        let Some(number) = canonical_number(fields[2]) else { continue };
        if !integers.iter().all(|&column| is_integer(fields[column])) {
            continue;
        }
        names.entry(number).or_insert_with(|| (*String::from_utf8_lossy(fields[0])).into());
    }
    names
}

/// Numbers are compared as text by those who look them up, so `007` is nobody's.
fn canonical_number(field: &[u8]) -> Option<u32> {
    let number: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == field).then_some(number)
}

fn is_integer(field: &[u8]) -> bool {
    std::str::from_utf8(field).is_ok_and(|text| text.parse::<i64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_as_they_do_for_go() {
        let passwd = b"# 0:x:0:0:::\n\
            root:x:0:0:root:/root:/bin/sh\n\
            second:x:0:0:same number:/:/bin/sh\n\
            \x20 spaced:x:5:5:::  \n\
            +nis:x:6:6:::\n\
            short:x:7:7::\n\
            padded:x:08:8:::\n\
            nogroup:x:9:nine:::\n\
            :x:10:10:::\n\
            last:x:4294967294:1:::/bin/false";
        let group = b"wheel:*:0:root\nshort:x:1\n-minus:x:2:\nstaff:x:50:\n";
        let accounts = Accounts::parse(passwd, group);
        for (uid, expected) in [
            (0, "root"),
            (5, "spaced"),
            (6, ""),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, ""),
            (4_294_967_294, "last"),
        ] {
            assert_eq!(&*accounts.user(uid), expected, "user {uid}");
        }
        for (gid, expected) in [(0, "wheel"), (1, ""), (2, ""), (50, "staff")] {
            assert_eq!(&*accounts.group(gid), expected, "group {gid}");
        }
        assert_eq!(accounts.uid("spaced"), Some(5));
        assert_eq!(accounts.gid("nobody"), None);
    }
}

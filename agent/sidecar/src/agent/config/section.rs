//! A mapping of the settings file, read entry by entry, with the full path of each in what is told of it.

use std::collections::BTreeMap;

use super::Reader;
use super::raw::{Layered, List, Text, Written};

/// The entries of one mapping, taken out one by one; what is left at the end is nothing we know.
pub(super) struct Section {
    path: String,
    entries: BTreeMap<String, Written>,
}

impl Section {
    pub(super) fn new(path: &str, entries: BTreeMap<String, Written>) -> Self {
        Self { path: path.to_owned(), entries }
    }

    /// As people find it in the file.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Takes what may be there and is not looked into; whether it was.
    pub(super) fn accept(&mut self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }

    pub(super) fn problem(&self, read: &mut Reader<'_>, name: &str, problem: &str) {
        read.problems.push(format!("{}.{name}: {problem}", self.path));
    }

    /// A list of words. One word may stand alone.
    pub(super) fn words(&mut self, read: &mut Reader<'_>, name: &str) -> Option<Vec<String>> {
        let written = self.entries.remove(name)?;
        match List::from_file(written) {
            Ok(list) => Some(list.0.into_iter().map(|text| text.0).collect()),
            Err(problem) => {
                self.problem(read, name, &problem);
                None
            }
        }
    }

    /// The items of a list of mappings, each with its place in the list in its path.
    pub(super) fn sections(&mut self, read: &mut Reader<'_>, name: &str) -> Vec<Self> {
        let items = match self.entries.remove(name) {
            None => Vec::new(),
            Some(Written::Mappings(items)) => items,
            Some(Written::List(items)) if items.is_empty() => Vec::new(),
            Some(_) => {
                self.problem(read, name, "is no list of mappings: write it as in the manifest");
                Vec::new()
            }
        };
        let path = |position: usize| format!("{}.{name}[{position}]", self.path);
        items.into_iter().enumerate().map(|(at, entries)| Self { path: path(at), entries }).collect()
    }

    pub(super) fn section(&mut self, read: &mut Reader<'_>, name: &str) -> Option<Self> {
        let path = format!("{}.{name}", self.path);
        match self.entries.remove(name)? {
            Written::Mapping(entries) => Some(Self { path, entries }),
            _ => {
                read.problems.push(format!("{path}: is no mapping: write it as in the manifest"));
                None
            }
        }
    }

    pub(super) fn text(&mut self, read: &mut Reader<'_>, name: &str) -> Option<Text> {
        let told = |problem| read.problems.push(format!("{}.{name}: {problem}", self.path));
        Text::from_file(self.entries.remove(name)?).map_err(told).ok()
    }

    pub(super) fn optional<T>(
        &mut self,
        read: &mut Reader<'_>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(read, name);
        read.optional(&format!("{}.{name}", self.path), text, parse)
    }

    pub(super) fn required<T>(
        &mut self,
        read: &mut Reader<'_>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.entries.contains_key(name) {
            read.problems.push(format!("{}.{name}: is not set", self.path));
            return None;
        }
        let text = self.text(read, name)?;
        read.required(&format!("{}.{name}", self.path), Some(text), parse)
    }

    pub(super) fn finish(self, read: &mut Reader<'_>) {
        let path = self.path;
        read.problems
            .extend(self.entries.into_keys().map(|name| format!("{path}.{name}: there is no such setting")));
    }
}

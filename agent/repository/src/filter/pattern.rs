//! Lists of path patterns, matched exactly as restic's `filter` package matches them.
//!
//! A pattern is a path whose components are globs; `**` stands for any number of components. With a leading
//! `/` it starts at the root, else it may begin at any depth; both match everything below what they name.
//! A `!` in front takes back what earlier patterns of the list matched. Everything is prepared when the list
//! is parsed: a match allocates nothing, and an empty list costs nothing.
//!
//! One thing is stricter: a malformed pattern is always refused. restic lets some pass (`[a]*[`), complains
//! at every name they begin to match, and then applies no pattern at all to that name.

use std::cell::RefCell;

use super::glob::Glob;
use super::path;

/// Whether `A` and `a` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Insensitive,
}

/// Patterns that cannot be read, as they were written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: invalid pattern {}", .patterns.join(", "))]
pub struct InvalidPatterns {
    /// The option that brought them, with its dashes.
    pub option: &'static str,
    /// Quoted for people.
    pub patterns: Vec<String>,
}

/// Patterns in the order they were given: a later one overrides.
#[derive(Clone, Debug)]
pub struct PatternList {
    patterns: Box<[Pattern]>,
    case: Case,
    has_negated: bool,
}

impl PatternList {
    /// Prepares `patterns`; empty ones are ignored. `option` is where they come from, for the error, which
    /// names every invalid pattern.
    pub fn parse<P: AsRef<[u8]>>(
        option: &'static str,
        patterns: &[P],
        case: Case,
    ) -> Result<Self, InvalidPatterns> {
        let mut prepared = Vec::with_capacity(patterns.len());
        let mut invalid = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref).filter(|pattern| !pattern.is_empty()) {
            // The pattern is judged as it was written: in lower case a broken byte is a valid character.
            match (Pattern::prepare(pattern), case) {
                (None, _) => invalid.push(format!("{:?}", path::lossy(pattern))),
                (Some(ready), Case::Sensitive) => prepared.push(ready),
                (Some(_), Case::Insensitive) => {
                    let mut lowered = Vec::new();
                    lower(pattern, &mut lowered);
                    prepared
                        .push(Pattern::prepare(&lowered).expect("lower case keeps brackets and backslashes"));
                }
            }
        }
        if !invalid.is_empty() {
            return Err(InvalidPatterns { option, patterns: invalid });
        }
        let has_negated = prepared.iter().any(|pattern| pattern.is_negated);
        Ok(Self { patterns: prepared.into(), case, has_negated })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the list matches `path`: it, or a directory above it, is named by a pattern and not taken
    /// back by a later one. An empty path matches nothing.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.with_components(path, |components| {
            if !self.has_negated {
                return self.patterns.iter().any(|pattern| pattern.matches(components));
            }
            let mut matched = false;
            for pattern in &self.patterns {
                // A pattern that could only say again what holds already need not be asked.
                if matched == pattern.is_negated && pattern.matches(components) {
                    matched = !matched;
                }
            }
            matched
        })
        .unwrap_or(false)
    }

    /// Whether the list matches `path`, and whether it may match something below the directory `path`.
    pub fn matches_with_child(&self, path: &[u8]) -> (bool, bool) {
        self.with_components(path, |components| {
            let (mut matched, mut child_may_match) = (false, false);
            for pattern in &self.patterns {
                let matches = pattern.matches(components);
                if pattern.is_negated {
                    matched &= !matches;
                    child_may_match &= !matches;
                } else {
                    matched |= matches;
                    child_may_match |= pattern.may_match_below(components);
                    if matched && child_may_match && !self.has_negated {
                        break;
                    }
                }
            }
            (matched, child_may_match)
        })
        .unwrap_or((false, false))
    }

    /// As [`PatternList::matches`], but each pattern for itself and a `!` without meaning: restic's `find`.
    pub(super) fn any_matches(&self, path: &[u8]) -> bool {
        self.with_components(path, |components| self.patterns.iter().any(|p| p.matches(components)))
            .unwrap_or(false)
    }

    pub(super) fn any_may_match_below(&self, path: &[u8]) -> bool {
        self.with_components(path, |components| self.patterns.iter().any(|p| p.may_match_below(components)))
            .unwrap_or(false)
    }

    /// Splits `path`, in lower case where the list ignores case. `None` without patterns or without a path.
    fn with_components<T>(&self, path: &[u8], ask: impl FnOnce(Components<'_>) -> T) -> Option<T> {
        if self.patterns.is_empty() || path.is_empty() {
            return None;
        }
        Some(SCRATCH.with_borrow_mut(|scratch| {
            let path = match self.case {
                Case::Sensitive => path,
                Case::Insensitive => {
                    scratch.lowered.clear();
                    lower(path, &mut scratch.lowered);
                    &scratch.lowered
                }
            };
            scratch.spans.clear();
            let mut start = 0;
            for part in path.split(|&byte| byte == b'/') {
                scratch.spans.push((start, start + part.len()));
                start += part.len() + 1;
            }
            ask(Components { path, spans: &scratch.spans })
        }))
    }
}

/// Room for one path being matched, kept so that a match does not allocate.
struct Scratch {
    lowered: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { lowered: Vec::new(), spans: Vec::new() }) };
}

/// A path and where its components are. The root of an absolute path counts as a component, an empty one.
#[derive(Clone, Copy)]
struct Components<'a> {
    path: &'a [u8],
    spans: &'a [(usize, usize)],
}

impl<'a> Components<'a> {
    fn count(self) -> usize {
        self.spans.len()
    }

    fn is_absolute(self) -> bool {
        self.path[0] == b'/'
    }

    fn at(self, position: usize) -> &'a [u8] {
        let (start, end) = self.spans[position];
        &self.path[start..end]
    }

    /// Whether `globs` match the components from `position` on; never where there are too few.
    fn match_at(self, position: usize, globs: &[Glob]) -> bool {
        position + globs.len() <= self.count()
            && globs.iter().enumerate().all(|(offset, glob)| glob.matches(self.at(position + offset)))
    }
}

/// A prepared pattern: runs of globs with a `**` between each two of them.
#[derive(Clone, Debug)]
struct Pattern {
    is_negated: bool,
    is_absolute: bool,
    first: Box<[Glob]>,
    /// What follows each `**`; an empty run at the end and between two `**` in a row.
    others: Box<[Box<[Glob]>]>,
    /// Components as restic counts them: the root is one, and so is each `**`.
    part_count: usize,
}

impl Pattern {
    /// `None` if a component is malformed. `pattern` is not empty.
    fn prepare(pattern: &[u8]) -> Option<Self> {
        let positive = pattern.strip_prefix(b"!");
        let cleaned = path::clean(positive.unwrap_or(pattern));
        let is_absolute = cleaned[0] == b'/';
        let mut runs = vec![Vec::new()];
        let mut part_count = 0;
        for (position, part) in cleaned.split(|&byte| byte == b'/').enumerate() {
            part_count += 1;
            if position == 0 && is_absolute {
                continue;
            }
            match part {
                // The root alone splits into the root and nothing, and restic takes nothing for `**`.
                b"" | b"**" => runs.push(Vec::new()),
                _ => runs.last_mut().expect("there is always a run").push(Glob::compile(part).ok()?),
            }
        }
        let mut runs = runs.into_iter().map(Vec::into_boxed_slice);
        Some(Self {
            is_negated: positive.is_some(),
            is_absolute,
            first: runs.next().expect("there is always a run"),
            others: runs.collect(),
            part_count,
        })
    }

    fn matches(&self, components: Components<'_>) -> bool {
        if self.is_absolute {
            return components.is_absolute() && self.matches_from(components, 1);
        }
        // A relative pattern does not match the root itself.
        let start_min = usize::from(components.is_absolute());
        // One name at any depth is what most patterns are, and half the time of matching long lists.
        if let ([glob], []) = (&*self.first, &*self.others) {
            let spans = &components.spans[start_min..];
            return spans.iter().any(|&(start, end)| glob.matches(&components.path[start..end]));
        }
        (start_min..components.count()).any(|start| self.matches_from(components, start))
    }

    /// Whether the pattern matches with its first component (behind the root) at `start`.
    ///
    /// Taking the leftmost place for each run is right: it leaves the most room to the runs behind it. But
    /// restic expands one `**` at a time and lets none take more components than the path has over the rest
    /// of the pattern, in which the `**` still to come count as one each though they may turn out empty.
    fn matches_from(&self, components: Components<'_>, start: usize) -> bool {
        if !components.match_at(start, &self.first) {
            return false;
        }
        let mut position = start + self.first.len();
        let mut expanded = 0;
        for (preceding, run) in self.others.iter().enumerate() {
            let Some(expanded_max) = (components.count() + preceding + 1).checked_sub(self.part_count) else {
                return false;
            };
            loop {
                if expanded > expanded_max || position > components.count() {
                    return false;
                }
                if components.match_at(position, run) {
                    break;
                }
                position += 1;
                expanded += 1;
            }
            position += run.len();
        }
        true
    }

    /// Whether something below the directory may match. Only an absolute pattern can rule that out, by
    /// what stands before its first `**`.
    fn may_match_below(&self, components: Components<'_>) -> bool {
        if !self.is_absolute {
            return true;
        }
        let known = self.first.len().min(components.count() - 1);
        components.is_absolute() && components.match_at(1, &self.first[..known])
    }
}

/// Appends `text` in lower case, character by character as Go does it; what is not UTF-8 becomes U+FFFD.
fn lower(text: &[u8], lowered: &mut Vec<u8>) {
    if text.is_ascii() {
        lowered.extend(text.iter().map(u8::to_ascii_lowercase));
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (character, length) = path::decode_character(rest);
        rest = &rest[length..];
        // One character for one: only U+0130 would become two, and the first is what Go keeps.
        let small = character.to_lowercase().next().unwrap_or(character);
        lowered.extend_from_slice(small.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests;

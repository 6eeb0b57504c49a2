//! That a list which goes on page by page gets somewhere.
//!
//! Each page's word for the next one is the store's, and a store, or what is between it and us, may name one that was
//! read already, or go on for ever without a name in it. Keeps one of the words, whatever their number.

/// Stores pass over what was removed, or is somebody else's, in pages without a name.
const MAX_EMPTY_PAGES: u32 = 1_000;

/// How far a list came.
#[derive(Debug, Default)]
pub(super) struct Advance {
    /// Of an earlier page: each power of two of them it is that page's, so every circle is found, however long.
    noted: Option<String>,
    pages: u64,
    empty_pages: u32,
}

impl Advance {
    /// Takes notice of a page that goes on at `next`. The error says why the list must not.
    pub(super) fn to(&mut self, next: &str, is_empty: bool) -> Result<(), String> {
        if self.noted.as_deref() == Some(next) {
            return Err(
                "the store's list does not advance: it goes on with a page that was read already".to_owned()
            );
        }
        self.pages += 1;
        if self.pages.is_power_of_two() {
            self.noted = Some(next.to_owned());
        }
        self.empty_pages = if is_empty { self.empty_pages + 1 } else { 0 };
        match self.empty_pages >= MAX_EMPTY_PAGES {
            true => {
                Err(format!("the store's list does not advance: {MAX_EMPTY_PAGES} pages in a row are empty"))
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are read before the list is given up.
    fn pages_read(mut next: impl FnMut(u32) -> String, is_empty: bool) -> Option<u32> {
        let mut advance = Advance::default();
        (0..10_000).find(|page| advance.to(&next(*page), is_empty).is_err()).map(|last| last + 1)
    }

    #[test]
    fn a_list_that_runs_in_a_circle_or_on_and_on_is_given_up_and_a_long_one_is_not() {
        assert_eq!(pages_read(|_| "same".to_owned(), false), Some(2));
        for length in [2, 3, 7, 100] {
            let circle = pages_read(|page| (page % length).to_string(), false).unwrap();
            assert!(circle <= 4 * length, "{length}: {circle}");
            // After pages that do not come again.
            assert!(pages_read(|page| (page.max(50) % length).to_string(), false).is_some(), "{length}");
        }
        assert_eq!(pages_read(|page| page.to_string(), true), Some(MAX_EMPTY_PAGES));
        assert_eq!(pages_read(|page| page.to_string(), false), None);
    }
}

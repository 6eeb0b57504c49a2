//! What the object stores have in common: a store of objects under names becomes a [`Backend`].
//!
//! A vendor's file says how one request is made and what one answer means ([`Objects`]); here is what the contract
//! asks beyond that: names below the prefix, exact ranges, sizes that are looked at before memory is taken, lists that
//! go on page by page, and what it means that the bucket itself is not there. Must never send a request that the
//! contract does not need: each one costs time and money.

mod advance;
mod escape;
pub(crate) mod headers;
mod heard;
pub(crate) mod reply;
mod status;
pub(crate) mod words;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};

use crate::blocking::blocking;
use crate::location::Prefix;
use crate::transfer::{Digests, Response, Upload};
use crate::{Backend, Body, BoxStream, Entry, Error, ErrorKind, FileKind, FileName, Operation, Result};

use advance::Advance;
pub(crate) use escape::{escape, escape_component};
pub(crate) use heard::{Heard, Stranger};
pub(crate) use status::{kind_of_status, retry_after, store_time};

/// A store that asks for more is away, and whoever waits so long for one request has given up.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// No object is larger, and servers that count with a sign take a larger range for none.
const MAX_OBJECT_BYTES: u64 = 1 << 62;

/// A size that no object has: its body will tell.
const UNTOLD_BYTES: u64 = u64::MAX;

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The bucket or container is not there.
    NoContainer(String),
    Because {
        kind: ErrorKind,
        why: Box<dyn StdError + Send + Sync>,
        retry_after: Option<Duration>,
    },
}

impl Failed {
    pub(crate) fn because(kind: ErrorKind, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Because { kind, why: why.into(), retry_after: None }
    }

    pub(crate) fn is(&self, wanted: ErrorKind) -> bool {
        matches!(self, Self::Because { kind, .. } if *kind == wanted)
    }

    /// As the caller of a [`Backend`] sees it: a missing container as `no_container`, and what the store said cut to what
    /// is read.
    fn into_error(self, operation: Operation, name: String, no_container: ErrorKind) -> Error {
        match self {
            Self::NoContainer(why) => Error::new(no_container, operation, name).because(why),
            // That there is none is all there is to say.
            Self::Because { kind: ErrorKind::NotFound, .. } => {
                Error::new(ErrorKind::NotFound, operation, name)
            }
            Self::Because { kind, why, retry_after } => {
                let why = words::bounded(why);
                let error = Error::new(kind, operation, name);
                match retry_after {
                    Some(wait) if wait > MAX_RETRY_AFTER => {
                        let why = format!("{why}; it asks to be left alone for {} s", wait.as_secs());
                        Error { retry_after: Some(MAX_RETRY_AFTER), ..error.because(why) }
                    }
                    _ => Error { retry_after, ..error.because(why) },
                }
            }
        }
    }
}

pub(crate) type Answer<T> = std::result::Result<T, Failed>;

/// What a store tells of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub size_bytes: u64,
    pub modified: Option<SystemTime>,
}

/// An object, or a range of it, on its way.
#[derive(Debug)]
pub(crate) struct Download {
    /// Of the whole object; [`UNTOLD_BYTES`] where all of it comes in chunks and nobody has counted them.
    pub size_bytes: u64,
    pub response: Response,
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// Names as the store has them, prefix and all.
    pub objects: Vec<(String, Head)>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutMode {
    Replace,
    /// Fails with [`ErrorKind::AlreadyExists`] where there is one.
    Create,
}

/// How a vendor's store is asked. One call is one request, save where credentials or an address have to be got first.
/// A name is a whole one, prefix and all.
#[async_trait::async_trait]
pub(crate) trait Objects: Debug + Send + Sync + 'static {
    /// What a body must be looked through for.
    const DIGESTS: Digests;

    /// Where this is, for people.
    fn location(&self) -> String;

    fn can_create_only(&self) -> bool;

    /// Makes the bucket or container if it is not there.
    async fn create_container(&self) -> Answer<()>;

    async fn head(&self, name: &str) -> Answer<Head>;

    /// The object, or a range of it that is not empty. A range that begins past the end is
    /// [`ErrorKind::OutOfRange`]; one that only ends there may be answered with what there is.
    async fn get(&self, name: &str, range: Option<Range<u64>>) -> Answer<Download>;

    /// That the store has found other bytes than it was told of is [`ErrorKind::UnusableBody`], whoever altered them.
    async fn put(&self, name: &str, upload: Arc<Upload>, mode: PutMode) -> Answer<()>;

    /// The objects whose names begin with `prefix`; `from` is an earlier page's `next`.
    async fn list(&self, prefix: &str, from: Option<&str>) -> Answer<Page>;

    /// That there is none may be success or [`ErrorKind::NotFound`].
    async fn delete(&self, name: &str) -> Answer<()>;
}

/// A repository in an object store.
#[derive(Debug)]
pub(crate) struct Remote<O> {
    objects: O,
    prefix: Prefix,
    max_connections: usize,
}

impl<O: Objects> Remote<O> {
    pub(crate) fn new(objects: O, prefix: Prefix, max_connections: usize) -> Self {
        Self { objects, prefix, max_connections }
    }

    fn name(&self, file: &FileName) -> String {
        self.prefix.join(&file.path())
    }

    async fn head(&self, operation: Operation, file: &FileName) -> Result<Head> {
        let head = self.objects.head(&self.name(file)).await;
        head.map_err(|failed| failed.into_error(operation, file.to_string(), ErrorKind::NotFound))
    }

    async fn put(&self, file: &FileName, body: Body, mode: PutMode) -> Result<()> {
        let unusable =
            |why: String| Error::new(ErrorKind::UnusableBody, Operation::Save, file.to_string()).because(why);
        let upload = blocking(|| Upload::prepare(body, O::DIGESTS)).map_err(unusable)?;
        let upload = Arc::new(upload);
        let put = self.objects.put(&self.name(file), Arc::clone(&upload), mode).await;
        put.map_err(|failed| {
            let failed = match failed {
                Failed::Because { kind: ErrorKind::UnusableBody, why, .. } => {
                    blocking(|| upload.failed_digest(why))
                }
                failed => failed,
            };
            failed.into_error(Operation::Save, file.to_string(), ErrorKind::Misconfigured)
        })
    }

    /// The file an object is, if it is one of the kind that lies where it should.
    fn file(&self, kind: FileKind, object: &str) -> Option<FileName> {
        let name = match kind {
            FileKind::Config => "",
            _ => object.rsplit('/').next()?,
        };
        FileName::new(kind, name).filter(|file| self.name(file) == object)
    }

    async fn page(
        &self,
        kind: FileKind,
        from: Option<String>,
        advance: &mut Advance,
    ) -> Result<(Vec<Entry>, Option<String>)> {
        let prefix = self.prefix.join(&match kind {
            FileKind::Config => "config".to_owned(),
            _ => format!("{}/", kind.folder()),
        });
        let page = async {
            let page = self.objects.list(&prefix, from.as_deref()).await?;
            if let Some(next) = &page.next {
                let endless = |why| Failed::because(ErrorKind::Unsupported, why);
                advance.to(next, page.objects.is_empty()).map_err(endless)?;
            }
            Ok(page)
        };
        let page = match page.await {
            Ok(page) => page,
            Err(Failed::NoContainer(_)) => return Ok((Vec::new(), None)),
            Err(failed) => {
                let name = format!("{} files", kind.noun());
                return Err(failed.into_error(Operation::List, name, ErrorKind::NotFound));
            }
        };
        let entries = page.objects.into_iter().filter_map(|(object, head)| {
            let file = self.file(kind, &object)?;
            Some(Entry { file, size_bytes: head.size_bytes, modified: head.modified })
        });
        Ok((entries.collect(), page.next))
    }
}

#[async_trait::async_trait]
impl<O: Objects> Backend for Remote<O> {
    fn location(&self) -> String {
        self.objects.location()
    }

    fn max_connections(&self) -> usize {
        self.max_connections
    }

    fn can_save_new(&self) -> bool {
        self.objects.can_create_only()
    }

    async fn create(&self) -> Result<()> {
        let created = self.objects.create_container().await;
        created
            .map_err(|failed| failed.into_error(Operation::Create, self.location(), ErrorKind::Misconfigured))
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        let head = self.head(Operation::Stat, file).await?;
        Ok(Entry { file: file.clone(), size_bytes: head.size_bytes, modified: head.modified })
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        let load = async {
            let download = self.objects.get(&self.name(file), None).await?;
            if download.size_bytes == UNTOLD_BYTES {
                return download.response.untold_bytes(max_bytes).await;
            }
            if download.size_bytes > max_bytes {
                let why = format!("it has {} bytes", download.size_bytes);
                return Err(Failed::because(ErrorKind::TooLarge, why));
            }
            download.response.bytes(download.size_bytes).await
        };
        load.await.map_err(|failed| failed.into_error(Operation::Load, file.to_string(), ErrorKind::NotFound))
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        let out_of_range = |size_bytes: u64| {
            let why = format!("it has {size_bytes} bytes and {} were asked from {}", range.end, range.start);
            Error::new(ErrorKind::OutOfRange, Operation::Load, file.to_string()).because(why)
        };
        if range.start >= range.end {
            // No store has a word for nothing.
            let size_bytes = self.head(Operation::Load, file).await?.size_bytes;
            return match range.start > range.end || range.end > size_bytes {
                true => Err(out_of_range(size_bytes)),
                false => Ok(Bytes::new()),
            };
        }
        let load = async {
            let asked = range.start.min(MAX_OBJECT_BYTES - 1)..range.end.min(MAX_OBJECT_BYTES);
            let download = self.objects.get(&self.name(file), Some(asked)).await?;
            if download.size_bytes < range.end {
                return Ok(Err(out_of_range(download.size_bytes)));
            }
            download.response.bytes(range.end - range.start).await.map(Ok)
        };
        load.await
            .map_err(|failed| failed.into_error(Operation::Load, file.to_string(), ErrorKind::NotFound))?
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.put(file, body, PutMode::Replace).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        match self.can_save_new() {
            true => self.put(file, body, PutMode::Create).await,
            false => Err(Error::new(ErrorKind::Unsupported, Operation::Save, file.to_string())),
        }
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        let begin = Some((None, Advance::default()));
        let pages = stream::try_unfold(begin, move |place: Option<(Option<String>, Advance)>| async move {
            let Some((from, mut advance)) = place else { return Ok(None) };
            let (entries, next) = self.page(kind, from, &mut advance).await?;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), next.map(|next| (Some(next), advance)))))
        });
        pages.try_flatten().boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        match self.objects.delete(&self.name(file)).await {
            Ok(()) | Err(Failed::NoContainer(_)) => Ok(()),
            Err(failed) if failed.is(ErrorKind::NotFound) => Ok(()),
            Err(failed) => Err(failed.into_error(Operation::Remove, file.to_string(), ErrorKind::NotFound)),
        }
    }
}

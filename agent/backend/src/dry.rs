//! A store that is read as it is and only pretends to be written to: for dry runs.
//!
//! Relies on nobody reading back what was saved. Nothing ever reaches the inner store but reads.

use std::ops::Range;

use bytes::Bytes;

use crate::{Backend, Body, BoxStream, Entry, FileKind, FileName, Result};

#[derive(Debug)]
pub struct Dry<B> {
    inner: B,
}

impl<B: Backend> Dry<B> {
    pub fn new(inner: B) -> Self {
        Self { inner }
    }
}

#[async_trait::async_trait]
impl<B: Backend> Backend for Dry<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn max_connections(&self) -> usize {
        self.inner.max_connections()
    }

    fn can_save_new(&self) -> bool {
        self.inner.can_save_new()
    }

    async fn has_legacy_layout(&self) -> Result<bool> {
        self.inner.has_legacy_layout().await
    }

    async fn create(&self) -> Result<()> {
        Ok(())
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.inner.stat(file).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        self.inner.load(file, max_bytes).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.inner.load_range(file, range).await
    }

    async fn save(&self, _: &FileName, _: Body) -> Result<()> {
        Ok(())
    }

    async fn save_new(&self, _: &FileName, _: Body) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        self.inner.list(kind)
    }

    async fn remove(&self, _: &FileName) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ErrorKind;
    use crate::mem::Mem;

    #[tokio::test]
    async fn nothing_that_is_written_arrives_and_what_is_there_is_read() {
        let inner = Arc::new(Mem::new());
        inner.create().await.unwrap();
        inner.save(&FileName::config(), vec![1].into()).await.unwrap();
        let dry = Dry::new(Arc::clone(&inner));
        let key = FileName::new(FileKind::Key, &"a".repeat(64)).unwrap();
        dry.save(&key, vec![2].into()).await.unwrap();
        dry.save_new(&key, vec![2].into()).await.unwrap();
        dry.remove(&FileName::config()).await.unwrap();
        assert_eq!(dry.load(&FileName::config(), u64::MAX).await.unwrap(), vec![1]);
        assert_eq!(inner.stat(&key).await.unwrap_err().kind, ErrorKind::NotFound);
    }
}

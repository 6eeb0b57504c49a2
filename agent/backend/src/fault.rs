//! A store that fails on demand, counts and remembers, for tests of whatever uses a store.
//!
//! Wraps any backend and stands for all that can go wrong between a process and its store: a call that fails, one
//! whose effect is there and whose answer is lost, one that never answers, a list that breaks off, and the death
//! of the process, after which nothing has an effect. Without a rule it only looks on. Must never change a
//! name or a byte: damage is done to the store itself (see [`crate::mem::Mem::damage`]).

mod rule;

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::{Backend, Body, BoxStream, Entry, Error, ErrorKind, FileKind, FileName, Operation, Result};

use rule::Outcome;
pub use rule::Rule;

/// One call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub operation: Operation,
    /// Set for every call but [`Backend::create`].
    pub kind: Option<FileKind>,
    /// Set for every call about one file.
    pub file: Option<FileName>,
    /// The moment it began. Moments are counted, not measured: each beginning and each end is one.
    pub began: u64,
    /// The moment it ended; `None` while it is under way, and for ever if its future was dropped.
    pub ended: Option<u64>,
    /// How it failed, as the caller saw it.
    pub failed: Option<ErrorKind>,
}

impl Call {
    pub fn succeeded(&self) -> bool {
        self.ended.is_some() && self.failed.is_none()
    }

    fn name(&self) -> String {
        match (&self.file, self.kind) {
            (Some(file), _) => file.to_string(),
            (None, Some(kind)) => format!("{} files", kind.noun()),
            (None, None) => "store".to_owned(),
        }
    }
}

impl fmt::Display for Call {
    /// `save index 0123abcd`, `list pack files`, `create store`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.name())
    }
}

type Hook = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A backend that fails by script.
pub struct Fault<B> {
    inner: B,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    moments: u64,
    hook: Option<Hook>,
}

impl State {
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

impl<B: Backend> Fault<B> {
    pub fn new(inner: B) -> Self {
        Self { inner, state: Mutex::default() }
    }

    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// From now on. A rule counts the calls that begin after it was added; where several apply to one call,
    /// the one added first decides.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Heals the store.
    pub fn clear_rules(&self) {
        self.state().rules.clear();
    }

    /// Runs `hook` before each call, after the call was counted and before it has any effect. Other actors may
    /// do in it what they like to the store below; a call to this store from inside it calls the hook again.
    pub fn before_each<F>(&self, hook: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.state().hook = Some(Arc::new(move |call| Box::pin(hook(call))));
    }

    /// Every call so far, in the order in which they began.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The number of calls so far.
    pub fn count(&self) -> u64 {
        self.state().calls.len() as u64
    }

    pub fn count_of(&self, operation: Operation) -> u64 {
        self.state().calls.iter().filter(|call| call.operation == operation).count() as u64
    }

    pub fn forget_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and notes a call, runs the hook, and tells what is to become of it.
    async fn begin(&self, operation: Operation, on: On<'_>) -> (Begun, Option<Outcome>) {
        let (call, outcome, hook) = {
            let mut state = self.state();
            let (kind, file) = match on {
                On::Store => (None, None),
                On::Kind(kind) => (Some(kind), None),
                On::File(file) => (Some(file.kind()), Some(file.clone())),
            };
            let began = state.moment();
            let call = Call { operation, kind, file, began, ended: None, failed: None };
            state.calls.push(call.clone());
            // Every rule counts the call, also after one has decided.
            let outcomes: Vec<_> = state.rules.iter_mut().filter_map(|rule| rule.meets(&call)).collect();
            (call, outcomes.first().copied(), state.hook.clone())
        };
        let begun = Begun { began: call.began, name: call.name() };
        if let Some(hook) = hook {
            hook(call).await;
        }
        (begun, outcome)
    }

    fn end(&self, begun: &Begun, failed: Option<ErrorKind>) {
        let mut state = self.state();
        let moment = state.moment();
        let call = state.calls.iter_mut().rev().find(|call| call.began == begun.began);
        if let Some(call) = call
            && call.ended.is_none()
        {
            call.ended = Some(moment);
            call.failed = failed;
        }
    }

    async fn around<T>(
        &self,
        operation: Operation,
        on: On<'_>,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let (begun, outcome) = self.begin(operation, on).await;
        let result = match outcome {
            None => call.await,
            Some(Outcome::Fails(kind) | Outcome::BreaksOff(_, kind)) => Err(begun.error(operation, kind)),
            Some(Outcome::FailsAfterEffect(kind)) => {
                call.await.and_then(|_| Err(begun.error(operation, kind)))
            }
            Some(Outcome::NeverAnswers) => std::future::pending().await,
        };
        self.end(&begun, result.as_ref().err().map(|error| error.kind));
        result
    }
}

enum On<'a> {
    Store,
    Kind(FileKind),
    File(&'a FileName),
}

/// A call under way.
struct Begun {
    began: u64,
    name: String,
}

impl Begun {
    fn error(&self, operation: Operation, kind: ErrorKind) -> Error {
        Error::new(kind, operation, self.name.clone()).because("the test's script says so")
    }
}

impl<B: fmt::Debug> fmt::Debug for Fault<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<B: Backend> Backend for Fault<B> {
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
        self.around(Operation::Create, On::Store, self.inner.create()).await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.around(Operation::Stat, On::File(file), self.inner.stat(file)).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        self.around(Operation::Load, On::File(file), self.inner.load(file, max_bytes)).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.around(Operation::Load, On::File(file), self.inner.load_range(file, range)).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.around(Operation::Save, On::File(file), self.inner.save(file, body)).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        self.around(Operation::Save, On::File(file), self.inner.save_new(file, body)).await
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        let listed = async move {
            let (begun, outcome) = self.begin(Operation::List, On::Kind(kind)).await;
            let entries = match outcome {
                None => self.inner.list(kind),
                Some(Outcome::NeverAnswers) => stream::pending().boxed(),
                Some(Outcome::Fails(failure)) => {
                    stream::iter([Err(begun.error(Operation::List, failure))]).boxed()
                }
                Some(Outcome::BreaksOff(entries, failure)) => {
                    let end = begun.error(Operation::List, failure);
                    self.inner.list(kind).take(entries).chain(stream::iter([Err(end)])).boxed()
                }
                Some(Outcome::FailsAfterEffect(failure)) => {
                    let end = begun.error(Operation::List, failure);
                    self.inner.list(kind).chain(stream::iter([Err(end)])).boxed()
                }
            };
            stream::unfold(Some((entries, begun)), move |listing| async move {
                let (mut entries, begun) = listing?;
                match entries.next().await {
                    Some(Ok(entry)) => Some((Ok(entry), Some((entries, begun)))),
                    Some(Err(error)) => {
                        self.end(&begun, Some(error.kind));
                        Some((Err(error), None))
                    }
                    None => {
                        self.end(&begun, None);
                        None
                    }
                }
            })
        };
        stream::once(listed).flatten().boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.around(Operation::Remove, On::File(file), self.inner.remove(file)).await
    }
}

#[cfg(test)]
mod tests;

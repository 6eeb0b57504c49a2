//! The part of the contract that is about many calls at once, and about calls that are given up.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::{BodyFolder, MANY_NAMES, bytes, listed, must, must_fail, name};
use crate::{Backend, Body, ErrorKind, FileKind, FileName, Result};

/// Writers, removers and readers of one file: each answer is a whole file of one of the writers, or none.
pub(super) async fn calls_for_one_file_are_each_whole(backend: &Arc<dyn Backend>) {
    const WRITERS: u64 = 4;
    const ROUNDS: usize = 8;
    let file = name(FileKind::Pack, 100);
    let bodies: Vec<Bytes> = (0..WRITERS).map(|seed| bytes(seed, 40_000 + seed as usize)).collect();
    let mut tasks = JoinSet::new();
    for body in &bodies {
        let (backend, file, body) = (Arc::clone(backend), file.clone(), body.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                must("a save beside others", backend.save(&file, Body::Bytes(body.clone())).await);
            }
        });
    }
    let (remover, removed) = (Arc::clone(backend), file.clone());
    tasks.spawn(async move {
        for _ in 0..ROUNDS {
            must("a remove beside others", remover.remove(&removed).await);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..2 {
        let (backend, file, bodies) = (Arc::clone(backend), file.clone(), bodies.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS * 4 {
                must_be_whole(backend.load(&file, u64::MAX).await, &bodies);
                let found: Vec<_> =
                    must("a list beside others", backend.list(FileKind::Pack).try_collect().await);
                assert!(found.len() <= 1, "a list beside saves holds {} entries of one file", found.len());
                tokio::task::yield_now().await;
            }
        });
    }
    join(tasks).await;
    must("a save", backend.save(&file, Body::Bytes(bodies[0].clone())).await);
    assert!(
        must("a load", backend.load(&file, u64::MAX).await) == bodies[0],
        "the last save is not what is loaded"
    );
    must("a remove", backend.remove(&file).await);
    assert!(listed(&**backend, FileKind::Pack).await.is_empty(), "concurrent saves left more than one file");
}

fn must_be_whole(loaded: Result<Bytes>, bodies: &[Bytes]) {
    match loaded {
        Ok(loaded) => assert!(bodies.contains(&loaded), "a load beside saves gives what nobody saved"),
        Err(error) => assert!(error.kind == ErrorKind::NotFound, "a load beside saves fails: {error}"),
    }
}

pub(super) async fn of_many_new_files_of_one_name_one_wins(backend: &Arc<dyn Backend>) {
    if !backend.can_save_new() {
        return;
    }
    let folder = BodyFolder::new();
    for round in 0..8 {
        let file = name(FileKind::Key, 200 + round);
        let mut tasks = JoinSet::new();
        for caller in 0..8 {
            let expected = bytes(caller, 1_000);
            let body = match caller % 2 {
                0 => Body::Bytes(expected),
                _ => folder.body(&format!("{round}-{caller}"), &expected),
            };
            let (backend, file) = (Arc::clone(backend), file.clone());
            tasks.spawn(async move { (caller, backend.save_new(&file, body).await) });
        }
        let mut winners = Vec::new();
        for (caller, result) in join(tasks).await {
            match result {
                Ok(()) => winners.push(caller),
                Err(error) => must_fail::<()>("save_new of the losers", ErrorKind::AlreadyExists, Err(error)),
            }
        }
        assert!(winners.len() == 1, "{} of 8 concurrent save_new of one name succeeded", winners.len());
        let loaded = must("a load", backend.load(&file, u64::MAX).await);
        assert!(loaded == bytes(winners[0], 1_000), "the file is not the one of the save_new that succeeded");
        must("a remove", backend.remove(&file).await);
    }
    assert!(listed(&**backend, FileKind::Key).await.is_empty(), "concurrent save_new left something");
}

/// Futures dropped after each number of polls: what a reader then sees is the old state or the new one.
pub(super) async fn dropped_calls_are_whole_or_nothing(backend: &Arc<dyn Backend>) {
    let file = name(FileKind::Snapshot, 300);
    let (old, new) = (bytes(1, 3_000), bytes(2, 70_000));
    let both = [old.clone(), new.clone()];
    for moment in 1..=10 {
        must("a save", backend.save(&file, Body::Bytes(old.clone())).await);
        give_up(moment, backend.create()).await;
        give_up(moment, backend.stat(&file)).await;
        give_up(moment, backend.load_range(&file, 1..2_000)).await;
        let size_bytes = must("stat after calls were given up", backend.stat(&file).await).size_bytes;
        assert!(size_bytes == old.len() as u64, "calls that were given up made a file of {size_bytes} bytes");

        give_up(moment, backend.save(&file, Body::Bytes(new.clone()))).await;
        let loaded = must("load after a save over it was given up", backend.load(&file, u64::MAX).await);
        assert!(both.contains(&loaded), "a save that was given up left a part of its bytes");

        give_up(moment, backend.remove(&file)).await;
        must_be_whole(backend.load(&file, u64::MAX).await, &both);
        must("a remove", backend.remove(&file).await);

        let fresh = name(FileKind::Snapshot, 300 + moment);
        give_up(moment, backend.save(&fresh, Body::Bytes(new.clone()))).await;
        must_be_whole(backend.load(&fresh, u64::MAX).await, &both[1..]);
        let sizes: Vec<u64> = listed(&**backend, FileKind::Snapshot).await.into_values().collect();
        let whole = |size: &u64| *size == new.len() as u64 || *size == old.len() as u64;
        assert!(sizes.iter().all(whole), "a save that was given up is listed with {sizes:?} bytes");

        let fresh_new = name(FileKind::Snapshot, 400 + moment);
        give_up(moment, backend.save_new(&fresh_new, Body::Bytes(new.clone()))).await;
        must_be_whole(backend.load(&fresh_new, u64::MAX).await, &both[1..]);

        give_up(moment, backend.load(&file, u64::MAX)).await;
        give_up(moment, backend.list(FileKind::Snapshot).try_collect::<Vec<_>>()).await;
        for file in [&file, &fresh, &fresh_new] {
            must("a remove after calls were given up", backend.remove(file).await);
        }
    }
    nothing_comes_after(&**backend, FileKind::Snapshot).await;
}

/// Drops a call at one of several moments: the first ones are counted in polls, the later ones in time, which takes a
/// store at the other end of a network to be in the middle of something.
async fn give_up<T>(moment: u64, call: impl Future<Output = Result<T>>) {
    if moment > 5 {
        let _done_or_dropped = tokio::time::timeout(Duration::from_micros(100 << moment), call).await;
        return;
    }
    let mut call = Box::pin(call.fuse());
    for _ in 0..moment {
        let done = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits for the late effects of dropped calls, and removes what they made. They may come, but they must end.
pub(super) async fn nothing_comes_after(backend: &dyn Backend, kind: FileKind) {
    const QUIET_LISTS: u32 = 3;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut quiet = 0;
    while quiet < QUIET_LISTS {
        let found = listed(backend, kind).await;
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        assert!(Instant::now() < deadline, "dropped calls still make {found:?}");
        for file in found.into_keys() {
            must("a remove", backend.remove(&file).await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn many_names_are_listed(backend: &Arc<dyn Backend>) {
    let files: Vec<FileName> = (0..MANY_NAMES).map(|number| name(FileKind::Lock, 1_000 + number)).collect();
    let size_bytes = |number: usize| number % 7;
    at_once(backend, files.iter().cloned().enumerate(), move |backend, (number, file)| async move {
        must("one of many saves", backend.save(&file, Body::Bytes(bytes(1, size_bytes(number)))).await);
    })
    .await;
    let expected: BTreeMap<_, _> =
        files.iter().enumerate().map(|(number, file)| (file.clone(), size_bytes(number) as u64)).collect();
    let found = listed(&**backend, FileKind::Lock).await;
    assert!(found.len() == expected.len(), "{} of {} names are listed", found.len(), expected.len());
    assert!(found == expected, "a list of many names tells wrong names or sizes");

    let mut some = backend.list(FileKind::Lock);
    assert!(matches!(some.next().await, Some(Ok(_))), "a list of many names yields none");
    drop(some);

    at_once(backend, files.into_iter(), |backend, file| async move {
        must("one of many removes", backend.remove(&file).await);
    })
    .await;
    assert!(listed(&**backend, FileKind::Lock).await.is_empty(), "removed names are still listed");
}

/// Runs a call for each item, as many at once as the store says it is worth.
async fn at_once<T, F>(
    backend: &Arc<dyn Backend>,
    items: impl Iterator<Item = T>,
    call: impl Fn(Arc<dyn Backend>, T) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = backend.max_connections();
    assert!(connections > 0, "a store that is worth no connection cannot be used");
    stream::iter(items)
        .map(|item| tokio::spawn(call(Arc::clone(backend), item)))
        .buffer_unordered(connections)
        .for_each(|result| async { result.unwrap_or_else(|error| resume(error)) })
        .await;
}

async fn join<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result.unwrap_or_else(|error| resume(error)));
    }
    results
}

/// Goes on with a task's panic, so that its sentence is the test's.
fn resume(error: tokio::task::JoinError) -> ! {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("a task did not end by itself: {error}"),
    }
}

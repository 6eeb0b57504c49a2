use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt;

use super::*;
use crate::conformance;
use crate::fault::{Fault, Rule};
use crate::mem::Mem;

fn config() -> FileName {
    FileName::config()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_store_holds_the_contract() {
    conformance::check(Arc::new(Limited::new(Mem::new()))).await;
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_are_allowed() {
    let store = Fault::new(Mem::new());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, greatest) = (Arc::clone(&now), Arc::clone(&most));
    store.before_each(move |_| {
        let (now, most) = (Arc::clone(&seen), Arc::clone(&greatest));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::Relaxed);
        }
    });
    let store = Limited::new(store);
    let file = config();
    let results = futures_util::future::join_all((0..50).map(|_| store.remove(&file))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), store.max_connections());
}

#[tokio::test]
async fn a_list_of_many_names_is_one_call_that_went_well() {
    let store = Limited::new(Mem::new());
    for number in 0..=u64::from(CALLS_TO_GROW) {
        let file = FileName::new(FileKind::Lock, &format!("{number:064x}")).unwrap();
        store.save(&file, vec![1].into()).await.unwrap();
    }
    store.ended(Some(ErrorKind::Throttled), 0);
    let allowed = store.allowed();
    for lists in 1..=CALLS_TO_GROW {
        assert_eq!(store.allowed(), allowed, "after fewer than {lists} lists");
        store.list(FileKind::Lock).try_collect::<Vec<_>>().await.unwrap();
    }
    assert_eq!(store.allowed(), allowed + 1);
}

#[tokio::test]
async fn a_busy_store_is_asked_half_as_much_and_then_slowly_more() {
    let store = Limited::new(Fault::new(Mem::new()));
    assert_eq!(store.allowed(), 4);
    store.inner.add(Rule::between(1, 3).fails(ErrorKind::Throttled));
    // Three that began together are one word of the store.
    let began_together = store.state().halvings;
    for _ in 0..3 {
        store.ended(Some(ErrorKind::Throttled), began_together);
    }
    assert_eq!(store.allowed(), 2);
    for expected in [1, 1, 1] {
        assert_eq!(store.remove(&config()).await.unwrap_err().kind, ErrorKind::Throttled);
        assert_eq!(store.allowed(), expected);
    }
    for calls in 1..=3 * CALLS_TO_GROW as usize {
        store.remove(&config()).await.unwrap();
        assert_eq!(store.allowed(), 1 + calls / CALLS_TO_GROW as usize);
    }
    assert_eq!((store.turns.available_permits(), store.state().surplus), (4, 0));
}

#[tokio::test]
async fn a_list_that_nobody_reads_holds_no_turn() {
    let store = Limited::new(Mem::new());
    store.ended(Some(ErrorKind::Throttled), 0);
    store.ended(Some(ErrorKind::Throttled), 1);
    store.save(&config(), vec![1].into()).await.unwrap();
    assert_eq!(store.allowed(), 1);
    let mut list = store.list(FileKind::Config);
    assert!(list.try_next().await.unwrap().is_some());
    store.stat(&config()).await.unwrap();
    assert!(list.try_next().await.unwrap().is_none());
}

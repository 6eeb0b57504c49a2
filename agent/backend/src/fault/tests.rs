use futures_util::{FutureExt, TryStreamExt};

use super::*;
use crate::conformance;
use crate::mem::Mem;

fn pack(digit: char) -> FileName {
    FileName::new(FileKind::Pack, &digit.to_string().repeat(64)).unwrap()
}

fn index(digit: char) -> FileName {
    FileName::new(FileKind::Index, &digit.to_string().repeat(64)).unwrap()
}

fn body() -> Body {
    vec![1, 2, 3].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_the_wrapper_holds_the_contract() {
    conformance::check(Arc::new(Fault::new(Mem::new()))).await;
}

#[tokio::test]
async fn the_nth_call_of_an_operation_on_a_kind_fails_and_no_other() {
    let store = Fault::new(Mem::new());
    store.add(Rule::nth(2).of(Operation::Save).on(FileKind::Pack).fails(ErrorKind::Full));
    store.save(&index('a'), body()).await.unwrap();
    store.save(&pack('a'), body()).await.unwrap();
    store.stat(&pack('a')).await.unwrap();
    assert_eq!(store.save(&pack('b'), body()).await.unwrap_err().kind, ErrorKind::Full);
    store.save(&pack('b'), body()).await.unwrap();
    assert_eq!(store.inner().files().len(), 3);
}

#[tokio::test]
async fn after_the_death_of_the_process_nothing_has_an_effect() {
    let store = Fault::new(Mem::new());
    store.add(Rule::from_nth(2).fails(ErrorKind::PermissionDenied));
    store.save(&pack('a'), body()).await.unwrap();
    assert!(store.save(&pack('b'), body()).await.is_err());
    assert!(store.save_new(&pack('c'), body()).await.is_err());
    assert!(store.remove(&pack('a')).await.is_err());
    assert!(store.create().await.is_err());
    assert!(store.load_range(&pack('a'), 0..1).await.is_err());
    assert!(store.list(FileKind::Pack).try_collect::<Vec<_>>().await.is_err());
    assert_eq!(store.inner().files().into_keys().collect::<Vec<_>>(), [pack('a')]);
    store.clear_rules();
    store.remove(&pack('a')).await.unwrap();
    assert!(store.inner().files().is_empty());
}

#[tokio::test]
async fn a_lost_answer_leaves_its_effect_and_a_true_failure_stays_what_it_was() {
    let store = Fault::new(Mem::new());
    store.add(Rule::from_nth(1).fails_after_effect(ErrorKind::Unavailable));
    assert_eq!(store.save(&pack('a'), body()).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(store.inner().files().len(), 1);
    assert_eq!(store.load(&pack('b'), u64::MAX).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.remove(&pack('a')).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(store.inner().files().len(), 0);
}

#[tokio::test]
async fn a_call_that_never_answers_has_no_effect_and_no_end() {
    let store = Fault::new(Mem::new());
    store.add(Rule::nth(1).named(&pack('b')).never_answers());
    store.save(&pack('a'), body()).await.unwrap();
    assert!(store.save(&pack('b'), body()).now_or_never().is_none());
    let calls = store.calls();
    assert_eq!((calls[0].ended, calls[1].ended), (Some(2), None));
    assert!(calls[0].succeeded() && !calls[1].succeeded());
    assert_eq!(store.inner().files().len(), 1);
}

#[tokio::test]
async fn a_list_breaks_off_after_its_entries() {
    let store = Fault::new(Mem::new());
    for digit in "0123456789".chars() {
        store.inner().put_raw(&pack(digit), vec![0]);
    }
    store.add(Rule::nth(1).breaks_off_after(3, ErrorKind::Unavailable));
    store.add(Rule::nth(2).fails_after_effect(ErrorKind::Unavailable));
    for listed in [3, 10] {
        let items: Vec<_> = store.list(FileKind::Pack).collect().await;
        assert_eq!(items.len(), listed + 1);
        assert!(items[..listed].iter().all(Result::is_ok) && items[listed].is_err());
    }
    let entries: Vec<_> = store.list(FileKind::Pack).try_collect().await.unwrap();
    assert_eq!(entries.len(), 10);
    let failures: Vec<_> = store.calls().iter().map(|call| call.failed).collect();
    assert_eq!(failures, [Some(ErrorKind::Unavailable), Some(ErrorKind::Unavailable), None]);
    assert!(store.calls().iter().all(|call| call.ended.is_some()));
}

#[tokio::test]
async fn calls_are_remembered_in_order_and_counted() {
    let store = Fault::new(Mem::new());
    store.create().await.unwrap();
    store.save(&pack('a'), body()).await.unwrap();
    store.save_new(&FileName::config(), body()).await.unwrap();
    store.list(FileKind::Index).try_collect::<Vec<_>>().await.unwrap();
    store.load(&pack('c'), u64::MAX).await.unwrap_err();
    let calls: Vec<_> = store.calls().iter().map(ToString::to_string).collect();
    assert_eq!(
        calls,
        ["create store", "save pack aaaaaaaa", "save config", "list index files", "load pack cccccccc"]
    );
    assert_eq!(store.calls()[4].failed, Some(ErrorKind::NotFound));
    assert_eq!((store.count(), store.count_of(Operation::Save)), (5, 2));
    assert_eq!(store.forget_calls().len(), 5);
    assert_eq!(store.count(), 0);
    store.create().await.unwrap();
    assert_eq!(store.calls()[0].began, 11, "moments go on");
}

#[tokio::test]
async fn another_actor_can_step_in_before_a_call() {
    let mem = Mem::new();
    let store = Fault::new(mem.clone());
    store.before_each(move |call| {
        let mem = mem.clone();
        async move {
            if call.operation == Operation::Save {
                mem.save_new(&FileName::config(), vec![9].into()).await.unwrap();
            }
        }
    });
    let error = store.save_new(&FileName::config(), body()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(store.load(&FileName::config(), u64::MAX).await.unwrap(), vec![9]);
}

use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;

use super::*;
use crate::Operation;
use crate::conformance;
use crate::fault::{Fault, Rule};
use crate::mem::Mem;

const POLICY: Policy = Policy {
    tries_max: 5,
    total_max: Duration::from_secs(60),
    first_delay: Duration::from_secs(1),
    delay_max: Duration::from_secs(8),
};

type Waits = Arc<Mutex<Vec<Duration>>>;

type Store = Arc<Fault<Mem>>;

fn retrying(policy: Policy) -> (Retry<Store>, Store, Waits) {
    let fault = Arc::new(Fault::new(Mem::new()));
    let waits = Waits::default();
    let told = Arc::clone(&waits);
    let retry = Retry::new(
        Arc::clone(&fault),
        policy,
        Box::new(move |error, delay| {
            assert!(!error.is_permanent());
            told.lock().unwrap().push(delay);
        }),
    );
    (retry, fault, waits)
}

fn index(number: u64) -> FileName {
    FileName::new(FileKind::Index, &format!("{number:064x}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn retry_around_memory_holds_the_contract() {
    let (retry, _, waits) = retrying(POLICY);
    conformance::check(Arc::new(retry)).await;
    assert!(waits.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retry_around_a_store_that_loses_answers_holds_the_contract() {
    let (retry, fault, waits) = retrying(Policy::default());
    fault.add(Rule::every(7).fails_after_effect(ErrorKind::Unavailable));
    fault.add(Rule::every(3).of(Operation::List).breaks_off_after(2, ErrorKind::Unavailable));
    for operation in [Operation::Create, Operation::Stat, Operation::Load, Operation::Remove] {
        fault.add(Rule::every(5).of(operation).fails(ErrorKind::Unavailable));
    }
    // Not on keys: where a new file is refused for one with the same bytes, a failure before makes it ours.
    for kind in [FileKind::Config, FileKind::Lock, FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        fault.add(Rule::every(5).of(Operation::Save).on(kind).fails(ErrorKind::Unavailable));
    }
    conformance::check(Arc::new(retry)).await;
    assert!(!waits.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_tried_again_with_growing_waits() {
    let (retry, fault, waits) = retrying(POLICY);
    fault.add(Rule::between(1, 4).fails(ErrorKind::Unavailable));
    retry.save(&index(1), vec![7; 9].into()).await.unwrap();
    assert_eq!(fault.inner().files()[&index(1)], vec![7; 9]);
    let waits = waits.lock().unwrap();
    assert_eq!(waits.len(), 4);
    for (wait, middle) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
        assert!(
            (middle * 0.5..middle * 1.5).contains(&wait.as_secs_f64()),
            "{wait:?} is not about {middle} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_returned_at_once() {
    let (retry, fault, waits) = retrying(POLICY);
    for kind in [ErrorKind::Full, ErrorKind::PermissionDenied, ErrorKind::UnusableBody, ErrorKind::OutOfRange]
    {
        fault.add(Rule::nth(1).fails(kind));
        assert_eq!(retry.save(&index(1), vec![1].into()).await.unwrap_err().kind, kind);
    }
    assert_eq!(retry.load(&index(1), u64::MAX).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(fault.calls().len(), 5);
    assert!(waits.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_in_number() {
    let (retry, fault, waits) = retrying(POLICY);
    fault.add(Rule::from_nth(1).fails(ErrorKind::Unavailable));
    assert_eq!(retry.create().await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(fault.calls().len(), 5);
    assert_eq!(waits.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_in_time_counted_from_the_first_failure() {
    let (retry, fault, _) = retrying(Policy { tries_max: u32::MAX, ..POLICY });
    fault.add(Rule::from_nth(1).fails(ErrorKind::Unavailable));
    // The first call alone takes longer than all the time there is for further ones.
    let slow = Mutex::new(Some(Duration::from_secs(300)));
    fault.before_each(move |_| {
        let first = slow.lock().unwrap().take();
        async move { tokio::time::sleep(first.unwrap_or_default()).await }
    });
    let began = Instant::now();
    assert_eq!(retry.stat(&index(1)).await.unwrap_err().kind, ErrorKind::Unavailable);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(300 + 60 - 12) && took <= Duration::from_secs(300 + 60), "{took:?}");
    // 1, 2, 4 and then 8 seconds on average, each between half and one and a half of that.
    assert!((6..=22).contains(&fault.calls().len()), "{} calls", fault.calls().len());
}

#[tokio::test(start_paused = true)]
async fn by_default_a_store_may_be_away_for_a_quarter_of_an_hour_and_no_longer() {
    let (retry, fault, waits) = retrying(Policy::default());
    fault.add(Rule::from_nth(1).fails(ErrorKind::Unavailable));
    let start = Instant::now();
    retry.load(&index(1), 1).await.unwrap_err();
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    // The wait that would have ended later is not begun: a minute, and half of one by chance.
    assert!((13.5..=15.0).contains(&minutes), "{minutes}");
    assert!(waits.lock().unwrap().len() < 30, "no storm: {waits:?}");
}

#[test]
fn waits_grow_to_their_bound_and_never_overflow() {
    for failures in [1, 4, 31, 32, 33, 64, 1000, u32::MAX] {
        let delay = POLICY.delay(failures);
        assert!(
            delay >= POLICY.first_delay / 2 && delay <= POLICY.delay_max * 3 / 2,
            "{failures}: {delay:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_begins_again_without_a_name_twice() {
    let (retry, fault, waits) = retrying(POLICY);
    for number in 0..100 {
        fault.inner().put_raw(&spread(number), vec![0]);
    }
    fault.add(Rule::nth(1).of(Operation::List).breaks_off_after(30, ErrorKind::Unavailable));
    fault.add(Rule::nth(2).of(Operation::List).breaks_off_after(20, ErrorKind::Unavailable));
    fault.add(Rule::nth(3).of(Operation::List).breaks_off_after(60, ErrorKind::Unavailable));
    let entries: Vec<Entry> = retry.list(FileKind::Snapshot).try_collect().await.unwrap();
    let names: HashSet<_> = entries.iter().map(|entry| entry.file.clone()).collect();
    assert_eq!((entries.len(), names.len()), (100, 100));
    assert_eq!(waits.lock().unwrap().len(), 3);
}

fn spread(number: u64) -> FileName {
    FileName::new(
        FileKind::Snapshot,
        &format!("{:016x}{:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0),
    )
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_list_that_gets_further_each_time_may_break_more_often_than_the_tries() {
    let (retry, fault, _) = retrying(POLICY);
    for number in 0..50 {
        fault.inner().put_raw(&spread(number), vec![0]);
    }
    for time in 1..=49 {
        let entries = usize::try_from(time).unwrap();
        fault.add(Rule::nth(time).breaks_off_after(entries, ErrorKind::Unavailable));
    }
    let entries: Vec<Entry> = retry.list(FileKind::Snapshot).try_collect().await.unwrap();
    assert_eq!(entries.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_gets_further_ends_with_its_error() {
    let (retry, fault, _) = retrying(POLICY);
    for number in 0..50 {
        fault.inner().put_raw(&spread(number), vec![0]);
    }
    fault.add(Rule::from_nth(1).breaks_off_after(10, ErrorKind::Unavailable));
    let items: Vec<Result<Entry>> = retry.list(FileKind::Snapshot).collect().await;
    assert_eq!(items.len(), 11);
    assert_eq!(items[10].as_ref().unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(fault.calls().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn save_new_whose_answer_was_lost_succeeds_and_another_ones_file_does_not() {
    let (retry, fault, _) = retrying(POLICY);
    fault.add(Rule::nth(1).fails_after_effect(ErrorKind::Unavailable));
    retry.save_new(&index(1), vec![1, 2].into()).await.unwrap();

    // Somebody else was first while our own call failed.
    fault.add(Rule::nth(1).fails(ErrorKind::Unavailable));
    fault.inner().put_raw(&index(2), vec![3, 4]);
    let error = retry.save_new(&index(2), vec![1, 2].into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);

    // Without a failure before, equal bytes prove nothing.
    let error = retry.save_new(&index(2), vec![3, 4].into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(fault.inner().files()[&index(2)], vec![3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_when_is_not_asked_before() {
    let retry = Retry::new(Mem::new(), Policy::default(), Box::new(|_, _| {}));
    let began = Instant::now();
    let wait = Duration::from_secs(77);
    let busy = Error::new(ErrorKind::Throttled, Operation::Save, "it");
    retry.attempts().wait_after(Error { retry_after: Some(wait), ..busy }).await.unwrap();
    assert_eq!(began.elapsed(), wait);
}

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};

use pillion_backend::Operation;
use pillion_backend::fault::{Call, Fault, Rule};
use pillion_backend::mem::Mem;
use pillion_backend::retry::{Policy, Retry};

use super::super::fixture;
use super::*;

const QUICK: Pace = Pace { settle: Duration::ZERO, save_max: Duration::from_secs(60), key_cost: Cost::NONE };

fn creator() -> Creator {
    Creator { hostname: "test".to_owned(), username: "test".to_owned() }
}

fn init_on(backend: impl Backend) -> Result<Repository> {
    init_at_pace(QUICK, backend)
}

fn init_at_pace(pace: Pace, backend: impl Backend) -> Result<Repository> {
    init_at(
        pace,
        Form::default(),
        &fixture::store(backend),
        fixture::PASSWORD,
        &creator(),
        Settings::default(),
    )
}

/// Lets one of several actors make its next store call, then the one that `choose` names, and so on.
struct Stage {
    actors: Mutex<Vec<Actor>>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Actor {
    Working,
    Waiting,
    /// Has saved a config and waits for the others' to show: goes on when nobody else can.
    Settling,
    Called,
    Done,
}

impl Stage {
    fn set(&self, number: usize, actor: Actor) {
        self.actors.lock().unwrap()[number] = actor;
        self.changed.notify_all();
    }

    fn wait_for_turn(&self, number: usize, waits_as: Actor) {
        self.set(number, waits_as);
        let actors = self.actors.lock().unwrap();
        let mut actors = self.changed.wait_while(actors, |actors| actors[number] != Actor::Called).unwrap();
        actors[number] = Actor::Working;
    }

    /// Runs until all are done. `choose` gets the numbers of those who can go on.
    fn direct(&self, mut choose: impl FnMut(&[usize]) -> usize) {
        loop {
            let actors = self.actors.lock().unwrap();
            let is_busy = |actor: &Actor| matches!(actor, Actor::Working | Actor::Called);
            let mut actors = self.changed.wait_while(actors, |actors| actors.iter().any(is_busy)).unwrap();
            let in_state = |state: Actor| {
                (0..actors.len()).filter(|number| actors[*number] == state).collect::<Vec<_>>()
            };
            let waiting = in_state(Actor::Waiting);
            let able = if waiting.is_empty() { in_state(Actor::Settling) } else { waiting };
            if able.is_empty() {
                return;
            }
            let chosen = choose(&able);
            if actors[chosen] == Actor::Settling {
                // The time is over for all who were in it.
                for actor in actors.iter_mut().filter(|actor| **actor == Actor::Settling) {
                    *actor = Actor::Waiting;
                }
            }
            actors[chosen] = Actor::Called;
            self.changed.notify_all();
        }
    }
}

/// All init at once on one store; the order of their calls is `choose`'s.
fn race(store: &Mem, actors: usize, choose: impl FnMut(&[usize]) -> usize) {
    let stage = Arc::new(Stage { actors: Mutex::new(vec![Actor::Working; actors]), changed: Condvar::new() });
    let results: Vec<Result<Repository>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|number| {
                let (stage, store) = (Arc::clone(&stage), store.clone());
                scope.spawn(move || {
                    let faulty = Fault::new(store);
                    let (hook_stage, has_saved) = (Arc::clone(&stage), AtomicBool::new(false));
                    faulty.before_each(move |call| {
                        hook_stage.wait_for_turn(number, waits_as(&call, &has_saved));
                        std::future::ready(())
                    });
                    let result = init_on(faulty);
                    stage.set(number, Actor::Done);
                    result
                })
            })
            .collect();
        stage.direct(choose);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut files = BTreeMap::new();
    for file in store.files().keys() {
        *files.entry(file.kind()).or_insert(0) += 1;
    }
    assert_eq!(files, BTreeMap::from([(FileKind::Config, 1), (FileKind::Key, 1)]), "losers leave nothing");
    let won: Vec<&Repository> = results.iter().flatten().collect();
    let [winner] = won[..] else { panic!("one wins: {results:?}") };
    let opened = fixture::open(store.clone());
    assert_eq!((&opened.config, opened.key_id()), (&winner.config, winner.key_id()));
    for lost in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(lost, Error::AlreadyInitialized { .. } | Error::HalfRepository { .. }), "{lost:?}");
    }
}

/// The look at the config after our own was saved is the one that time was given for. What is waited for before saves
/// trouble and decides nothing: it is as if there were no time.
fn waits_as(call: &Call, has_saved: &AtomicBool) -> Actor {
    let is_config = call.kind == Some(FileKind::Config);
    match call.operation {
        Operation::Save if is_config => has_saved.store(true, SeqCst),
        Operation::Load if is_config && has_saved.swap(false, SeqCst) => return Actor::Settling,
        _ => {}
    }
    Actor::Waiting
}

fn stores() -> [Mem; 3] {
    [Mem::new(), Mem::without_save_new(), Mem::with_false_save_new()]
}

#[test]
fn of_two_who_init_at_once_one_wins_whoever_is_held_up_where() {
    for (first_stop, second_stop) in (0..14).flat_map(|first| (0..14).map(move |second| (first, second))) {
        for store in stores() {
            let mut made = [0, 0];
            race(&store, 2, |able| {
                let preferred = usize::from(made[0] >= first_stop && made[1] < second_stop);
                let chosen = if able.contains(&preferred) { preferred } else { able[0] };
                made[chosen] += 1;
                chosen
            });
        }
    }
}

#[test]
fn of_many_who_init_at_once_one_wins_in_any_order() {
    for seed in 0..150 {
        for (actors, store) in [2, 3, 5].into_iter().flat_map(|actors| stores().map(|store| (actors, store)))
        {
            let mut random = fastrand::Rng::with_seed(seed);
            race(&store, actors, |able| able[random.usize(..able.len())]);
        }
    }
}

#[test]
fn a_stop_at_any_call_of_init_leaves_a_repository_that_opens_or_none() {
    let rules: [fn(u64) -> Rule; 4] = [
        |n| Rule::from_nth(n).fails(ErrorKind::Unavailable),
        |n| Rule::nth(n).fails(ErrorKind::Unavailable),
        |n| Rule::nth(n).fails_after_effect(ErrorKind::Unavailable),
        |n| Rule::from_nth(n).fails_after_effect(ErrorKind::Unavailable),
    ];
    for (rule, n) in rules.into_iter().flat_map(|rule| (1..16).map(move |n| (rule, n))) {
        for store in stores() {
            let faulty = Fault::new(store.clone());
            faulty.add(rule(n));
            let result = init_on(faulty);
            let has_config = store.files().contains_key(&FileName::config());
            assert!(has_config || result.is_err(), "call {n}");
            if has_config {
                fixture::open(store.clone());
                assert!(matches!(init_on(store), Err(Error::AlreadyInitialized { .. })));
                continue;
            }
            // What the dead one left is in nobody's way for ever.
            let hours_ago = SystemTime::now() - 2 * DEAD_INIT_AGE;
            for file in store.files().keys() {
                store.set_modified(file, hours_ago);
            }
            init_on(store).unwrap_or_else(|e| panic!("call {n}: {e}"));
        }
    }
}

#[test]
fn nothing_is_made_where_somebody_s_repository_may_be() {
    let check = |file: FileName, age: Duration| {
        let store = Mem::new();
        store.put_raw(&file, "something");
        store.set_modified(&file, SystemTime::now() - age);
        let files = store.files();
        let refused = init_on(store.clone());
        assert!(matches!(refused, Err(Error::HalfRepository { .. })), "{file}: {refused:?}");
        assert_eq!(store.files(), files);
    };
    let name = |kind| file_name(kind, &Id::of(b"something"));
    check(name(FileKind::Snapshot), 2 * DEAD_INIT_AGE);
    check(name(FileKind::Pack), 2 * DEAD_INIT_AGE);
    check(name(FileKind::Key), DEAD_INIT_AGE / 2);
}

const SOMEBODY_S: &[u8] = b"another's config";

/// Somebody else's config appears while ours is being saved, and what `rest` says happens before ours arrives.
fn overtaken<F>(store: &Mem, rest: impl Fn() -> F + Send + Sync + Clone + 'static) -> Fault<Mem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let faulty = Fault::new(store.clone());
    let stored = store.clone();
    faulty.before_each(move |call| {
        let is_ours = call.operation == Operation::Save && call.kind == Some(FileKind::Config);
        if is_ours {
            stored.put_raw(&FileName::config(), SOMEBODY_S);
        }
        let rest = rest.clone();
        async move {
            if is_ours {
                rest().await;
            }
        }
    });
    faulty
}

fn assert_lost(store: &Mem, result: &Result<Repository>) {
    assert!(matches!(result, Err(Error::AlreadyInitialized { .. })), "{result:?}");
    assert_eq!(store.files(), BTreeMap::from([(FileName::config(), SOMEBODY_S.into())]));
}

#[test]
fn a_config_that_is_held_up_does_not_overwrite_another_that_counts_by_then() {
    let pace = Pace { save_max: Duration::from_millis(50), ..QUICK };
    for store in [Mem::without_save_new(), Mem::with_false_save_new()] {
        let faulty = overtaken(&store, || tokio::time::sleep(Duration::from_secs(20)));
        assert_lost(&store, &init_at_pace(pace, faulty));
    }
}

#[test]
fn a_store_that_is_always_too_slow_is_told_and_left_as_it_was() {
    let pace = Pace { save_max: Duration::from_millis(5), ..QUICK };
    let store = Mem::without_save_new();
    let faulty = Fault::new(store.clone());
    faulty.add(Rule::from_nth(1).of(Operation::Save).on(FileKind::Config).never_answers());
    let result = init_at_pace(pace, faulty);
    assert!(matches!(&result, Err(Error::Refused(why)) if why.contains("longer")), "{result:?}");
    assert_eq!(store.files(), BTreeMap::new());
}

#[test]
fn a_store_that_decides_does_so_although_its_answer_to_our_question_was_lost() {
    let store = Mem::new();
    let faulty = overtaken(&store, || std::future::ready(()));
    // The second save of the key is the question.
    faulty.add(Rule::nth(2).of(Operation::Save).on(FileKind::Key).fails(ErrorKind::Unavailable));
    let policy = Policy { first_delay: Duration::ZERO, ..Policy::default() };
    let retried = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&retried);
    let result = init_on(Retry::new(faulty, policy, Box::new(move |_, _| seen.store(true, SeqCst))));
    assert!(retried.load(SeqCst));
    assert_lost(&store, &result);
}

#[test]
fn how_old_a_key_is_does_not_depend_on_the_clock_of_who_asks() {
    let name = file_name(FileKind::Key, &Id::of(b"something"));
    // The store's clock is a day behind ours or ahead of it; somebody's key was saved a moment ago.
    for store_s_now in [SystemTime::now() - 24 * DEAD_INIT_AGE, SystemTime::now() + 24 * DEAD_INIT_AGE] {
        let store = Mem::new();
        store.put_raw(&name, "something");
        store.set_modified(&name, store_s_now);
        let faulty = Fault::new(store.clone());
        let (aged, somebody_s) = (store.clone(), name.clone());
        faulty.before_each(move |_| {
            for file in aged.files().keys().filter(|file| **file != somebody_s) {
                aged.set_modified(file, store_s_now);
            }
            std::future::ready(())
        });
        let files = store.files();
        let refused = init_on(faulty);
        assert!(matches!(refused, Err(Error::HalfRepository { .. })), "{refused:?}");
        assert_eq!(store.files(), files);
    }
}

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

/// Gives a save up soon.
const HASTY: Pace = Pace { save_max: Duration::from_millis(5), ..QUICK };

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
    /// Has saved a config and waits for the others' to show, or for the others to leave the field: goes on when nobody
    /// else can.
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

/// All init at once on one store; the order of their calls is `choose`'s. Gives what became of each, and what the first
/// asked the store.
fn race(
    store: &Mem,
    pace: Pace,
    actors: usize,
    rules_of_first: &[Rule],
    choose: impl FnMut(&[usize]) -> usize,
) -> (Vec<Result<Repository>>, Vec<Call>) {
    let stage = Arc::new(Stage { actors: Mutex::new(vec![Actor::Working; actors]), changed: Condvar::new() });
    let calls_of_first = Arc::new(Mutex::new(Vec::new()));
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|number| {
                let (stage, store) = (Arc::clone(&stage), store.clone());
                let calls_of_first = Arc::clone(&calls_of_first);
                scope.spawn(move || {
                    let faulty = Fault::new(store.clone());
                    if number == 0 {
                        rules_of_first.iter().for_each(|rule| faulty.add(rule.clone()));
                    }
                    let (hook_stage, memory) = (Arc::clone(&stage), Mutex::new(Memory::default()));
                    faulty.before_each(move |call| {
                        let mut memory = memory.lock().unwrap();
                        hook_stage.wait_for_turn(number, memory.waits_as(&call));
                        memory.note(&call, &store);
                        if number == 0 {
                            calls_of_first.lock().unwrap().push(call);
                        }
                        std::future::ready(())
                    });
                    let result = init_at_pace(pace, faulty);
                    stage.set(number, Actor::Done);
                    result
                })
            })
            .collect();
        stage.direct(choose);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let calls = std::mem::take(&mut *calls_of_first.lock().unwrap());
    (results, calls)
}

fn assert_one_wins(store: &Mem, results: &[Result<Repository>]) {
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
        assert!(matches!(lost, Error::AlreadyInitialized { .. } | Error::UnfinishedInit { .. }), "{lost:?}");
    }
}

/// What an actor has done so far.
#[derive(Default)]
struct Memory {
    has_saved: bool,
    has_seen_others: bool,
}

impl Memory {
    /// The look at the config after our own was saved is one that time was given for, and so is the look at the keys after
    /// others' were seen. What is waited for before that decides nothing: it is as if there were no time.
    fn waits_as(&self, call: &Call) -> Actor {
        match (call.operation, call.kind) {
            (Operation::Load, Some(FileKind::Config)) if self.has_saved => Actor::Settling,
            (Operation::List, Some(FileKind::Key)) if self.has_seen_others => Actor::Settling,
            _ => Actor::Waiting,
        }
    }

    fn note(&mut self, call: &Call, store: &Mem) {
        let is_key = |file: &&FileName| file.kind() == FileKind::Key;
        match (call.operation, call.kind) {
            (Operation::Save, Some(FileKind::Config)) => self.has_saved = true,
            (Operation::Load, Some(FileKind::Config)) => self.has_saved = false,
            (Operation::List, Some(FileKind::Key)) => {
                self.has_seen_others = store.files().keys().filter(is_key).count() > 1;
            }
            _ => {}
        }
    }
}

fn stores() -> [Mem; 3] {
    [Mem::new(), Mem::without_save_new(), Mem::with_false_save_new()]
}

#[test]
fn of_two_who_init_at_once_one_wins_whoever_is_held_up_where() {
    for (first_stop, second_stop) in (0..16).flat_map(|first| (0..16).map(move |second| (first, second))) {
        for store in stores() {
            let (results, _) = race(&store, QUICK, 2, &[], held_up(first_stop, second_stop));
            assert_one_wins(&store, &results);
        }
    }
}

/// The first makes so many calls, then the second so many, then the first goes on.
fn held_up(first_stop: usize, second_stop: usize) -> impl FnMut(&[usize]) -> usize {
    let mut made = [0, 0];
    move |able| {
        let preferred = usize::from(made[0] >= first_stop && made[1] < second_stop);
        let chosen = if able.contains(&preferred) { preferred } else { able[0] };
        made[chosen] += 1;
        chosen
    }
}

#[test]
fn of_many_who_init_at_once_one_wins_in_any_order() {
    for seed in 0..150 {
        for (actors, store) in [2, 3, 5].into_iter().flat_map(|actors| stores().map(|store| (actors, store)))
        {
            let mut random = fastrand::Rng::with_seed(seed);
            let (results, _) = race(&store, QUICK, actors, &[], |able| able[random.usize(..able.len())]);
            assert_one_wins(&store, &results);
        }
    }
}

/// The first one's save of a config is held up on its way, and given up.
fn check_late(store: &Mem, actors: usize, choose: impl FnMut(&[usize]) -> usize) {
    let config_save = || Rule::nth(1).of(Operation::Save).on(FileKind::Config);
    let (results, calls) = race(store, HASTY, actors, &[config_save().never_answers()], choose);
    let save_of =
        |kind| calls.iter().find(|call| call.operation == Operation::Save && call.kind == Some(kind));
    if save_of(FileKind::Config).is_none() {
        return assert_one_wins(store, &results);
    }
    // It may arrive from now on, and be what counts. That is right if it is the first one's repository, or nobody's.
    assert!(results[1..].iter().all(Result::is_err), "{results:?}");
    let key = save_of(FileKind::Key).and_then(|call| call.file.clone()).unwrap();
    let keys = store.files().into_keys().filter(|file| file.kind() == FileKind::Key);
    assert_eq!(keys.collect::<Vec<_>>(), [key], "it can be opened");
}

#[test]
fn a_config_that_was_given_up_and_arrives_late_takes_nothing_from_anybody() {
    let overwriting = || [Mem::without_save_new(), Mem::with_false_save_new()];
    for (first_stop, second_stop) in (0..16).flat_map(|first| (0..16).map(move |second| (first, second))) {
        for store in overwriting() {
            check_late(&store, 2, held_up(first_stop, second_stop));
        }
    }
    for (seed, store) in (0..100).flat_map(|seed| overwriting().map(|store| (seed, store))) {
        let mut random = fastrand::Rng::with_seed(seed);
        check_late(&store, 3, |able| able[random.usize(..able.len())]);
    }
}

#[test]
fn whoever_got_no_answer_to_the_save_of_a_config_leaves_the_key_that_opens_it() {
    for store in stores() {
        let faulty = Fault::new(store.clone());
        faulty.add(
            Rule::nth(1).of(Operation::Save).on(FileKind::Config).fails_after_effect(ErrorKind::Unavailable),
        );
        // It does not show at once.
        faulty.add(Rule::nth(3).of(Operation::Load).on(FileKind::Config).fails(ErrorKind::NotFound));
        faulty.add(Rule::nth(2).of(Operation::Load).on(FileKind::Config).fails(ErrorKind::NotFound));
        init_on(faulty).unwrap_err();
        fixture::open(store);
    }
}

#[test]
fn a_save_of_the_config_that_is_refused_leaves_nothing() {
    for store in stores() {
        let faulty = Fault::new(store.clone());
        faulty.add(Rule::from_nth(1).of(Operation::Save).on(FileKind::Config).fails(ErrorKind::Full));
        init_on(faulty).unwrap_err();
        assert_eq!(store.files(), BTreeMap::new());
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
    let check = |file: FileName, age: Duration, sentence: &str| {
        let store = Mem::new();
        store.put_raw(&file, "something");
        store.set_modified(&file, SystemTime::now() - age);
        let files = store.files();
        let refused = init_on(store.clone()).unwrap_err();
        assert!(refused.to_string().contains(sentence), "{file}: {refused}");
        assert_eq!(store.files(), files);
    };
    let name = |kind| file_name(kind, &Id::of(b"something"));
    check(name(FileKind::Snapshot), 2 * DEAD_INIT_AGE, "what is left of a repository");
    check(name(FileKind::Pack), 2 * DEAD_INIT_AGE, "what is left of a repository");
    check(name(FileKind::Key), DEAD_INIT_AGE / 2, "somebody is making a repository there at this moment");
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
        let result = init_at_pace(pace, faulty);
        assert!(matches!(result, Err(Error::AlreadyInitialized { .. })), "{result:?}");
        assert_eq!(store.files()[&FileName::config()], SOMEBODY_S);
    }
}

#[test]
fn a_store_that_is_always_too_slow_is_told_and_nobody_saves_a_config_there_before_the_key_is_dead() {
    let store = Mem::without_save_new();
    let faulty = Fault::new(store.clone());
    faulty.add(Rule::from_nth(1).of(Operation::Save).on(FileKind::Config).never_answers());
    let result = init_at_pace(HASTY, faulty);
    assert!(matches!(&result, Err(Error::Refused(why)) if why.contains("longer")), "{result:?}");
    let left = store.files();
    let [key] = left.keys().collect::<Vec<_>>()[..] else { panic!("the key is left: {left:?}") };
    assert!(matches!(init_on(store.clone()), Err(Error::UnfinishedInit { .. })));
    assert_eq!(store.files(), left);
    store.set_modified(key, SystemTime::now() - 2 * DEAD_INIT_AGE);
    init_on(store).unwrap();
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
        assert!(matches!(refused, Err(Error::UnfinishedInit { .. })), "{refused:?}");
        assert_eq!(store.files(), files);
    }
}

//! What whoever holds the workload still is told, and when.

use pillion_backend::Operation;
use pillion_backend::fault::Fault;
use rustix::io::Errno;

use super::*;
use crate::source::script::Call;

/// What was said to it, in order, with what had happened by then.
struct Told {
    faulty: Arc<Fault<Mem>>,
    script: Arc<Script>,
    words: Mutex<Vec<String>>,
    refuses: bool,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Told {
    fn add(&self, word: &str) {
        let calls: Vec<_> = self.faulty.calls();
        let calls = calls.iter().map(|call| {
            let kind = call.kind.map_or("store", FileKind::noun);
            format!("{} {kind}", call.operation)
        });
        let listed = self.script.calls(Call::Names, "/data/dir");
        self.words
            .lock()
            .unwrap()
            .push(format!("{word} after {}; {listed} listed", calls.collect::<Vec<_>>().join(", ")));
    }
}

impl Quiesce for Told {
    fn before_reading(&self, _: &CancellationToken) -> Result<()> {
        self.add("begin");
        match self.refuses {
            false => Ok(()),
            true => Err(Error::Refused("not now".to_owned())),
        }
    }

    fn after_reading(&self) {
        self.add("end");
    }
}

fn scene(refuses: bool) -> (Bench, Arc<Told>) {
    let bench = Bench::new();
    bench.script.file("/data/dir/file", b"content");
    let faulty = Arc::new(Fault::new(bench.store.clone()));
    let script = Arc::clone(&bench.script);
    (bench, Arc::new(Told { faulty, script, words: Mutex::default(), refuses }))
}

fn run_telling(bench: &Bench, told: &Arc<Told>) -> Result<Report> {
    let options = Options { quiesce: Some(Arc::clone(told) as Arc<dyn Quiesce>), ..bench.options() };
    let repository = fixture::open(Arc::clone(&told.faulty));
    told.faulty.forget_calls();
    backup(&repository, &options, &Silent, &Progress::default())
}

const LOCKED_AND_READ: &str = "list lock, save lock, list snapshot, list index, list lock";

#[test]
fn the_source_is_read_between_the_two_words_with_the_lock_held_and_the_lists_read() {
    let (bench, told) = scene(false);
    run_telling(&bench, &told).unwrap();
    let words = told.words.lock().unwrap().clone();
    assert_eq!(words[0], format!("begin after {LOCKED_AND_READ}; 0 listed"));
    assert_eq!(words[1], format!("end after {LOCKED_AND_READ}; 1 listed"), "no pack is waited for");
    assert_eq!(words.len(), 2);
}

#[test]
fn a_refusal_ends_the_run_with_nothing_read_and_is_followed_by_the_second_word() {
    let (bench, told) = scene(true);
    let refused = run_telling(&bench, &told);
    assert!(matches!(&refused, Err(Error::Refused(why)) if why == "not now"), "{refused:?}");
    let words = told.words.lock().unwrap().clone();
    let expected = ["begin", "end"].map(|word| format!("{word} after {LOCKED_AND_READ}; 0 listed"));
    assert_eq!(words, expected);
    let saved = told.faulty.calls().into_iter().filter(|call| call.operation == Operation::Save).count();
    assert_eq!(saved, 1, "the lock");
}

#[test]
fn whatever_ends_the_reading_is_followed_by_the_second_word() {
    let (bench, told) = scene(false);
    bench.script.fail_always(Call::Names, "/data/dir", Errno::IO);
    run_telling(&bench, &told).unwrap();
    assert_eq!(told.words.lock().unwrap().len(), 2);

    let (bench, told) = scene(false);
    bench.script.before(Call::Names, "/data/dir", 1, |_| panic!("the test's script says so"));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_telling(&bench, &told)));
    assert!(ended.is_err());
    assert_eq!(told.words.lock().unwrap().len(), 2);
}

//! The command line as a person types it.

use clap::CommandFactory;

use super::filter::{GroupBy, SnapshotOptions};
use super::output::Verbosity;
use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' ').filter(|word| !word.is_empty()))
}

fn backup(line: &str, variables: &[(&str, &str)]) -> Result<backup::Options, String> {
    let Command::Backup(options) = parse(line).unwrap().command else { panic!("{line} is a backup") };
    options.resolve(&Environment::from_iter(variables.iter().copied())).map_err(|failure| failure.message)
}

#[test]
fn the_definitions_contradict_nothing() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_is_understood_as_restic_understands_it() {
    for line in [
        "pillion init -r /r --json",
        "pillion -r /r backup -x -e *.o --iexclude *.TMP --exclude-file f --exclude-if-present .n --exclude-larger-than 1G /a",
        "pillion backup --exclude-caches --files-from l --files-from-verbatim v --files-from-raw w --tag a,b --tag c -H h",
        "pillion backup --stdin --stdin-filename db.sql --time 2012-11-01 -f -n --group-by= --parent latest",
        "pillion backup --stdin-from-command -- pg_dump -U me",
        "pillion snapshots -c --latest 2 -g host,tags --tag a --host h --path /p latest",
        "pillion ls -l --recursive latest:/a /b",
        "pillion ls -s size --reverse latest",
        "pillion ls --sort mtime --human-readable --ncdu latest",
        "pillion find --blob --show-pack-id abcd 0123",
        "pillion find --tree -s latest abcd",
        "pillion find -i -R -l -O 2012-11-01 -N 2013-01-01 -s abcd *.txt",
        "pillion restore latest:/x -t /t --overwrite if-newer --delete --include /a --no-special -vv",
        "pillion dump latest /etc/passwd -a tar -t /f",
        "pillion dump --archive zip latest /etc",
        "pillion diff --metadata abcd latest",
        "pillion check --read-data-subset 1/5 --no-cache --retry-lock 5m",
        "pillion stats --mode raw-data latest",
        "pillion unlock --remove-all -q",
        "pillion agent --config /c --check-config",
        "pillion agent --sample /d",
        "pillion snapshots -o s3.connections=3,s3.region=r -o b2.connections=2 --cacert a,b --cacert c",
        "pillion --limit-upload 100 --insecure-tls restore latest -t /t --limit-download=0",
        "pillion version",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn help_is_a_verb_too() {
    let told = parse("pillion help find").unwrap_err();
    assert_eq!(told.kind(), clap::error::ErrorKind::DisplayHelp);
    assert!(told.to_string().contains("--show-pack-id"), "{told}");
}

#[test]
fn wrong_usage_is_refused_with_exit_code_1() {
    for line in [
        "pillion",
        "pillion nope",
        "pillion snapshots --nope",
        "pillion -q -v snapshots",
        "pillion check --read-data --read-data-subset 1/2",
        "pillion check --read-data-subset 3/2",
        "pillion check --read-data-subset 0%",
        "pillion check --read-data-subset 1/257",
        "pillion restore latest",
        "pillion restore latest -t /t --overwrite perhaps",
        "pillion backup --pack-size 1 /a",
        "pillion backup --compression best /a",
        "pillion backup --exclude-larger-than big /a",
        "pillion find",
        "pillion diff latest",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(if error.use_stderr() { Exit::Failed } else { Exit::Done }, Exit::Failed, "{line}");
    }
    assert!(!parse("pillion backup --help").unwrap_err().use_stderr());
}

#[test]
fn a_backup_needs_one_kind_of_source() {
    assert!(backup("pillion backup", &[]).unwrap_err().contains("nothing to backup"));
    assert!(backup("pillion backup --stdin /a", &[]).is_err());
    assert!(backup("pillion backup --stdin --files-from l", &[]).is_err());
    assert!(backup("pillion backup --stdin --stdin-from-command x", &[]).is_err());
    assert!(backup("pillion backup --stdin-from-command", &[]).is_err());
    let command = backup("pillion backup --stdin-from-command -- pg_dump -U me", &[]).unwrap();
    assert_eq!(command.targets, ["pg_dump", "-U", "me"].map(std::path::PathBuf::from));
    assert!(backup("pillion backup --files-from l", &[]).is_ok());
}

#[test]
fn variables_stand_in_for_options_of_a_backup() {
    let variables = [("RESTIC_HOST", "v"), ("RESTIC_IGNORE_CTIME", "true"), ("RESTIC_READ_CONCURRENCY", "3")];
    let options = backup("pillion backup --tag a,b --tag c /a", &variables).unwrap();
    assert_eq!(options.host.as_deref(), Some("v"));
    assert!(options.ignore_ctime && !options.ignore_inode);
    assert_eq!(options.read_concurrency, Some(3));
    assert_eq!(options.tags, ["a", "b", "c"]);
    assert_eq!(options.group_by, GroupBy { host: true, paths: true, tags: false });
    assert_eq!(backup("pillion backup -H f /a", &variables).unwrap().host.as_deref(), Some("f"));
    assert!(backup("pillion backup /a", &[("RESTIC_READ_CONCURRENCY", "x")]).is_err());
}

#[test]
fn the_repository_comes_from_one_place() {
    let location = |line: &str, variables: &[(&str, &str)]| {
        let environment = Environment::from_iter(variables.iter().copied());
        parse(line).unwrap().global.location(&environment).map_err(|failure| failure.message)
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("repository");
    std::fs::write(&file, "/from/file\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(location("pillion version -r /flag", &[("RESTIC_REPOSITORY", "/variable")]).unwrap(), "/flag");
    assert_eq!(location("pillion version", &[("RESTIC_REPOSITORY", "/variable")]).unwrap(), "/variable");
    assert_eq!(location("pillion version", &[("RESTIC_REPOSITORY_FILE", file)]).unwrap(), "/from/file");
    assert!(location("pillion version -r /flag", &[("RESTIC_REPOSITORY_FILE", file)]).is_err());
    assert_eq!(location("pillion version", &[]).unwrap_err(), "no repository location");
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    for line in ["pillion -vv --json -r /r snapshots", "pillion snapshots -vv --json -r /r"] {
        let global = parse(line).unwrap().global;
        assert_eq!((global.verbosity(), global.json), (Verbosity::Detailed, true), "{line}");
    }
    for (line, verbosity) in [
        ("pillion version -v", Verbosity::Verbose),
        ("pillion version -v --verbose", Verbosity::Detailed),
        ("pillion --verbose=2 version", Verbosity::Detailed),
        ("pillion -vv snapshots latest", Verbosity::Detailed),
        ("pillion snapshots -v latest", Verbosity::Verbose),
    ] {
        assert_eq!(parse(line).unwrap().global.verbosity(), verbosity, "{line}");
    }
    let global = parse("pillion version --compression max --pack-size 8").unwrap().global;
    let wrong = Environment::from_iter([("RESTIC_COMPRESSION", "x"), ("RESTIC_PACK_SIZE", "1")]);
    assert_eq!(global.compression(&wrong).unwrap(), crate::setting::Compression::Max);
    assert_eq!(global.pack_size(&wrong).unwrap().bytes(), 8 << 20);
    let none = parse("pillion version").unwrap().global;
    assert!(none.compression(&wrong).unwrap_err().message.starts_with("RESTIC_COMPRESSION: "));
    assert!(none.pack_size(&wrong).is_err());
}

#[test]
fn lists_of_a_connection_are_separated_by_commas_and_add_up() {
    let global =
        parse("pillion version -o s3.region=r,b2.x=1 --option c=d --cacert a,b --cacert c").unwrap().global;
    assert_eq!(global.option, ["s3.region=r", "b2.x=1", "c=d"]);
    assert_eq!(global.cacert, ["a", "b", "c"].map(std::path::PathBuf::from));
}

#[test]
fn the_other_repository_of_init_is_opened_with_the_same_keys() {
    let line = "pillion init -r /r --copy-chunker-params --from-repo azure:c:/ -o azure.connections=x";
    let (environment, global) = (
        Environment::from_iter([
            ("AZURE_ACCOUNT_NAME", "a"),
            ("AZURE_ACCOUNT_KEY", "k"),
            ("RESTIC_FROM_PASSWORD", "p"),
        ]),
        parse(line).unwrap().global,
    );
    let Command::Init(options) = parse(line).unwrap().command else { panic!("{line} is an init") };
    let output = Arc::new(global.output(&environment).unwrap());
    let told =
        |environment: &Environment| init::form(&options, &global, environment, &output).unwrap_err().message;
    assert_eq!(
        told(&environment),
        "-o azure.connections: \"x\" is no number of connections: it is one from 1 to 256"
    );
    let global = global::Options { option: Vec::new(), ..global };
    let from_variables =
        Environment::from_iter([("RESTIC_FROM_PASSWORD", "p"), ("RESTIC_FROM_AZURE_ACCOUNT_NAME", "a")]);
    let told = init::form(&options, &global, &from_variables, &output).unwrap_err().message;
    assert!(
        told.starts_with("no access to azure:c:/: AZURE_ACCOUNT_NAME is missing; AZURE_ACCOUNT_KEY is"),
        "{told}"
    );
}

#[test]
fn snapshots_are_chosen_by_host_tags_and_paths() {
    let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let environment = Environment::from_iter([("RESTIC_HOST", "v")]);
    assert_eq!(SnapshotOptions::default().resolve(&environment).hosts, ["v"]);
    let unset = SnapshotOptions { hosts: texts(&[""]), ..SnapshotOptions::default() };
    assert!(unset.resolve(&environment).hosts.is_empty());
    let options = SnapshotOptions {
        tags: texts(&["a, b", ""]),
        paths: texts(&["/p/../q/"]),
        ..SnapshotOptions::default()
    };
    let filter = options.resolve(&environment);
    assert_eq!(filter.tags, [texts(&["a", "b"]), texts(&[""])]);
    assert_eq!(filter.paths, ["/q"]);
}

#[test]
fn a_restore_that_would_empty_the_machine_is_refused() {
    let refused = |line: &str| {
        let Command::Restore(options) = parse(line).unwrap().command else { panic!("{line} is a restore") };
        options.refuse_contradictions().is_err()
    };
    assert!(refused("pillion restore latest -t / --delete"));
    assert!(refused("pillion restore latest -t // --delete"));
    assert!(refused("pillion restore latest -t /t -i a -e b"));
    assert!(!refused("pillion restore latest -t / --delete -i /etc"));
    assert!(!refused("pillion restore latest -t /t --delete"));
}

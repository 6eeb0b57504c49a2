//! Settings from all their places, good and bad.

use super::*;
use crate::environment::Environment;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const MINIMAL: &str = "repository: /backup\nsources: /data\nschedule: '0 3 * * 1'\n";

pub(in crate::agent) fn resolve(yaml: &str) -> Result<Config, Vec<String>> {
    Config::resolve(Raw::from_yaml(yaml).map_err(|problem| vec![problem])?)
}

#[test]
fn three_settings_are_enough() {
    let config = resolve(MINIMAL).unwrap();
    assert_eq!(config.plans[0].sources, [PathBuf::from("/data")]);
    assert_eq!(config.host, "host-0");
    assert_eq!(config.retry_lock, Duration::from_secs(600));
    assert_eq!(config.plans[0].schedule.zone(), chrono_tz::Tz::UTC);
    assert_eq!(config.snapshot_tags(&config.plans[0]), Vec::<String>::new());
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = resolve(
        "sources: [data, /a/../b]\nschedule: 0 0 30 2 *\ntimezone: UTC\nretryLock: soon\nexcludeCaches: perhaps\n\
         compression: best\npackSize: 3\ncacheSize: 100M\nlimitUpload: fast\nlimitDownload: -1\nrepositoryId: abc\nlogLevel: loud\ntags: ['a,b']\nretryMin: 1h\nretryMax: 1m\ntypo: 1\n",
    )
    .unwrap_err();
    for name in [
        "repository:",
        "sources:",
        "schedule:",
        "timezone:",
        "typo:",
        "retryLock:",
        "excludeCaches:",
        "compression:",
        "packSize:",
        "cacheSize:",
        "logLevel:",
        "tags:",
        "limitUpload:",
        "limitDownload:",
        "repositoryId:",
        "retryMax:",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(name)),
            "{name} is not among {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 17, "{problems:#?}");
}

#[test]
fn text_that_is_no_yaml_mapping_is_one_problem() {
    assert_eq!(resolve("- a\n- b\n").unwrap_err().len(), 1);
    assert_eq!(resolve("a: [").unwrap_err().len(), 1);
    let mapping = resolve(&format!("{MINIMAL}exclude: {{a: b}}\nhost: [a]\nnope: {{}}\n")).unwrap_err();
    assert_eq!(
        mapping,
        [
            "exclude: is a mapping: write a value or a list of them",
            "host: is a list: write one value",
            "nope: there is no such setting"
        ]
    );
    assert_eq!(resolve("").unwrap_err().len(), 3, "repository, sources and schedule are missing");
}

#[test]
fn what_yaml_would_take_for_a_number_is_the_text_that_was_written() {
    let config = resolve(&format!("{MINIMAL}host: 1.10\ntags: [1e3, 0x10, 1.10]\npackSize: 8\n")).unwrap();
    assert_eq!(config.host, "1.10");
    assert_eq!(config.plans[0].tags, ["1e3", "0x10", "1.10"]);
    assert_eq!(config.pack_size.mebibytes(), 8);
    assert_eq!(resolve(&config.to_yaml()).unwrap().to_yaml(), config.to_yaml());
    assert_eq!(resolve(&format!("{MINIMAL}tags: 007\n")).unwrap().plans[0].tags, ["007"]);
}

#[test]
fn what_every_run_would_refuse_is_refused_with_the_setting_s_name() {
    for (setting, problem) in [
        ("exclude: ['[']", "exclude: \"[\" is no pattern"),
        ("exclude: ['ok', 'a[']", "exclude: \"a[\" is no pattern"),
        ("iexclude: '[]'", "iexclude: \"[]\" is no pattern"),
        ("excludeIfPresent: ':x'", "excludeIfPresent: \":x\" names no file"),
        ("excludeFile: \"/a\\0b\"", "excludeFile: \"/a\\0b\" holds a zero byte"),
    ] {
        assert_eq!(resolve(&format!("{MINIMAL}{setting}\n")).unwrap_err(), [problem]);
    }
}

#[test]
fn a_variable_that_is_no_text_is_refused_with_its_name() {
    use std::os::unix::ffi::OsStringExt;
    for (_, variable) in raw::SETTINGS {
        let value = std::ffi::OsString::from_vec(b"/a\xff".to_vec());
        let environment = Environment::from_iter([(*variable, value)]);
        let layers = Raw::from_environment(&environment).over(Raw::from_yaml(MINIMAL).unwrap());
        assert_eq!(Config::resolve(layers).unwrap_err(), [format!("{variable}: is not UTF-8")]);
    }
}

#[test]
fn a_flag_hides_a_variable_and_a_variable_hides_the_file() {
    let environment = Environment::from_iter([
        ("PILLION_HOST", "from-variable"),
        ("PILLION_TAGS", "a, b"),
        ("PILLION_SOURCES", "/x,y\n/z"),
        ("PILLION_TYPO", "1"),
        ("PILLION_CONFIG", "ignored"),
    ]);
    let flags = Raw { repository: Some(Text("/flag".into())), ..Raw::default() };
    let file = Raw::from_yaml(&format!("{MINIMAL}host: from-file\ncompression: max\n")).unwrap();
    let config = Config::resolve(flags.over(Raw::from_environment(&environment)).over(file)).unwrap();
    assert_eq!(config.repository, Location::Local("/flag".into()));
    assert_eq!(config.host, "from-variable");
    assert_eq!(config.compression, Compression::Max);
    assert_eq!(config.plans[0].tags, ["a", "b"]);
    assert_eq!(config.plans[0].sources, [PathBuf::from("/x,y"), PathBuf::from("/z")]);
    assert_eq!(Raw::unknown_variables(&environment), ["PILLION_TYPO"]);
}

#[test]
fn what_is_shown_means_the_same_when_read_again() {
    let config = resolve(&format!(
        "{MINIMAL}identity: shop/StatefulSet/db/0\ntags: [nightly]\nexclude: ['*.tmp', '!keep.tmp']\nretryLock: 90s\n\
         repositoryId: {ID}\nlimitDownload: 100\nexcludeLargerThan: 1G\nexcludeCaches: true\ntimeZone: Europe/Berlin\njitter: auto\nlogFormat: json\n"
    ))
    .unwrap();
    let again = resolve(&config.to_yaml()).unwrap();
    assert_eq!(again.to_yaml(), config.to_yaml());
    assert_eq!(again.snapshot_tags(&again.plans[0]), ["pillion=shop/StatefulSet/db/0", "nightly"]);
    assert_eq!(again.plans[0].exclude, config.plans[0].exclude);
    assert_eq!(again.repository_id.unwrap().to_string(), ID);
    assert_eq!(again.connection.download_limit.rate().unwrap().bytes_per_second(), 102_400);
    assert_eq!(again.plans[0].exclude.larger_than_bytes, Some(1 << 30));
}

#[test]
fn a_location_that_no_run_could_open_is_refused_without_repeating_it() {
    for location in ["rest:https://user:hunter2@host:8000/x@y", "'s3:'", "s3:https://x", "c:/x", "local"] {
        let problems = resolve(&MINIMAL.replace("/backup", location)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("repository: "), "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn the_wait_doubles_up_to_its_bound() {
    let backoff = Backoff { min: Duration::from_secs(30), max: Duration::from_secs(900) };
    let waits: Vec<u64> = (1..=7).map(|failures| backoff.wait(failures).as_secs()).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900]);
    assert_eq!(backoff.wait(u32::MAX), backoff.max);
}

#[test]
fn the_file_is_read_again_only_when_it_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let mut source = Source::new(Raw::default(), &Environment::default(), Some(file.clone()));
    assert!(matches!(source.load(), Loaded::Bad(problems) if problems[0].contains("config.yaml")));
    assert!(matches!(source.load(), Loaded::Unchanged), "a missing file is told once");
    std::fs::write(&file, MINIMAL).unwrap();
    assert!(matches!(source.load(), Loaded::Good(_)));
    assert!(matches!(source.load(), Loaded::Unchanged));
    std::fs::write(&file, "typo: 1\n").unwrap();
    assert!(matches!(source.load(), Loaded::Bad(_)));
}

/// The cells of the first three columns of the README's table, less their backticks.
fn documented() -> Vec<[&'static str; 3]> {
    let page = include_str!("../../../../../README.md");
    let (_, section) = page.split_once("\n### Settings\n").expect("the page has the section");
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &'static str| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    rows.skip(2).map(cells).collect()
}

#[test]
fn the_readme_has_every_setting_with_its_variable_and_default() {
    let documented = documented();
    let names: Vec<_> = documented.iter().map(|[name, variable, _]| (*name, *variable)).collect();
    assert_eq!(names, raw::SETTINGS);

    let shown = resolve(MINIMAL).unwrap().to_yaml();
    let shown: std::collections::BTreeMap<String, serde_norway::Value> =
        serde_norway::from_str(&shown).unwrap();
    for [name, _, default] in documented {
        let expected = match (MINIMAL.contains(&format!("{name}:")), shown.get(name)) {
            (true, _) => "required",
            (false, None) => "none",
            (false, Some(value)) => value.as_str().unwrap(),
        };
        assert_eq!(default, expected, "{name}");
    }
}

#[test]
fn a_cache_has_room_for_the_packs_that_are_asked_for() {
    let cache_bytes = |more: &str| resolve(&format!("{MINIMAL}{more}")).map(|config| config.cache_bytes);
    assert_eq!(cache_bytes(""), Ok(512 << 20));
    assert!(cache_bytes("packSize: 128\n").is_ok_and(|bytes| bytes > 1 << 30), "large packs take more");
    assert_eq!(cache_bytes("cacheSize: 2G\n"), Ok(2 << 30));
    assert_eq!(cache_bytes("cacheSize: 121M\n"), Ok(121 << 20));
    assert_eq!(
        cache_bytes("cacheSize: 120M\n"),
        Err(vec!["cacheSize: \"120M\" is too small: packs of 16 MiB need at least 121M".to_owned()])
    );
    assert_eq!(cache_bytes("packSize: 4\ncacheSize: 41M\n"), Ok(41 << 20));
}

const PLANS: &str = "repository: /backup\nschedule: '@daily'\nexclude: '*.tmp'\nidentity: shop/db\nplans:\n  \
                     db: {sources: /db, schedule: '*/15 * * * *', tags: a}\n  files: {sources: [/x, /y], exclude: []}\n";

#[test]
fn a_plan_says_its_own_and_has_the_rest_from_outside() {
    let config = resolve(PLANS).unwrap();
    let [db, files] = &config.plans[..] else { panic!("two plans") };
    assert_eq!((db.name.as_ref().unwrap().as_str(), db.schedule.expression()), ("db", "*/15 * * * *"));
    assert_eq!((&db.exclude.patterns[..], &files.exclude.patterns[..]), (&["*.tmp".to_owned()][..], &[][..]));
    assert_eq!(files.schedule.expression(), "@daily");
    assert_eq!(config.snapshot_tags(db), ["pillion=shop/db", "pillion-plan=shop/db:db", "a"]);
    assert_eq!(config.own_tag(files).unwrap(), "pillion-plan=shop/db:files");
    assert_eq!(config.own_tag(&resolve(MINIMAL).unwrap().plans[0]).unwrap(), "pillion=shop/db");
    assert!(config.plan(None).is_none() && config.plan(db.name.as_ref()).is_some());

    let again = resolve(&config.to_yaml()).unwrap();
    assert_eq!(again.to_yaml(), config.to_yaml());
    assert_eq!(again.plans.len(), 2);
}

#[test]
fn what_only_the_whole_agent_can_have_is_refused_in_a_plan_and_every_problem_has_its_plan_s_name() {
    let wrong = "repository: /r\nplans:\n  db: {sources: data, schedule: nope, cacheDir: /c, typo: 1, hooks: {preBackup: {}}}\n  \
                 'A b': {sources: /s, schedule: '@daily'}\n  list: [a]\n";
    let mut problems = resolve(wrong).unwrap_err();
    problems.sort();
    for (problem, begin) in problems.iter().zip([
        "plans.db.cacheDir: is a setting of the whole agent",
        "plans.db.hooks.preBackup: holds no handler",
        "plans.db.schedule: ",
        "plans.db.sources: ",
        "plans.db.typo: there is no such setting",
        "plans.list: is no mapping",
        "plans: \"A b\" is no name",
    ]) {
        assert!(problem.starts_with(begin), "{begin}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert_eq!(resolve("repository: /r\nplans: {}\n").unwrap_err().len(), 1);
}

#[test]
fn every_setting_of_a_plan_is_one_and_what_a_hook_sends_is_hidden_there_too() {
    for name in plan::SETTINGS.into_iter().filter(|name| *name != "hooks") {
        assert!(raw::SETTINGS.iter().any(|(known, _)| *known == name), "{name}");
    }
    let hooks = "hooks: {preBackup: {httpPost: {port: 80, body: hunter2}}}";
    let config = resolve(&PLANS.replace("tags: a", hooks)).unwrap();
    assert!(config.to_yaml().contains("hunter2") && !config.to_shown_yaml().contains("hunter2"));
    assert!(config.plans[1].hooks.pre_backup.is_none());
}

#[test]
fn checks_have_a_schedule_of_their_own_and_may_have_a_zone() {
    assert!(resolve(MINIMAL).unwrap().check.is_none());
    let with = |more: &str| {
        resolve(&format!("{MINIMAL}{more}")).map(|config| {
            let again = resolve(&config.to_yaml()).unwrap();
            assert_eq!(again.to_yaml(), config.to_yaml());
            let (check, same) = (config.check.unwrap(), again.check.unwrap());
            assert_eq!((check.schedule.zone(), check.groups), (same.schedule.zone(), same.groups));
            (check.schedule.zone().to_string(), check.groups)
        })
    };
    let berlin = "timeZone: Europe/Berlin\n";
    assert_eq!(with("checkSchedule: 0 5 * * 0\n"), Ok(("UTC".to_owned(), 12)));
    let zoned = format!("{berlin}checkSchedule: 0 5 * * 0\ncheckGroups: 5\n");
    assert_eq!(with(&zoned), Ok(("Europe/Berlin".to_owned(), 5)));
    let own = format!("{berlin}checkSchedule: TZ=Asia/Tokyo 0 5 * * 0\n");
    assert_eq!(with(&own), Ok(("Asia/Tokyo".to_owned(), 12)));
    for wrong in ["checkSchedule: nope\n", "checkSchedule: '@daily'\ncheckGroups: 0\n", "checkGroups: 257\n"]
    {
        assert_eq!(resolve(&format!("{MINIMAL}{wrong}")).unwrap_err().len(), 1, "{wrong}");
    }
}

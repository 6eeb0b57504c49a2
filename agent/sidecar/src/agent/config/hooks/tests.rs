//! Hooks as manifests spell them, and as they must not be.

use super::super::Config;
use super::super::tests::resolve;
use super::*;

const MINIMAL: &str = "repository: /backup\nsources: /data\nschedule: '@daily'\n";

fn with(hooks: &str) -> Result<Config, Vec<String>> {
    resolve(&format!("{MINIMAL}{hooks}"))
}

/// As Stash's documentation has them, and with everything of ours.
const WHOLE: &str = "\
hooks:
  preBackup:
    exec:
      command: [/bin/sh, -c, mysql -e 'FLUSH TABLES WITH READ LOCK']
    containerName: mysql
    timeout: 5s
  postBackup:
    httpPost:
      host: Hooks.Example.COM
      port: 443
      scheme: HTTPS
      path: /services/T0?token=hunter2
      httpHeaders:
        - name: Authorization
          value: Bearer hunter2
        - {name: X-Empty}
      body: |
        {\"text\": \"hunter2\"}
    executionPolicy: OnFailure
  quiesceTimeout: 90s
hookHosts: [hooks.example.com, '[::2]']
";

#[test]
fn a_manifest_s_hooks_are_understood_and_shown_the_same_way() {
    let config = with(WHOLE).unwrap();
    let Hooks { pre_backup, post_backup, quiesce_timeout } = &config.plans[0].hooks;
    let pre = pre_backup.as_ref().unwrap();
    assert_eq!((pre.timeout, *quiesce_timeout), (Duration::from_secs(5), Duration::from_secs(90)));
    let Handler::Exec { container, command } = &pre.handler else { panic!("{pre:?}") };
    assert_eq!((container.as_str(), command.len()), ("mysql", 3));
    let (post, policy) = post_backup.as_ref().unwrap();
    assert_eq!((*policy, post.timeout), (ExecutionPolicy::OnFailure, DEFAULT_TIMEOUT));
    assert_eq!(post.handler.to_string(), "httpPost to hooks.example.com:443");
    let Handler::Http(request) = &post.handler else { panic!("{post:?}") };
    assert_eq!(request.headers.len(), 2);
    assert_eq!(request.path.expose(), b"/services/T0?token=hunter2");
    assert!(config.plans[0].hooks.closing().is_none(), "it may not run");

    let again = resolve(&config.to_yaml()).unwrap();
    assert_eq!((&again.plans[0].hooks, &again.hook_hosts), (&config.plans[0].hooks, &config.hook_hosts));
    assert_eq!(again.to_yaml(), config.to_yaml());
    let (shown, debug) = (config.to_shown_yaml(), format!("{config:?}"));
    assert!(shown.contains("Authorization") && shown.contains("/services/T0?(hidden)"), "{shown}");
    assert!(!shown.contains("hunter2") && !debug.contains("hunter2"), "{shown}{debug}");

    let others = "\
hooks:
  preBackup: {tcpSocket: {port: 5432, host: '::1'}}
  postBackup: {command: [/hooks/thaw, '1.10'], containerName: ignored}
";
    let config = with(others).unwrap();
    assert_eq!(
        config.plans[0].hooks.pre_backup.as_ref().unwrap().handler.to_string(),
        "tcpSocket to [::1]:5432"
    );
    assert!(config.plans[0].hooks.closing().is_some());
    assert_eq!(resolve(&config.to_yaml()).unwrap().plans[0].hooks, config.plans[0].hooks);
    assert_eq!(with("").unwrap().plans[0].hooks, Hooks::default());
}

#[test]
fn a_hook_reaches_this_machine_itself_and_what_the_settings_name() {
    let get = |host: &str, hosts: &str| {
        with(&format!(
            "hooks: {{preBackup: {{httpGet: {{port: 80, host: '{host}'}}}}}}\nhookHosts: [{hosts}]\n"
        ))
    };
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
        assert!(get(host, "").is_ok(), "{host}");
    }
    for host in [
        "169.254.169.254",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "example.com",
        "localhost.example.com",
        "localhost.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "10.0.0.1",
    ] {
        let problems = get(host, "another.example.com").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("hooks.preBackup.httpGet.host: ") && problems[0].contains("hookHosts")
        );
        assert!(get(host, &format!("'{host}'")).is_ok(), "{host}");
    }
    for host in ["a@b", "a/b", "a b", "localhost:80", "localhost#", "localhost\\x"] {
        let problems = get(host, "").unwrap_err();
        assert!(problems[0].contains("is no host"), "{problems:?}");
    }
}

#[test]
fn every_problem_of_hooks_is_named_at_once_and_no_secret() {
    let problems = with("\
hooks:
  preBackup:
    httpGet: {port: http, scheme: FTP, path: 'a b', httpHeaders: [{name: 'a:b', value: 'hunter2 {{ .Status }}'}, {x: 1}]}
    tcpSocket: {port: 0}
    executionPolicy: Always
    timeout: 0s
  postBackup:
    exec: {command: []}
    executionPolicy: Sometimes
    httpHeaders: []
  onError: {}
  quiesceTimeout: soon
")
    .unwrap_err();
    for name in [
        "hooks.preBackup: holds httpGet and tcpSocket: keep one",
        "hooks.preBackup.httpGet.port: \"http\" is no port",
        "hooks.preBackup.httpGet.scheme: ",
        "hooks.preBackup.httpGet.path: holds a blank",
        "hooks.preBackup.httpGet.httpHeaders[0].name: ",
        "hooks.preBackup.httpGet.httpHeaders[0].value: holds a template",
        "hooks.preBackup.httpGet.httpHeaders[1].name: is not set",
        "hooks.preBackup.httpGet.httpHeaders[1].x: there is no such setting",
        "hooks.preBackup.tcpSocket.port: ",
        "hooks.preBackup.executionPolicy: there is no such setting",
        "hooks.preBackup.timeout: must be longer than nothing",
        "hooks.postBackup.exec.command: holds no words",
        "hooks.postBackup.containerName: is not set, and exec needs it",
        "hooks.postBackup.executionPolicy: \"Sometimes\" is none of",
        "hooks.postBackup.httpHeaders: there is no such setting",
        "hooks.onError: there is no such setting",
        "hooks.quiesceTimeout: ",
    ] {
        assert_eq!(problems.iter().filter(|said| said.starts_with(name)).count(), 1, "{name}: {problems:#?}");
    }
    assert_eq!(problems.len(), 17, "{problems:#?}");
    assert!(!problems.iter().any(|said| said.contains("hunter2")), "{problems:#?}");
}

#[test]
fn what_a_hook_cannot_be_is_refused_by_name() {
    for (hook, problem) in [
        ("{}", "hooks.postBackup: holds no handler: there are httpGet, httpPost, tcpSocket, exec, command"),
        (
            "{command: thaw}",
            "hooks.postBackup.command: \"thaw\" is no absolute path: a program is run by its path, and there is no shell",
        ),
        (
            "{command: [/thaw, '{{ .Name }}']}",
            "hooks.postBackup.command: holds a template (`{{`), and none is filled in: write the text itself",
        ),
        (
            "{httpPost: {port: 80, body: '{{ .Status.Phase }}'}}",
            "hooks.postBackup.httpPost.body: holds a template (`{{`), and none is filled in: write the text itself",
        ),
        (
            "{httpPost: {port: 80, form: [{key: a, values: [b]}]}}",
            "hooks.postBackup.httpPost.form: is not sent: write its text as the body, with its Content-Type",
        ),
        ("{httpGet: 80}", "hooks.postBackup.httpGet: is no mapping: write it as in the manifest"),
        (
            "{httpGet: {port: 80, httpHeaders: {a: b}}}",
            "hooks.postBackup.httpGet.httpHeaders: is no list of mappings: write it as in the manifest",
        ),
    ] {
        assert_eq!(with(&format!("hooks: {{postBackup: {hook}}}\n")).unwrap_err(), [problem]);
    }
    assert_eq!(with("hooks: [a]\n").unwrap_err(), ["hooks: is no mapping: write it as in the manifest"]);
    assert_eq!(with("retries: -1\n").unwrap_err(), ["retries: \"-1\" is no number from 0 up"]);
}

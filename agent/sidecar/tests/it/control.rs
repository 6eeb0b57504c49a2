//! The agent's listeners, as a client, a neighbour and a stranger find them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, settings, wait_until};
use crate::scene::Scene;

/// An answer as it came in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    /// Whether it came to the end that it was said to have.
    pub(crate) is_whole: bool,
    pub(crate) bytes: Vec<u8>,
    /// The same, as text.
    pub(crate) body: String,
}

impl Answer {
    fn parse(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(answer)));
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = String::new();
        let (is_whole, bytes) = (true, answer[end + 4..].to_vec());
        let mut answer = Self { status, head, is_whole, bytes, body };
        if answer.header("transfer-encoding") == Some("chunked") {
            (answer.bytes, answer.is_whole) = unchunked(&answer.bytes);
        } else if let Some(length) = answer.header("content-length") {
            answer.is_whole = answer.bytes.len().to_string() == length;
        }
        answer.body = String::from_utf8_lossy(&answer.bytes).into_owned();
        answer
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Status and code of a refusal, which says in one line why, and nothing that could steer a terminal.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains(char::is_control), "{self:?}");
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

/// What chunks hold, and whether the last one came.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest[line + 2..].get(..size) else { break };
        if size == 0 {
            return (bytes, true);
        }
        bytes.extend_from_slice(chunk);
        rest = &rest[line + 2 + size + 2..];
    }
    (bytes, false)
}

/// Sends one request and reads to the end of the connection.
pub(crate) fn ask(mut stream: impl Read + Write, request: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    write!(stream, "{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer::parse(&answer)
}

pub(crate) const CHANGE: &str = "X-Pillion-Request: test";

/// An agent that listens on ports of the system's choice.
pub(crate) struct Listening {
    pub(crate) agent: Agent,
    pub(crate) scene: Scene,
    pub(crate) socket: PathBuf,
    /// Where metrics and liveness are answered.
    pub(crate) public: String,
    pub(crate) control: String,
}

impl Listening {
    pub(crate) fn start(more: &str) -> Self {
        Self::start_at(Scene::new(), more)
    }

    /// The same of a source that is there.
    pub(crate) fn start_at(scene: Scene, more: &str) -> Self {
        let mut agent = Agent::start(&scene, &["--config", &Self::settings(&scene, more)]);
        agent.wait_for("run ended");
        let listening = Self::of(scene, agent);
        // The record is told before it is published.
        wait_until(|| !listening.ours("GET /v1/status", &[]).json()["lastRun"].is_null());
        listening
    }

    /// Settings with listeners at ports of the system's choice.
    pub(crate) fn settings(scene: &Scene, more: &str) -> String {
        let ports = format!("publicAddress: '127.0.0.1:0', controlAddress: '127.0.0.1:0', {more}");
        let config = settings(scene, "");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("publicAddress: off, controlAddress: off,", &ports)).unwrap();
        config
    }

    /// An agent of such settings, as soon as it can be asked.
    pub(crate) fn of(scene: Scene, agent: Agent) -> Self {
        let socket = scene.path("cache/control.sock");
        let listening = Self { agent, scene, socket, public: String::new(), control: String::new() };
        wait_until(|| {
            let is_open = |kind| listening.address(kind).is_some();
            UnixStream::connect(&listening.socket).is_ok() && is_open("public") && is_open("control 127")
        });
        let address = |kind| listening.address(kind).unwrap();
        let (public, control) = (address("public"), address("control 127"));
        Self { public, control, ..listening }
    }

    fn address(&self, kind: &str) -> Option<String> {
        let status = self.ours("GET /v1/status", &[]).json();
        let mut listeners = status["listeners"].as_array().unwrap().iter();
        let listener = listeners.find(|listener| listener["place"].as_str().unwrap().starts_with(kind))?;
        listener["address"].as_str().map(str::to_owned)
    }

    pub(crate) fn ours(&self, request: &str, headers: &[&str]) -> Answer {
        ask(UnixStream::connect(&self.socket).unwrap(), request, headers)
    }

    pub(crate) fn loopback(&self, request: &str, headers: &[&str]) -> Answer {
        ask(TcpStream::connect(&self.control).unwrap(), request, headers)
    }

    pub(crate) fn public(&self, request: &str) -> Answer {
        ask(TcpStream::connect(&self.public).unwrap(), request, &[])
    }
}

#[test]
fn a_request_is_a_run_that_holds_what_was_written_before_it() {
    let agent = Listening::start("");
    std::fs::write(agent.scene.source().join("dump"), "written before").unwrap();
    let asked = agent.loopback("POST /v1/backups", &[CHANGE]);
    assert_eq!((asked.status, asked.header("location")), (202, Some("/v1/runs/2")), "{asked:?}");
    let waited = agent.ours("POST /v1/backups?wait=true", &[CHANGE]).json();
    assert_eq!((&waited["state"], &waited["outcome"]), (&"ended".into(), &"Complete".into()), "{waited}");
    let run = agent.ours("GET /v1/runs/2", &[]).json();
    assert_eq!((&run["trigger"]["type"], &run["files"]["new"]), (&"request".into(), &1.into()), "{run}");
    let runs = agent.ours("GET /v1/runs", &[]).json();
    let numbers: Vec<u64> =
        runs.as_array().unwrap().iter().map(|run| run["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a > b) && numbers.len() >= 2, "{numbers:?}");
    let followed = agent.ours("GET /v1/runs/2/events", &[]);
    assert_eq!(followed.header("content-type"), Some("text/event-stream"));
    assert!(followed.body.contains("event: run\ndata: {\"state\":\"ended\""), "{followed:?}");
    assert_eq!(agent.agent.end(), Some(0));
    assert!(!agent.socket.exists(), "nobody listens there any more");
}

#[test]
fn the_public_listener_tells_that_it_lives_and_numbers_and_nothing_else() {
    let agent = Listening::start("");
    assert_eq!(agent.public("GET /livez").body, "ok\n");
    let metrics = agent.public("GET /metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in [
        "pillion_config_valid 1",
        "pillion_runs_total{kind=\"backup\",outcome=\"Complete\",trigger=\"first\"} 1",
        "pillion_paused 0",
    ] {
        assert!(metrics.body.lines().any(|known| known == line), "{line} is not in {}", metrics.body);
    }
    for path in ["/", "/v1/status", "/v1/config", "/v1/runs", "/v1/snapshots", "/v1/session"] {
        let answer = agent.public(&format!("GET {path}"));
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"no-such-path".into()), "{path}");
    }
    let changed = agent.public("POST /livez");
    assert_eq!((changed.status, &changed.json()["code"]), (405, &"wrong-method".into()));
}

#[test]
fn what_changes_something_needs_the_header_and_what_snapshots_hold_needs_a_token() {
    let agent = Listening::start("");
    for (request, headers, status, code) in [
        ("POST /v1/backups", &[][..], 403, "header-missing"),
        ("POST /v1/pause", &["X-Pillion-Request: "], 403, "header-missing"),
        ("DELETE /v1/runs/1", &[], 403, "header-missing"),
        ("DELETE /v1/runs/1", &[CHANGE], 404, "no-such-run"),
        ("GET /v1/runs/99", &[], 404, "no-such-run"),
        ("GET /v1/runs/..%2f..%2fetc", &[], 404, "no-such-run"),
        ("GET /v1/../etc/passwd", &[], 404, "no-such-path"),
        ("GET /v1/runs/../config/events", &[], 404, "no-such-path"),
        ("GET /v1/runs/..%2fconfig/events", &[], 404, "no-such-run"),
        ("DELETE /v1/runs/%2e%2e", &[CHANGE], 404, "no-such-run"),
        ("GET /v1/runs/1%00", &[], 404, "no-such-run"),
        ("GET /v1/runs/%ff%0d%0a", &[], 404, "no-such-run"),
        ("PUT /v1/runs/1", &[CHANGE], 405, "wrong-method"),
        ("POST /v1/pause?for=soon", &[CHANGE], 400, "bad-parameter"),
        ("POST /v1/pause?from=1h", &[CHANGE], 400, "bad-parameter"),
        ("POST /v1/backups?wait=perhaps", &[CHANGE], 400, "bad-parameter"),
        ("GET /v1/status", &["Host: rebound.example.com"], 403, "foreign-host"),
        ("GET /v1/snapshots", &[], 403, "no-token-set"),
        ("GET /v1/exec", &[], 403, "no-token-set"),
        ("GET /v1/snapshots/x/files", &["Authorization: Bearer x"], 403, "no-token-set"),
    ] {
        let answer = agent.loopback(request, headers);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{request}: {answer:?}"
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(agent.ours("GET /v1/runs", &[]).json().as_array().unwrap().len(), 1, "nothing was acted on");
}

#[test]
fn a_token_opens_from_elsewhere_and_is_traded_for_a_cookie() {
    let scene = Scene::new();
    let token = scene.path("token");
    std::fs::write(&token, "hunter2-token\n").unwrap();
    let mut config = settings(&scene, "");
    let ports =
        format!("publicAddress: off, controlAddress: '0.0.0.0:0', controlTokenFile: '{}',", token.display());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("publicAddress: off, controlAddress: off,", &ports)).unwrap();
    let mut agent = Agent::start(&scene, &["--config", &std::mem::take(&mut config)]);
    agent.wait_for("run ended");
    let status =
        ask(UnixStream::connect(scene.path("cache/control.sock")).unwrap(), "GET /v1/status", &[]).json();
    let listeners = status["listeners"].as_array().unwrap();
    let address =
        listeners.iter().find_map(|listener| listener["address"].as_str()?.strip_prefix("0.0.0.0:"));
    let address = format!("127.0.0.1:{}", address.unwrap());
    let ask = |request: &str, headers: &[&str]| ask(TcpStream::connect(&address).unwrap(), request, headers);

    let refused = ask("GET /v1/status", &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (401, &"token-missing".into()));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let wrong = ask("GET /v1/status", &["Authorization: Bearer hunter2-tokem"]);
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &"token-wrong".into()));
    assert!(!wrong.body.contains("hunter2"));
    let right = "Authorization: Bearer hunter2-token";
    assert_eq!(ask("GET /v1/status", &[right]).status, 200);
    let question = ask("GET /", &[]);
    assert!(question.status == 200 && question.body.contains("Token"), "{question:?}");
    assert!(!question.body.contains(scene.source().to_str().unwrap()), "{question:?}");
    let session = ask("POST /v1/session", &[right, CHANGE]);
    assert_eq!(session.status, 204, "{session:?}");
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(ask("GET /v1/status", &[&cookie]).status, 200);
    assert!(ask("GET /", &[&cookie]).body.contains(scene.source().to_str().unwrap()));
    assert_eq!(ask("POST /v1/backups", &[&cookie]).status, 403, "a page of a stranger sends it along");
    let config = ask("GET /v1/config", &[&cookie]).body;
    assert!(config.contains("schedule:") && !config.contains("hunter2"), "{config}");
}

#[test]
fn a_pause_lasts_over_a_restart_and_a_taken_port_and_broken_settings_are_told() {
    let agent = Listening::start("");
    let paused = agent.loopback("POST /v1/pause?for=1h", &[CHANGE]);
    assert!(paused.json()["until"].is_string(), "{paused:?}");
    let (scene, taken) = (agent.scene, std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    assert_eq!(agent.agent.end(), Some(0));
    let config = settings(&scene, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let port = format!("controlAddress: '{}',", taken.local_addr().unwrap());
    let text = text.replace("controlAddress: off,", &port);
    std::fs::write(&config, &text).unwrap();
    let mut again = Agent::start(&scene, &["--config", &config]);
    again.wait_for("cannot listen; trying again");
    std::fs::write(&config, "sources: [").unwrap();
    let socket = scene.path("cache/control.sock");
    // It is opened after the one that cannot be.
    wait_until(|| UnixStream::connect(&socket).is_ok());
    let status = || ask(UnixStream::connect(&socket).unwrap(), "GET /v1/status", &[]).json();
    wait_until(|| status()["settings"]["refused"] == 1);
    let status = status();
    assert!(status["pause"]["until"].is_string(), "{status}");
    let problems: Vec<_> =
        status["listeners"].as_array().unwrap().iter().map(|place| &place["problem"]).collect();
    assert!(
        problems.iter().any(|problem| problem.as_str().is_some_and(|why| why.contains("in use"))),
        "{status}"
    );
    assert!(status["protects"]["plans"][0]["schedule"].is_string(), "the last good settings go on: {status}");
    assert_eq!(again.end(), Some(0));
}

#[test]
fn bad_clients_are_left_and_the_agent_answers_the_next() {
    let agent = Listening::start("");
    let mut slow: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&agent.control).unwrap()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"GET /v1/st").unwrap());
    let mut huge = TcpStream::connect(&agent.control).unwrap();
    huge.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _refused_midway = write!(huge, "GET /v1/status HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut answer = Vec::new();
    let _reset = huge.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    let body = "x".repeat(100_000);
    let length = format!("Content-Length: {}", body.len());
    let mut large = TcpStream::connect(&agent.control).unwrap();
    let _unread =
        write!(large, "POST /v1/resume HTTP/1.1\r\n{CHANGE}\r\n{length}\r\nConnection: close\r\n\r\n{body}");
    let _reset = large.read_to_end(&mut answer);
    for _ in 0..200 {
        let mut gone = TcpStream::connect(&agent.control).unwrap();
        write!(gone, "POST /v1/backups?wait=true HTTP/1.1\r\n{CHANGE}\r\n\r\n").unwrap();
    }
    assert_eq!(agent.loopback("GET /v1/status", &[]).status, 200);
    assert_eq!(agent.public("GET /livez").status, 200);
    drop(slow);
    assert_eq!(agent.agent.end(), Some(0));
}

#[test]
fn ten_thousand_requests_in_a_row_are_a_few_runs() {
    let agent = Listening::start("");
    let mut sending = TcpStream::connect(&agent.control).unwrap();
    let mut receiving = sending.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let request = format!("POST /v1/backups HTTP/1.1\r\n{CHANGE}\r\n");
        let all = format!("{request}\r\n").repeat(9_999) + &request + "Connection: close\r\n\r\n";
        sending.write_all(all.as_bytes()).unwrap();
    });
    let mut answers = Vec::new();
    receiving.read_to_end(&mut answers).unwrap();
    sender.join().unwrap();
    assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 202 ").count(), 10_000);
    let last = agent.ours("POST /v1/backups?wait=true", &[CHANGE]).json();
    assert_eq!(last["outcome"], "Complete");
    assert!(last["number"].as_u64().unwrap() < 1_000, "{last}");
    assert_eq!(agent.agent.end(), Some(0));
}

#[test]
fn the_command_line_looks_at_the_running_agent_and_steers_it() {
    let agent = Listening::start("");
    let scene = &agent.scene;
    let socket = agent.socket.to_str().unwrap();
    let status = scene.ok(&["status", "--socket", socket]);
    assert!(status.contains(&format!("protects   {}", scene.source().display())), "{status}");
    assert!(status.contains("last run   1, Complete\n"), "{status}");
    let by_settings = scene.ok(&["status", "--config", scene.path("config.yaml").to_str().unwrap()]);
    assert_eq!(by_settings, status, "the settings tell where it listens");

    std::fs::write(scene.source().join("new"), "new").unwrap();
    let triggered = scene.ok(&["trigger", "--wait", "--socket", socket]);
    assert!(triggered.starts_with("run 2: Complete (backup, asked for)\n"), "{triggered}");
    assert!(triggered.contains("files: 1 new"), "{triggered}");
    let runs = scene.ok(&["runs", "--socket", socket]);
    assert!(runs.contains("asked for") && runs.contains("no snapshot yet"), "{runs}");
    let run: Value = serde_json::from_str(&scene.ok(&["runs", "2", "--json", "--socket", socket])).unwrap();
    assert_eq!(run["outcome"], "Complete");
    assert!(scene.fails(1, &["runs", "77", "--socket", socket]).contains("no such run"));
    assert!(scene.fails(1, &["cancel", "2", "--socket", socket]).contains("it is over"));
    scene.fails(1, &["pause", "--for", "soon", "--socket", socket]);
    assert!(scene.ok(&["pause", "--for", "1h", "--socket", socket]).starts_with("paused until "));
    assert!(scene.ok(&["status", "--socket", socket]).contains("paused     until "));
    assert!(scene.ok(&["resume", "--socket", socket]).starts_with("next run at "));

    std::fs::remove_dir_all(scene.path("agents")).unwrap();
    let failed = scene.fails(1, &["trigger", "--wait", "--socket", socket]);
    assert!(failed.contains("repository replaced") && failed.contains("Hint: "), "{failed}");
    let nobody = scene.fails(1, &["status", "--socket", scene.path("none").to_str().unwrap()]);
    assert!(nobody.contains("ask the agent at") && nobody.contains("Hint: is the agent running"), "{nobody}");
}

#[test]
fn a_command_in_another_container_is_asked_for_and_the_answer_decides() {
    for (answer, outcome) in
        [("{\"exitCode\": 0}", "Complete"), ("{\"exitCode\": 7, \"message\": \"busy\"}", "Failed")]
    {
        let scene = Scene::new();
        let hooks = "hooks: {preBackup: {exec: {command: [freeze, now]}, containerName: db}}, retries: 0";
        let config = settings(&scene, hooks);
        let mut agent = Agent::start(&scene, &["--config", &config]);
        agent.wait_for("listening");
        let socket = scene.path("cache/control.sock");
        let ours = |request: &str, more: &[&str]| ask(UnixStream::connect(&socket).unwrap(), request, more);
        let asked = ours("GET /v1/exec?wait=60s", &[]).json();
        assert_eq!(
            (&asked[0]["container"], &asked[0]["command"][1]),
            (&"db".into(), &"now".into()),
            "{asked}"
        );
        let path = format!("POST /v1/exec/{}", asked[0]["id"].as_str().unwrap());
        // Whoever sends too much may find the connection gone before its answer can be read.
        let post = |path: &str, body: &str| {
            let length = format!("Content-Length: {}", body.len());
            let head = format!("Connection: close\r\n{CHANGE}\r\nContent-Type: application/json\r\n{length}");
            let mut stream = UnixStream::connect(&socket).unwrap();
            let _cut_off = write!(stream, "{path} HTTP/1.1\r\n{head}\r\n\r\n{body}");
            let mut answer = Vec::new();
            let _cut_off = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(post(&path, "{\"exitCode\": \"0\"}"), "422");
        assert_eq!(post(&path, "{"), "400");
        let too_much = format!("{{\"exitCode\": 0, \"message\": \"{}\"}}", "x".repeat(100_000));
        assert_ne!(post(&path, &too_much), "204");
        for unknown in ["0", "..%2f..%2fstatus", "%2e%2e", "%ff", "%00"] {
            assert_eq!(post(&format!("POST /v1/exec/{unknown}"), answer), "404");
        }
        assert_eq!(post(&path, answer), "204");
        assert_eq!(post(&path, answer), "404", "it was answered");
        wait_until(|| !ours("GET /v1/status", &[]).json()["lastRun"].is_null());
        let run = ours("GET /v1/runs/1", &[]).json();
        assert_eq!(run["outcome"], outcome, "{run}");
        assert_eq!(agent.end(), Some(0));
    }
}

#[test]
fn the_page_is_one_document_that_needs_nothing_from_elsewhere() {
    let agent = Listening::start("");
    let page = agent.loopback("GET /", &[]);
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8")),
        "{page:?}"
    );
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let source = agent.scene.source();
    for words in [source.to_str().unwrap(), "Complete", "Back up now", "Repository, now"] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    let names = |attribute: &str| {
        let begin = format!(" {attribute}=\"");
        let values = page.body.split(&begin).skip(1);
        values.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for place in [names("src"), names("href")].concat() {
        let answer = match place.as_str() {
            "data:," => continue,
            place => agent.loopback(&format!("GET {place}"), &[]),
        };
        assert_eq!(answer.status, 200, "{place}");
    }
    let form = agent.loopback("GET /v1/status", &[]).json()["form"].as_str().unwrap().to_owned();
    assert!(page.body.contains(&form), "nothing has changed");
    agent.loopback("POST /v1/pause", &[CHANGE]);
    assert_ne!(agent.loopback("GET /v1/status", &[]).json()["form"], form.as_str());
    assert!(agent.loopback("GET /", &[]).body.contains("Resume"));
}

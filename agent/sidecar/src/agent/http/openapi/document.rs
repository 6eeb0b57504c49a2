//! The requests, one by one, and the document that is made of them and of the types. With `UPDATE=1` the tests write it
//! anew.

use std::collections::BTreeMap;

use axum::http::Method;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::agent::history::Pause;
use crate::agent::hook::exec::{ExecAnswer, ExecRequest};
use crate::agent::view::snapshots::{Folder, Snapshot};
use crate::agent::view::status::{Run, Status};

const DESCRIPTION: &str = "What a running agent tells and can be asked. The public listener answers `/livez` and \
    `/metrics` to everybody. The control listener is on a Unix socket, where nothing has to be shown; on the loopback \
    address, where what snapshots hold and what hooks wait for needs a token; or on another address, where everything \
    does. A request that changes something needs the header `X-Pillion-Request`.";

/// `30s`, `10m`, `1h30m`.
fn duration() -> Value {
    let pattern = r"^(0|([0-9]{1,4}(\.[0-9]{1,3})?(ns|us|ms|s|m|h|d))+)$";
    json!({ "type": "string", "pattern": pattern })
}

/// Absolute, without `.`, `..` and zero bytes.
const PATH: &str = r"^/+((\.?[^./\u0000][^/\u0000]*|\.\.[^/\u0000]+)(/+|$))*$";

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Not on the loopback address.
    TokenFromElsewhere,
    Token,
}

struct Operation {
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    needs: Needs,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
}

struct Document {
    types: SchemaGenerator,
    operations: Vec<Operation>,
}

impl Document {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { types: settings.for_serialize().into_generator(), operations: Vec::new() }
    }

    fn json<T: JsonSchema>(&mut self, description: &str) -> Value {
        let schema = self.types.subschema_for::<T>();
        content(description, "application/json", &json!(schema))
    }

    fn add(
        &mut self,
        (method, path): (Method, &'static str),
        id: &'static str,
        summary: &'static str,
        needs: Needs,
        parameters: Vec<Value>,
        answers: Vec<(u16, Value)>,
    ) -> &mut Operation {
        self.operations.push(Operation { method, path, id, summary, needs, parameters, body: None, answers });
        self.operations.last_mut().expect("it was just added")
    }

    fn finish(mut self) -> Value {
        let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for operation in &self.operations {
            let method = operation.method.as_str().to_ascii_lowercase();
            paths.entry(operation.path).or_default().insert(method, operation.to_json());
        }
        let schemas = self.types.take_definitions(true);
        json!({
            "openapi": "3.1.0",
            "info": { "title": "Pillion agent", "version": VERSION, "description": DESCRIPTION },
            "servers": [{ "url": "http://127.0.0.1:27412", "description": "the control listener" }],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": { "problem": problem() },
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer" },
                    "cookie": { "type": "apiKey", "in": "cookie", "name": "pillion" },
                },
            },
        })
    }
}

impl Operation {
    fn to_json(&self) -> Value {
        let mut responses: Map<String, Value> =
            self.answers.iter().map(|(status, answer)| (status.to_string(), answer.clone())).collect();
        responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/problem" }));
        let mut parameters = self.parameters.clone();
        if self.method != Method::GET {
            parameters.push(json!({
                "name": "X-Pillion-Request", "in": "header", "required": true,
                "description": "Any value: no form of a web page can send it.",
                "schema": { "type": "string", "minLength": 1 },
            }));
        }
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters,
            "responses": responses,
            "security": match self.needs {
                Needs::Nothing => json!([]),
                Needs::TokenFromElsewhere => json!([{}, { "token": [] }, { "cookie": [] }]),
                Needs::Token => json!([{ "token": [] }, { "cookie": [] }]),
            },
        });
        if let Some(body) = &self.body {
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": body } } });
        }
        if is_public(self.path) {
            operation["servers"] =
                json!([{ "url": "http://127.0.0.1:27411", "description": "the public listener" }]);
        }
        operation
    }
}

fn is_public(path: &str) -> bool {
    matches!(path, "/livez" | "/metrics")
}

fn content(description: &str, kind: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { kind: { "schema": schema } } })
}

fn text(description: &str, kind: &str) -> Value {
    content(description, kind, &json!({ "type": "string" }))
}

fn bytes(description: &str, kind: &str) -> Value {
    content(description, kind, &json!({ "type": "string", "format": "binary" }))
}

fn problem() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "type": { "const": "about:blank" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "description": "Keeps its meaning.", "pattern": "^[a-z-]+$" },
            "detail": { "type": "string", "description": "For people." },
        },
        "required": ["type", "title", "status", "code", "detail"],
        "additionalProperties": false,
    });
    content("Why not, as problem details (RFC 9457).", "application/problem+json", &schema)
}

fn in_path(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn in_query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn number() -> Value {
    in_path("number", "The run's number.", &json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX }))
}

fn snapshot() -> Value {
    let schema = json!({ "type": "string", "pattern": "^([0-9a-f]{1,64}|latest)$" });
    in_path("id", "The beginning of a snapshot's ID, or `latest`.", &schema)
}

fn path() -> Value {
    let schema = json!({ "type": "string", "pattern": PATH, "maxLength": 1000 });
    let mut path = in_query(
        "path",
        "Absolute, without `.`, `..` and zero bytes; any other bytes, percent-encoded.",
        &schema,
    );
    path["required"] = true.into();
    path
}

fn document() -> Value {
    let mut document = Document::new();
    add_page(&mut document);
    add_state(&mut document);
    add_runs(&mut document);
    add_snapshots(&mut document);
    add_exec(&mut document);
    document.finish()
}

fn add_page(document: &mut Document) {
    let get = |path| (Method::GET, path);
    let page = text("The page, or the question for a token.", "text/html");
    document.add(get("/"), "page", "The status page", Needs::Nothing, vec![], vec![(200, page)]);
    let style = text("Its style.", "text/css");
    document.add(
        get("/page.css"),
        "pageStyle",
        "The page's style",
        Needs::Nothing,
        vec![],
        vec![(200, style)],
    );
    let script = text("Its script.", "text/javascript");
    document.add(
        get("/page.js"),
        "pageScript",
        "The page's script",
        Needs::Nothing,
        vec![],
        vec![(200, script)],
    );
    let session = json!({ "description": "The cookie is set." });
    document.add(
        (Method::POST, "/v1/session"),
        "openSession",
        "Trade a token for a cookie of twelve hours",
        Needs::Token,
        vec![],
        vec![(204, session)],
    );
    let itself = content("This document.", "application/json", &json!({ "type": "object" }));
    document.add(
        get("/v1/openapi.json"),
        "openapi",
        "This document",
        Needs::TokenFromElsewhere,
        vec![],
        vec![(200, itself)],
    );
    let lives = text("The agent lives.", "text/plain");
    let hangs = text("It does not turn any more.", "text/plain");
    document.add(
        get("/livez"),
        "livez",
        "Whether the agent lives",
        Needs::Nothing,
        vec![],
        vec![(200, lives), (503, hangs)],
    );
    let metrics = text("Prometheus' text format.", "text/plain");
    document.add(
        get("/metrics"),
        "metrics",
        "How it is in numbers",
        Needs::Nothing,
        vec![],
        vec![(200, metrics)],
    );
}

fn add_state(document: &mut Document) {
    let status = document.json::<Status>("All that there is to see.");
    document.add(
        (Method::GET, "/v1/status"),
        "status",
        "How the agent is",
        Needs::TokenFromElsewhere,
        vec![],
        vec![(200, status)],
    );
    let config = content("YAML, without credentials.", "application/yaml", &json!({ "type": "object" }));
    document.add(
        (Method::GET, "/v1/config"),
        "config",
        "The settings that count",
        Needs::TokenFromElsewhere,
        vec![],
        vec![(200, config)],
    );
    let pause = document.json::<Pause>("No run begins by itself.");
    let length = in_query("for", "How long; without, until somebody resumes.", &duration());
    document.add(
        (Method::POST, "/v1/pause"),
        "pause",
        "Let no run begin by itself",
        Needs::TokenFromElsewhere,
        vec![length],
        vec![(200, pause)],
    );
    let resumed = document.json::<Status>("What was missed is made up for.");
    document.add(
        (Method::POST, "/v1/resume"),
        "resume",
        "End a pause",
        Needs::TokenFromElsewhere,
        vec![],
        vec![(200, resumed)],
    );
}

fn add_runs(document: &mut Document) {
    let wait = in_query("wait", "Answer when it is over.", &json!({ "type": "boolean" }));
    let name = json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" });
    let plan = in_query("plan", "Where the settings name plans, one of them.", &name);
    for (path, id, summary, parameters) in [
        ("/v1/backups", "backUp", "Ask for a snapshot", vec![wait.clone(), plan]),
        ("/v1/checks", "check", "Ask for a check", vec![wait]),
    ] {
        let ended = document.json::<Run>("It is over.");
        let mut queued = document.json::<Run>("It has not begun: what was written before is in it.");
        queued["headers"] = json!({ "Location": { "schema": { "type": "string" } } });
        let answers = vec![(200, ended), (202, queued)];
        document.add((Method::POST, path), id, summary, Needs::TokenFromElsewhere, parameters, answers);
    }
    let runs = document.json::<Vec<Run>>("The newest first.");
    document.add(
        (Method::GET, "/v1/runs"),
        "runs",
        "The last runs",
        Needs::TokenFromElsewhere,
        vec![],
        vec![(200, runs)],
    );
    let run = document.json::<Run>("What it has done so far.");
    document.add(
        (Method::GET, "/v1/runs/{number}"),
        "run",
        "One run",
        Needs::TokenFromElsewhere,
        vec![number()],
        vec![(200, run)],
    );
    let cancelled = json!({ "description": "It ends soon." });
    document.add(
        (Method::DELETE, "/v1/runs/{number}"),
        "cancel",
        "End a run, or take it out of the queue",
        Needs::TokenFromElsewhere,
        vec![number()],
        vec![(202, cancelled)],
    );
    let event = json!({
        "type": "object",
        "properties": { "event": { "const": "run" }, "data": { "type": "string", "description": "A `Run` as JSON." } },
        "required": ["event", "data"],
    });
    let events = content("The run again and again, up to its end.", "text/event-stream", &event);
    document.add(
        (Method::GET, "/v1/runs/{number}/events"),
        "follow",
        "Follow a run",
        Needs::TokenFromElsewhere,
        vec![number()],
        vec![(200, events)],
    );
}

fn add_snapshots(document: &mut Document) {
    let own = document.json::<Vec<Snapshot>>("This agent's own, the newest first.");
    document.add(
        (Method::GET, "/v1/snapshots"),
        "snapshots",
        "The snapshots of this agent",
        Needs::Token,
        vec![],
        vec![(200, own)],
    );
    let one = document.json::<Snapshot>("The snapshot.");
    document.add(
        (Method::GET, "/v1/snapshots/{id}"),
        "snapshot",
        "One snapshot",
        Needs::Token,
        vec![snapshot()],
        vec![(200, one)],
    );
    let folder = document.json::<Folder>("Its entries, in the order of their names.");
    document.add(
        (Method::GET, "/v1/snapshots/{id}/files"),
        "files",
        "What a folder holds",
        Needs::Token,
        vec![snapshot(), path()],
        vec![(200, folder)],
    );
    let whole = bytes("What the file holds.", "application/octet-stream");
    let part = bytes("The part that was asked for.", "application/octet-stream");
    let range = json!({
        "name": "Range", "in": "header", "description": "One range of bytes.",
        "schema": { "type": "string" },
    });
    document.add(
        (Method::GET, "/v1/snapshots/{id}/content"),
        "content",
        "What a file holds",
        Needs::Token,
        vec![snapshot(), path(), range],
        vec![(200, whole), (206, part)],
    );
    let archive = bytes("Without devices, FIFOs and sockets.", "application/x-tar");
    document.add(
        (Method::GET, "/v1/snapshots/{id}/archive"),
        "archive",
        "A folder as a tar archive",
        Needs::Token,
        vec![snapshot(), path()],
        vec![(200, archive)],
    );
}

fn add_exec(document: &mut Document) {
    let wait = in_query("wait", "How long to wait for one, at most a minute.", &duration());
    let pending = document.json::<Vec<ExecRequest>>("What waits to be run, the oldest first.");
    document.add(
        (Method::GET, "/v1/exec"),
        "execRequests",
        "Commands that hooks want run in other containers",
        Needs::Token,
        vec![wait],
        vec![(200, pending)],
    );
    let id =
        in_path("id", "Of the request.", &json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }));
    // What is read may leave out what is written.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    let body = json!(settings.into_generator().into_root_schema_for::<ExecAnswer>());
    let answered = json!({ "description": "It is taken." });
    document
        .add(
            (Method::POST, "/v1/exec/{id}"),
            "answerExec",
            "How such a command went",
            Needs::Token,
            vec![id],
            vec![(204, answered)],
        )
        .body = Some(body);
}

#[test]
fn the_document_is_made_of_the_types_that_are_answered() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = format!("{:#}\n", document()).replace("`None`", "`null`");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap();
    assert!(made == there, "openapi.json is not what the code says: UPDATE=1 cargo test -p pillion openapi");
}

#[test]
fn every_path_and_method_is_in_the_document_and_no_other() {
    let document = document();
    let mut documented = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        documented.extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
    }
    let mut routed = Vec::new();
    for source in [include_str!("../control.rs"), include_str!("../public.rs")] {
        for route in source.split(".route(\"").skip(1) {
            let (path, handlers) = route.split_once("\", ").unwrap();
            let handlers = handlers.split('\n').next().unwrap();
            let methods = ["get", "post", "put", "patch", "delete"];
            let is_handled = |method: &&str| {
                handlers.starts_with(&format!("{method}(")) || handlers.contains(&format!(").{method}("))
            };
            routed.extend(
                methods.into_iter().filter(is_handled).map(|method| (path.to_owned(), method.to_owned())),
            );
        }
    }
    documented.sort();
    routed.sort();
    assert_eq!(documented, routed);
}

//! What the agent answers against what its OpenAPI document says, asked by schemathesis: every request of the document
//! with good and bad parameters.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::control::Listening;
use crate::scene::Scene;

/// Of each request, beside those that follow from the document: half a minute together.
const EXAMPLES: &str = "20";

fn schemathesis() -> PathBuf {
    let tools = std::env::var_os("PILLION_TEST_TOOLS").map(PathBuf::from);
    let tools =
        tools.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools")));
    let program = tools.join("schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: `make tools` installs it", program.display());
    program
}

/// The document, with examples of what there is to be asked for.
fn with_examples(agent: &Listening) -> PathBuf {
    let document = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).unwrap();
    let mut document: Value = serde_json::from_slice(&document).unwrap();
    let source = agent.scene.source();
    for (path, methods) in document["paths"].as_object_mut().unwrap() {
        for operation in methods.as_object_mut().unwrap().values_mut() {
            for parameter in operation["parameters"].as_array_mut().unwrap() {
                let example = match parameter["name"].as_str().unwrap() {
                    "id" if path.starts_with("/v1/snapshots") => "latest".into(),
                    "path" if path.ends_with("content") => source.join("a.txt").to_str().unwrap().into(),
                    "path" => source.to_str().unwrap().into(),
                    "number" => 1.into(),
                    "Range" => "bytes=1-2".into(),
                    "X-Pillion-Request" => "test".into(),
                    _ => continue,
                };
                parameter["example"] = example;
            }
        }
    }
    let file = agent.scene.path("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    file
}

/// What is not as a document can say it.
const CONFIG: &str = r#"
# Who waits for a command to run waits for as long as was said.
[[operations]]
include-name = "GET /v1/exec"
parameters = { wait = "1ms" }
[operations.generation]
mode = "positive"

# That a header is missing is said before anybody looks which methods there are.
[[operations]]
include-path-regex = "^/(page[.](css|js))?$"
[operations.checks]
unsupported_method.enabled = false

# Which ranges there are is the file's to say.
[[operations]]
include-name = "GET /v1/snapshots/{id}/content"
[operations.checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "416"]

# To a schema 1.0 is a whole number.
[[operations]]
include-name = "POST /v1/exec/{id}"
[operations.checks]
positive_data_acceptance.enabled = false
"#;

/// Has every check made of what the listener at an address answers; `more` says which requests.
fn exercise(agent: &Listening, address: &str, more: &[&str]) {
    let config = agent.scene.path("schemathesis.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new(schemathesis());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", agent.scene.path("."))
        .current_dir(agent.scene.path("."))
        .args(["--config-file", config.to_str().unwrap(), "run"])
        .arg(with_examples(agent))
        .args(["--url", &format!("http://{address}"), "--seed", "1"])
        .args(["--header", "Authorization: Bearer hunter2-token", "--no-color", "--request-timeout", "30"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(more);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" generated, ") && !text.contains("failed"), "{text}");
}

#[test]
fn what_is_answered_is_what_the_document_says() {
    let scene = Scene::new();
    let token = scene.path("token");
    std::fs::write(&token, "hunter2-token\n").unwrap();
    let agent = Listening::start_at(scene, &format!("controlTokenFile: '{}'", token.display()));
    exercise(&agent, &agent.control, &["--exclude-path-regex", "^/(livez|metrics)$"]);
    exercise(&agent, &agent.public, &["--include-path-regex", "^/(livez|metrics)$"]);
    assert_eq!(agent.agent.end(), Some(0));
}

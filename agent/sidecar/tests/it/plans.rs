//! Several plans of one agent: a snapshot each, told apart whoever looks.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::agent::{Agent, settings, snapshots, wait_until};
use crate::scene::Scene;

#[test]
fn each_plan_has_snapshots_of_its_own_sources_and_is_asked_for_by_its_name() {
    let scene = Scene::new();
    let other = scene.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("file"), "content").unwrap();
    let plans = format!(
        "identity: shop/db, tags: all, plans: {{files: {{}}, other: {{sources: {}, tags: []}}}}",
        other.display()
    );
    let config = settings(&scene, &plans);
    let mut agent = Agent::start(&scene, &["--config", &config]);
    for _ in 0..2 {
        agent.wait_for("run ended");
    }
    let by_tags = |snapshots: &[Value]| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for snapshot in snapshots {
            *counts.entry(format!("{} {}", snapshot["tags"], snapshot["paths"])).or_default() += 1;
        }
        counts
    };
    let files = format!(
        "[\"pillion=shop/db\",\"pillion-plan=shop/db:files\",\"all\"] [\"{}\"]",
        scene.source().display()
    );
    let others = format!("[\"pillion=shop/db\",\"pillion-plan=shop/db:other\"] [\"{}\"]", other.display());
    assert_eq!(by_tags(&snapshots(&scene)), BTreeMap::from([(files.clone(), 1), (others.clone(), 1)]));

    let socket = scene.path("cache/control.sock");
    let socket = socket.to_str().unwrap();
    let which = scene.fails(1, &["trigger", "--socket", socket]);
    assert!(which.contains("plan: is not given: there are files, other"), "{which}");
    let none = scene.fails(1, &["trigger", "--plan", "third", "--socket", socket]);
    assert!(none.contains("the settings have no such plan"), "{none}");
    let done = scene.ok(&["trigger", "--plan", "other", "--wait", "--socket", socket]);
    assert!(
        done.contains("(backup of other, asked for)") && done.contains("0 new, 0 changed, 1 unmodified"),
        "{done}"
    );
    assert_eq!(by_tags(&snapshots(&scene)), BTreeMap::from([(files, 1), (others, 2)]));

    // After a restart each plan finds its own newest snapshot, and none is made up for.
    assert_eq!(agent.end(), Some(0));
    std::fs::remove_file(scene.path("cache/history.json")).unwrap();
    let agent = Agent::start(&scene, &["--config", &config]);
    let status = || serde_json::from_str::<Value>(&scene.run(&["status", "--json", "--socket", socket]).out);
    let newest =
        |name: usize| status().ok().map(|status| status["protects"]["plans"][name]["newestAt"].clone());
    wait_until(|| (0..2).all(|plan| newest(plan).is_some_and(|at| at.is_string())));
    assert_eq!(snapshots(&scene).len(), 3);
    assert_eq!(agent.end(), Some(0));
}

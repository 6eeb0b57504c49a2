//! How often a store is asked, as its own side counts it: what an agent does again and again costs money at a vendor.

use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use pillion::agent::config::Config;
use pillion::agent::config::raw::Raw;
use pillion::agent::config::secret;
use pillion::agent::engine::Resident;
use pillion::agent::queue::Queued;
use pillion::agent::record::{Outcome, Work};
use pillion::agent::run::{Engine, RunRequest};
use pillion::agent::trigger::Trigger;
use pillion::environment::Environment;
use pillion_e2e::proxy::{Asked, Proxy};
use pillion_e2e::servers::{Kind, Security, shared};
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::scene::Scene;

/// A file that is on every system, in directories that nobody changes: those above a source are part of the snapshot,
/// and where tests keep their files others come and go.
const UNCHANGING: &str = "/usr/lib/os-release";

/// What the third run of an agent over one source asks. The second one has found all there is to find out.
fn asked_by_an_unchanged_run(kind: Kind) -> Vec<Asked> {
    let server = shared(kind, Security::Plain);
    let proxy = Proxy::start(server.endpoint());
    let store = Store::behind(server, &proxy.endpoint_of(server.endpoint()));
    let scene = Scene::new();
    let settings = format!(
        "{{repository: '{}', sources: '{}', cacheDir: '{}', schedule: '@daily', identity: shop/db}}",
        store.location(),
        UNCHANGING,
        scene.path("cache").display(),
    );
    let config = Arc::new(Config::resolve(Raw::from_yaml(&settings).unwrap()).unwrap());
    let environment: Environment = store.variables().into_iter().collect();
    let credentials = secret::load(Path::new("/nonexistent"), &environment, &config.repository).unwrap();
    let (engine, runtime) = (Resident::new(environment), tokio::runtime::Runtime::new().unwrap());
    let mut asked = Vec::new();
    for number in 1..=3 {
        let now = Utc::now();
        let queued =
            Queued { number, work: Work::default(), trigger: Trigger::First, joined: 0, requested_at: now };
        let (config, credentials) = (Arc::clone(&config), credentials.clone());
        let run = engine.run(
            RunRequest { queued, config, credentials, progress: Arc::default() },
            CancellationToken::new(),
        );
        let end = runtime.block_on(run);
        assert_eq!(end.outcome, Outcome::Complete, "{kind:?}: {end:?}");
        asked = proxy.forget();
    }
    asked
}

#[test]
fn an_unchanged_run_of_the_agent_is_eight_requests_on_the_wire_in_every_store() {
    for kind in [Kind::Versity, Kind::Azurite, Kind::B2] {
        let asked = asked_by_an_unchanged_run(kind);
        let name = |asked: &Asked| asked.header("x-bz-file-name").unwrap_or_default().to_owned();
        let line = |asked: &Asked| format!("{} {} {}", asked.method, asked.target, name(asked));
        let shown: Vec<_> = asked.iter().map(line).collect();
        assert_eq!(asked.len(), 8, "{kind:?}: {shown:#?}");
    }
}

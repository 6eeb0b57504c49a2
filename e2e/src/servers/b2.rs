//! Backblaze B2: the vendor's model of it behind its native API, `e2e/stores/b2.py`, and what a test orders there.
//!
//! It is always there plain and over TLS, over one state, since stock restic speaks no other than the latter.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::{Credentials, Kind, Launch, Place, Rights, Security, Server, script, tool};

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    let (plain, tls) = (place.ports.take(), place.ports.take());
    let mut command = Command::new(tool("python/bin/python"));
    command.arg(script("b2.py")).arg(plain.to_string()).arg(tls.to_string());
    command.arg(&place.certificate.leaf).arg(&place.certificate.key);
    let port = match place.security {
        Security::Plain => plain,
        Security::Tls => tls,
    };
    let questions = vec![
        (format!("http://127.0.0.1:{plain}/_test/counts"), 200),
        (format!("https://127.0.0.1:{tls}/_test/counts"), 200),
    ];
    Launch { command, port, tls_port: Some(tls), path: "", questions }
}

pub(super) fn user(server: &Server, rights: Rights) -> Credentials {
    match rights {
        Rights::Read => server.b2_key(&["listBuckets", "listFiles", "readFiles"], None, None),
        Rights::Nothing => server.b2_key(&[], None, None),
        Rights::Quota { .. } => panic!("B2 has no quota of a key: order the fault cap_exceeded"),
    }
}

impl Server {
    /// A key of B2 that may do these things, in one bucket (made where it is missing) and below one prefix if given.
    pub fn b2_key(&self, capabilities: &[&str], bucket: Option<&str>, prefix: Option<&str>) -> Credentials {
        let order = json!({ "capabilities": capabilities, "bucket": bucket, "prefix": prefix });
        let key = self.b2_order("POST", "keys", order.to_string());
        let text = |name: &str| key[name].as_str().expect("a key is text").to_owned();
        Credentials { id: text("applicationKeyId"), secret: text("applicationKey") }
    }

    /// Orders faults of B2, each so many times; `b2.py` lists their names. All that are still to come then.
    pub fn b2_faults(&self, faults: &[(&str, u32)]) -> BTreeMap<String, u64> {
        let order: BTreeMap<_, _> = faults.iter().copied().collect();
        let left = self.b2_order("POST", "faults", json!(order).to_string());
        let mut left: BTreeMap<String, u64> = serde_json::from_value(left).expect("counts are numbers");
        left.retain(|_, count| *count > 0);
        left
    }

    /// How often each call of B2's API was made, besides `upload` and `download`.
    pub fn b2_counts(&self) -> BTreeMap<String, u64> {
        let counts = self.b2_order("GET", "counts", String::new());
        serde_json::from_value(counts).expect("counts are numbers")
    }

    fn b2_order(&self, method: &str, order: &str, body: String) -> Value {
        assert_eq!(self.kind(), Kind::B2, "only the model of B2 takes orders");
        let url = format!("{}/_test/{order}", self.endpoint());
        match self.client.ask(method, &url, body) {
            Ok((200, answer)) => serde_json::from_str(&answer).expect("the answer is JSON"),
            other => panic!("order {order} of the model of B2: {other:?}\n{}", self.log_end()),
        }
    }
}

//! The setting `backend` as it is written: the text of a manifest's `spec.backend`, which people paste.
//!
//! What it means is decided in [`super::super::store`]; here is only its form, both ways.

use std::collections::BTreeMap;

use pillion_backend::location::Location;
use serde::Serialize;

use super::yaml::Written;
use crate::open::Connection;

/// The entries by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Backend(pub BTreeMap<String, Written>);

impl Backend {
    /// The manifest that means this store; `None` for a directory, whose path says all.
    pub(super) fn of(location: &Location, connection: &Connection) -> Option<Self> {
        let (store, mut fields) = match location {
            Location::Local(_) => return None,
            Location::S3(s3) => {
                let mut fields = vec![
                    ("endpoint", s3.endpoint.to_string()),
                    ("bucket", s3.bucket.clone()),
                    ("prefix", s3.prefix.to_string()),
                    ("insecureTLS", connection.insecure_tls.to_string()),
                ];
                fields.extend(connection.region.clone().map(|region| ("region", region)));
                ("s3", fields)
            }
            Location::Azure(azure) => {
                ("azure", vec![("container", azure.container.clone()), ("prefix", azure.prefix.to_string())])
            }
            Location::B2(b2) => {
                ("b2", vec![("bucket", b2.bucket.clone()), ("prefix", b2.prefix.to_string())])
            }
        };
        fields.push(("maxConnections", connection.max_connections.to_string()));
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Written::Text(value)));
        Some(Self(BTreeMap::from([(store.to_owned(), Written::Mapping(fields.collect()))])))
    }
}

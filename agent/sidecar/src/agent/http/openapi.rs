//! What may be asked over HTTP and what is answered, as an OpenAPI document: `openapi.json` beside the crate's manifest.
//!
//! It is made from the types that are answered and from `openapi/document.rs`, which lists the requests; it is committed,
//! for whoever wants to read it without an agent.
//!
//! **Invariant:** the document is what the code does (`the_document_is_made_of_the_types_that_are_answered`,
//! `every_path_and_method_is_in_the_document_and_no_other`).

#[cfg(test)]
mod document;

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"));

pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

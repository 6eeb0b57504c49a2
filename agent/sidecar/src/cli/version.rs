//! `pillion version`.

use serde::Serialize;

use super::output::{Output, Style};
use crate::VERSION;

pub fn print(output: &Output) {
    #[derive(Serialize)]
    struct Version {
        message_type: &'static str,
        version: &'static str,
        os: &'static str,
        arch: &'static str,
    }
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    match output.style {
        Style::Json => output.json(&Version { message_type: "version", version: VERSION, os, arch }),
        Style::Text => output.line(&format!("pillion {VERSION} on {os}/{arch}")),
    }
}

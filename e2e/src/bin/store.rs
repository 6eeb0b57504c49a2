//! Starts one of the tests' stores to be played with, and says how it is reached, as lines for a shell; ends it when
//! standard input ends:
//!
//! ```console
//! $ cargo run --package pillion-e2e --bin store -- ceph tls
//! ```

use std::io;

use clap::Parser;
use pillion_e2e::servers::{Kind, Security, Server};

#[derive(Parser)]
struct Arguments {
    kind: Kind,
    #[arg(default_value = "plain")]
    security: Security,
}

fn main() -> io::Result<()> {
    let Arguments { kind, security } = Arguments::parse();
    let server = Server::start(kind, security);
    println!("ENDPOINT={}", server.endpoint());
    println!("ID={}", server.credentials().id);
    println!("SECRET={}", server.credentials().secret);
    println!("CA={}", server.ca().display());
    println!("FOLDER={}", server.folder().display());
    println!("HTTPS_PROXY={}", server.vendor_proxy());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

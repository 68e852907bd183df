//! Whether a stand-in answers; for containers, which have nothing but the program itself to ask with.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// How long the check waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// The least of HTTP that tells whether somebody answers.
pub fn check(host: IpAddr, port: u16, path: &str) -> anyhow::Result<()> {
    let host = if host.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        host
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "it answers {answer}");
    Ok(())
}

//! `healthcheck`: asks the service beside us whether it can work, for containers that have no curl.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use common_config::Env;

/// A service that takes longer is not ready; its own look at the database ends sooner.
const PATIENCE: Duration = Duration::from_secs(4);

/// Enough for a status line.
const HEAD_BYTES_MAX: u64 = 256;

/// Asks `/readyz` of the service that `HOST` and `PORT` describe, and says what is wrong with the answer.
pub fn check_readiness(env: &Env, port_default: u16) -> Result<(), String> {
    let host = env.var("HOST").or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let port = env.var("PORT").or(port_default);
    let (Ok(host), Ok(port)) = (host, port) else {
        return Err(env.mistakes().join("\n"));
    };
    let host = match host {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => host,
    };
    let address = SocketAddr::new(host, port);
    let status = ask(address).map_err(|error| format!("{address} does not answer: {error}"))?;
    if status.split_whitespace().nth(1) == Some("200") {
        Ok(())
    } else {
        Err(format!("/readyz of {address} answers {status:?}"))
    }
}

/// The first line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut head = Vec::new();
    stream.take(HEAD_BYTES_MAX).read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(&head);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request, and says what the check made of it.
    fn check(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let env = Env::from_pairs([("HOST", "0.0.0.0".to_owned()), ("PORT", port.to_string())]);
        let outcome = check_readiness(&env, 1);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        outcome
    }

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Ok(()));
        assert!(check("HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn a_service_that_is_not_there_is_not_healthy() {
        let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = gone.local_addr().unwrap().port();
        drop(gone);
        let env = Env::default();
        let complaint = check_readiness(&env, port).unwrap_err();
        assert!(complaint.contains("does not answer"), "{complaint}");
    }
}

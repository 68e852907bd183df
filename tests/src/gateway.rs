//! The real Traefik with our own configuration: only addresses of this machine are put in.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::net::SocketAddr;

use tokio::process::Command;

use crate::programs::{Program, free_address, path_of, read};

/// The line of `dynamic.yaml` that names a replica in compose's network.
const REPLICA: &str = "http://{{ $project }}-{{ $service }}-{{ $number }}:{{ $port }}";

/// The same for replicas at any address.
const REPLICA_HERE: &str = r#"http://{{ env (printf "REPLICA_%s_%d" $service $number) }}"#;

/// A running Traefik.
#[derive(Debug)]
pub struct Gateway {
    /// Where HTTP comes in.
    pub web: SocketAddr,
    /// Where HTTPS comes in.
    pub websecure: SocketAddr,
    internal: SocketAddr,
    _program: Program,
}

/// The services behind it, each with its replicas.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    /// auth-service.
    pub auth: Vec<SocketAddr>,
    /// proxy-service.
    pub proxy: Vec<SocketAddr>,
    /// accounting-service.
    pub accounting: Vec<SocketAddr>,
}

impl Gateway {
    /// Starts Traefik in front of these; with a host name it speaks TLS.
    pub async fn start(behind: &Behind, public_host: Option<&str>) -> Self {
        Self::start_at(free_address(), behind, public_host).await
    }

    /// The same at an address that the services have been told.
    pub async fn start_at(web: SocketAddr, behind: &Behind, public_host: Option<&str>) -> Self {
        let (websecure, internal) = (free_address(), free_address());
        let folder = tempfile::tempdir().expect("a folder can be made");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let settings = replaced(
            read("deploy/traefik/traefik.yaml"),
            &[
                ("address: \":80\"", &format!("address: \"{web}\"")),
                ("address: \":443\"", &format!("address: \"{websecure}\"")),
                ("address: \":8082\"", &format!("address: \"{internal}\"")),
                ("/etc/traefik/dynamic.yaml", &place("dynamic.yaml")),
                // No test asks a real authority for a certificate.
                (
                    "storage: /acme/acme.json",
                    &format!(
                        "storage: {}\n      caServer: https://127.0.0.1:1/",
                        place("acme.json")
                    ),
                ),
            ],
        );
        let table = replaced(read("deploy/traefik/dynamic.yaml"), &[(REPLICA, REPLICA_HERE)]);
        std::fs::write(place("traefik.yaml"), settings).expect("a file can be written");
        std::fs::write(place("dynamic.yaml"), table).expect("a file can be written");

        let mut command = Command::new(path_of("traefik").await);
        command
            .arg(format!("--configFile={}", place("traefik.yaml")))
            .env_clear();
        command.env("REPLICAS", behind.proxy.len().to_string());
        for (service, replicas) in [
            ("auth-service", &behind.auth),
            ("flowise-proxy", &behind.proxy),
            ("accounting-service", &behind.accounting),
        ] {
            for (number, address) in (1..).zip(replicas) {
                command.env(format!("REPLICA_{service}_{number}"), address.to_string());
            }
        }
        if let Some(host) = public_host {
            command.env("PUBLIC_HOST", host);
        }
        let program = Program::start(command, folder, &format!("http://{internal}/ping")).await;
        let gateway = Self {
            web,
            websecure,
            internal,
            _program: program,
        };
        gateway.wait_for_table(public_host).await;
        gateway
    }

    /// Its address for people.
    pub fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// Whether Traefik sends requests to this replica.
    pub async fn sends_to(&self, replica: SocketAddr) -> bool {
        let url = format!("http://{}/metrics", self.internal);
        let metrics = reqwest::get(url).await.expect("Traefik answers");
        let text = metrics.text().await.expect("metrics are text");
        let server = format!("url=\"http://{replica}\"}}");
        text.lines().any(|line| {
            line.starts_with("traefik_service_server_up") && line.contains(&server) && line.ends_with(" 1")
        })
    }

    /// Traefik answers before it has read its table.
    async fn wait_for_table(&self, public_host: Option<&str>) {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let http = http.expect("a client can be built");
        let url = format!("{}/api/auth/", self.url());
        loop {
            let request = http.get(&url).header("host", public_host.unwrap_or("localhost"));
            let answer = request.send().await.expect("Traefik answers");
            let is_traefiks = answer
                .headers()
                .get("content-type")
                .is_some_and(|kind| kind == "text/plain; charset=utf-8");
            if answer.status() != 404 || !is_traefiks {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Each text has to be there, once.
fn replaced(mut text: String, changes: &[(&str, &str)]) -> String {
    for (from, to) in changes {
        assert_eq!(
            text.matches(from).count(),
            1,
            "{from:?} is in the configuration once"
        );
        text = text.replace(from, to);
    }
    text
}

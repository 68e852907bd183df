//! The routing table: every documented path reaches its service, what is inside stays inside, streams flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::{StatusCode, redirect};
use serde_json::{Value, json};
use system_tests::{
    gateway::{Behind, Gateway},
    programs::read,
};
use tokio::sync::Notify;

/// A service that says who it is and what it was asked.
async fn echo(request: HttpRequest, body: Bytes, name: web::Data<&'static str>) -> HttpResponse {
    let headers: BTreeMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    HttpResponse::Ok().json(json!({
        "service": **name, "path": request.uri().path(), "headers": headers, "bytes": body.len(),
    }))
}

/// Two events, the second when the test allows it.
async fn two_events(release: web::Data<Notify>) -> HttpResponse {
    let release = release.into_inner();
    let second = async move {
        release.notified().await;
        Ok::<_, std::io::Error>(Bytes::from_static(b"data: second\n\n"))
    };
    let events =
        stream::once(async { Ok(Bytes::from_static(b"data: first\n\n")) }).chain(stream::once(second));
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(events)
}

fn start_echo(name: &'static str, release: &Arc<Notify>) -> SocketAddr {
    let release = web::Data::from(Arc::clone(release));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(name))
            .app_data(release.clone())
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/api/v1/chat/two-events", web::get().to(two_events))
            .default_service(web::to(echo))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    address
}

struct Outside {
    gateway: Gateway,
    release: Arc<Notify>,
    http: reqwest::Client,
}

impl Outside {
    async fn start(public_host: Option<&str>) -> Self {
        let release = Arc::new(Notify::new());
        let behind = Behind {
            auth: vec![start_echo("auth", &release)],
            proxy: vec![start_echo("proxy", &release)],
            accounting: vec![start_echo("accounting", &release)],
        };
        let gateway = Gateway::start(&behind, public_host).await;
        let mut http = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .redirect(redirect::Policy::none())
            .danger_accept_invalid_certs(true);
        if let Some(host) = public_host {
            http = http.resolve(host, gateway.websecure);
        }
        let http = http.build().unwrap();
        Self {
            gateway,
            release,
            http,
        }
    }

    /// Which service answers at this path, if any does. The path goes out as it is written here.
    async fn who(&self, path: &str) -> Option<String> {
        let answer = self.raw(path).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.starts_with("HTTP/1.1 200") {
            let body: Value =
                serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
            return body["service"].as_str().map(str::to_owned);
        }
        None
    }

    /// No client corrects what is sent.
    async fn raw(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.gateway.web).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// The paths of a document, with something in the place of parameters, and whether they are for people.
fn documented(contract: &str) -> Vec<(String, bool)> {
    let mut paths: Vec<(String, bool)> = Vec::new();
    let lines = contract.lines().skip_while(|line| *line != "paths:").skip(1);
    for line in lines.take_while(|line| line.starts_with(' ') || line.is_empty() || line.starts_with('#')) {
        if let Some(path) = line.strip_prefix("  /") {
            let path = path
                .split(':')
                .next()
                .unwrap_or_default()
                .trim_end_matches(['"', '\'']);
            let filled: Vec<_> = path
                .split('/')
                .map(|part| if part.starts_with('{') { "some-id" } else { part })
                .collect();
            paths.push((format!("/{}", filled.join("/")), true));
        } else if line.trim_start().starts_with("x-access: service")
            && let Some(last) = paths.last_mut()
        {
            last.1 = false;
        }
    }
    paths
}

/// What a service has at its own root, which people reach at auth-service only; `/collections/status` of the proxy is for
/// scripts beside it.
const AT_EVERY_ROOT: [&str; 12] = [
    "/",
    "/collections/status",
    "/info",
    "/health",
    "/api/health",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/reader.js",
    "/docs/reader.css",
];

/// Paths that two services have: people reach them at auth-service, where they came first.
const AT_AUTH_INSTEAD: [&str; 3] = [
    "/api/admin/users",
    "/api/admin/users/some-id",
    "/api/users/some-id",
];

#[actix_web::test]
async fn every_documented_path_reaches_its_service() {
    let outside = Outside::start(None).await;
    for (service, contract) in [
        ("auth", auth_service::CONTRACT),
        ("proxy", proxy_service::CONTRACT),
        ("accounting", accounting_service::CONTRACT),
    ] {
        let paths = documented(contract);
        assert!(paths.len() > 20, "{service} has paths");
        for (path, for_people) in paths {
            let is_root = AT_EVERY_ROOT.contains(&path.as_str());
            if path.starts_with("/internal") || is_root || !for_people {
                continue;
            }
            let wanted = if AT_AUTH_INSTEAD.contains(&path.as_str()) {
                "auth"
            } else {
                service
            };
            assert_eq!(
                outside.who(&path).await.as_deref(),
                Some(wanted),
                "{path} of {service}"
            );
        }
    }
}

#[actix_web::test]
async fn the_table_is_that_of_the_contract() {
    let outside = Outside::start(None).await;
    for (service, paths) in [
        (
            "proxy",
            &[
                "/api/v1/chat/predict/stream/store",
                "/api/v1/session/create",
                "/api/v1/chatflows",
                "/api/v1/embeds/x",
                "/api/admin/chatflows/sync",
                "/api/v1/admin/chatflows",
                "/api/admin/users/sync",
                "/api/v1/admin/users/42/chatflows",
                "/api/admin/users/42/chatflows",
                "/widget/embed.js",
                "/chat",
                "/chat/assets/0123456789abcdef/main.js",
                "/chat/predict",
                "/chatflows/",
            ][..],
        ),
        (
            "accounting",
            &[
                "/api/credits/balance",
                "/api/usage/record",
                "/api/streaming-sessions/initialize",
            ],
        ),
        (
            "auth",
            &[
                "/api/auth/login",
                "/api/v1/auth/login",
                "/api/admin/users",
                "/api/admin/users/42",
                "/api/profile",
                "/api/sessions/me",
                "/auth/x",
                "/users/me/2fa/setup",
                "/sessions/me",
                "/logs/x",
                "/api/v1/admin/x",
                "/.well-known/jwks.json",
                "/",
                "/login",
                "/session/refresh",
                "/session/end",
                "/dashboard",
                "/chatter",
                "/my-chatflows",
                "/admin/chatflows/x",
                "/api/creditsx",
            ],
        ),
    ] {
        for path in paths {
            assert_eq!(outside.who(path).await.as_deref(), Some(service), "{path}");
        }
    }
}

#[actix_web::test]
async fn what_is_inside_stays_inside_however_it_is_written() {
    let outside = Outside::start(None).await;
    for path in [
        "/internal/revocations",
        "/internal",
        "/internal/",
        "//internal/revocations",
        "/./internal/revocations",
        "/api/../internal/revocations",
        "/%69nternal/revocations",
        "/internal%2Frevocations",
        "/metrics",
        "/metrics/",
        "/%6detrics",
        "/x/../metrics",
        "/metrics.json",
        "/livez",
        "/readyz",
        "/l%69vez",
        "/api/credits/../../internal/people/1/data",
        "/api/v1/chat/%2e%2e/%2e%2e/%2e%2e/internal/people/1/data",
        "/chat/..%2f..%2finternal/people/1/data",
    ] {
        let answer = outside.raw(path).await;
        let echoed = answer
            .split_once("\r\n\r\n")
            .and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        if let Some(echoed) = echoed.filter(|echoed| echoed["service"].is_string()) {
            // It may reach a service only as another path than the one that is kept inside. An encoded slash is no
            // slash to the services, so what follows it is part of a name.
            let seen = echoed["path"]
                .as_str()
                .unwrap()
                .to_lowercase()
                .replace("%2e", ".");
            let mut parts = seen.split('/').filter(|part| !part.is_empty() && *part != ".");
            let first = parts
                .next()
                .unwrap_or_default()
                .split("%2f")
                .next()
                .unwrap_or_default();
            let inside = ["internal", "metrics", "metrics.json", "livez", "readyz", ".."];
            assert!(
                !inside.contains(&first) && parts.all(|part| part != ".."),
                "{path} reaches {echoed}"
            );
        }
    }
    for path in ["/internal/revocations", "/metrics", "/livez", "/readyz"] {
        assert!(outside.raw(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[actix_web::test]
async fn events_go_out_as_they_come_and_are_never_compressed() {
    let outside = Outside::start(None).await;
    let url = format!("{}/api/v1/chat/two-events", outside.gateway.url());
    let request = outside.http.get(url).header("accept-encoding", "gzip, br, zstd");

    let answer = request.send().await.unwrap();

    assert!(answer.headers().get("content-encoding").is_none());
    let mut events = answer.bytes_stream();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: first\n\n");
    outside.release.notify_one();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: second\n\n");
}

#[actix_web::test]
async fn services_see_the_real_client_and_whole_uploads() {
    let outside = Outside::start(None).await;
    let upload = vec![b'x'; 30 << 20];
    let request = outside
        .http
        .post(format!("{}/api/v1/chat/predict", outside.gateway.url()))
        .header("x-forwarded-for", "203.0.113.7")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .body(upload.clone());

    let answer: Value = request.send().await.unwrap().json().await.unwrap();

    assert_eq!(answer["bytes"], upload.len());
    assert_eq!(
        answer["headers"]["x-forwarded-for"], "127.0.0.1",
        "nobody invents an address"
    );
    let trace = answer["headers"]["traceparent"].as_str().unwrap();
    assert!(
        trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{trace}"
    );
}

#[actix_web::test]
async fn with_a_host_name_everything_is_tls_and_no_other_host_is_served() {
    let outside = Outside::start(Some("chat.example.org")).await;
    let web = outside.gateway.url();

    let plain = outside
        .http
        .get(format!("{web}/api/auth/login"))
        .header("host", "chat.example.org");
    let plain = plain.send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::MOVED_PERMANENTLY);
    let target = plain.headers()["location"].to_str().unwrap().to_owned();
    assert!(target.starts_with("https://chat.example.org"), "{target}");

    let port = outside.gateway.websecure.port();
    let secure = outside
        .http
        .get(format!("https://chat.example.org:{port}/api/credits/balance"));
    let secure = secure.send().await.unwrap();
    assert_eq!(secure.status(), StatusCode::OK);
    assert!(secure.headers().contains_key("strict-transport-security"));
    assert_eq!(secure.json::<Value>().await.unwrap()["service"], "accounting");

    let inside = outside
        .http
        .get(format!("https://chat.example.org:{port}/internal/revocations"));
    assert_eq!(inside.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let other = outside
        .http
        .get(format!("{web}/api/auth/login"))
        .header("host", "other.example.org");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[test]
fn labels_and_manifests_have_the_paths_of_the_table() {
    // What stands between the quotes of PathRegexp, with dollars and backslashes as they are meant.
    let paths = |file: &str| -> BTreeSet<String> {
        let text = read(file).replace("$$", "$");
        let parts = text.split("PathRegexp(`").skip(1);
        parts
            .filter_map(|part| part.split_once('`').map(|(path, _)| path.to_owned()))
            .collect()
    };
    let table = paths("deploy/traefik/dynamic.yaml");
    assert!(table.len() > 9, "the table has paths: {table:?}");
    assert_eq!(paths("deploy/compose.labels.yaml"), table);

    let manifest = read("deploy/kubernetes/base/routes.yaml");
    let paths = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- path: \""));
    let paths: BTreeSet<_> = paths
        .filter_map(|line| line.strip_suffix('"'))
        .map(|path| path.replace("\\\\", "\\"))
        .collect();
    for path in table.iter().filter(|path| !path.contains("internal")) {
        assert!(paths.contains(path), "{path} has no Ingress in {paths:?}");
    }
    assert!(
        paths
            .iter()
            .all(|path| !path.contains("internal") && !path.contains("metrics"))
    );
}

//! Chat turns: the stand-in called directly, through nginx, and through the proxy with everything on.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use system_tests::load::{Caller, Load, Report, find, run};
use url::Url;

use crate::{
    processes::{Stack, free_address, wait_until_ready},
    table::Table,
};

/// People chatting, each on a connection of their own.
const PEOPLE: usize = 128;

/// What everybody may spend: more than a run can.
const CREDITS: i64 = 100_000_000;

/// What everybody asks.
pub(crate) const QUESTION: &str = "hello world";

/// Measures every row of this part.
pub(crate) async fn measure(
    stack: &Stack,
    people: &People,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let busy = Load {
        connections: PEOPLE,
        duration,
    };
    let calm = Load {
        connections: 1,
        duration: duration / 2,
    };
    let nginx = Nginx::start(stack).await;
    if let Err(error) = &nginx {
        table.note(format!("nginx could not be measured: {error:#}"));
    }
    for (label, load) in [("1 at a time", calm), ("128 at a time", busy)] {
        let direct = run(stack.flowise, load, |_| {
            Turn::new(people.direct(stack.flowise, QUESTION))
        })
        .await?;
        table.add(&format!("turns, stand-in directly, {label}"), &direct, None);
        let rate = direct.rate();
        if let Ok(nginx) = &nginx {
            let report = run(nginx.address, load, |_| {
                Turn::new(people.direct(nginx.address, QUESTION))
            })
            .await?;
            table.add(
                &format!("turns, nginx in front, {label}"),
                &report,
                Some(("direct", rate)),
            );
        }
        let report = run(stack.proxy, load, |index| {
            Turn::new(people.paid(stack.proxy, index, QUESTION))
        })
        .await?;
        table.add(
            &format!("paid turns, Flowgate in front, {label}"),
            &report,
            Some(("direct", rate)),
        );
        table.note(added(label, &direct, &report));
    }
    Ok(())
}

fn added(label: &str, direct: &Report, paid: &Report) -> String {
    let ms = |percent| {
        (paid
            .percentile(percent)
            .saturating_sub(direct.percentile(percent)))
        .as_secs_f64()
            * 1e3
    };
    format!(
        "added latency of a paid turn, {label}: p50 {:.2} ms, p99 {:.2} ms",
        ms(50),
        ms(99)
    )
}

/// Users with credits and a chatflow.
pub(crate) struct People {
    tokens: Vec<String>,
    chatflow_id: String,
}

impl People {
    /// Makes them.
    pub(crate) async fn prepare(stack: &Stack) -> anyhow::Result<Self> {
        let admin = stack.admin_token().await?;
        stack
            .call(
                stack.proxy,
                "/api/v1/admin/chatflows/sync",
                Some(&admin),
                &json!({}),
            )
            .await?;
        let chatflow_id = chat_flow(stack).await?;
        let mut tokens = Vec::new();
        for index in 0..PEOPLE {
            let (name, password) = (format!("person{index}"), "correct horse battery");
            let email = format!("{name}@example.com");
            let user = json!({
                "username": name, "email": email, "password": password, "skipVerification": true,
            });
            let created = stack
                .call(stack.auth, "/api/admin/users", Some(&admin), &user)
                .await?;
            let grant = json!({ "userId": created["userId"], "credits": CREDITS });
            stack
                .call(stack.accounting, "/api/credits/allocate", Some(&admin), &grant)
                .await?;
            let path = format!("/api/v1/admin/chatflows/{chatflow_id}/users");
            stack
                .call(stack.proxy, &path, Some(&admin), &json!({ "email": email }))
                .await?;
            let login = json!({ "username": name, "password": password });
            let answer = stack.call(stack.auth, "/api/auth/login", None, &login).await?;
            tokens.push(
                answer["accessToken"]
                    .as_str()
                    .context("no access token")?
                    .to_owned(),
            );
        }
        Ok(Self { tokens, chatflow_id })
    }

    /// A request as Flowise takes it.
    pub(crate) fn direct(&self, address: SocketAddr, question: &str) -> Vec<u8> {
        let body = json!({ "question": question, "streaming": true });
        let path = format!("/api/v1/prediction/{}", self.chatflow_id);
        post(address, &path, None, &body)
    }

    /// A request as one of these people sends it to the proxy.
    pub(crate) fn paid(&self, address: SocketAddr, index: usize, question: &str) -> Vec<u8> {
        let body = json!({ "question": question, "chatflow_id": self.chatflow_id, "sessionId": "" });
        let path = "/api/v1/chat/predict/stream/store";
        post(address, path, Some(self.token(index)), &body)
    }

    /// One person's token; there are more requests than people.
    pub(crate) fn token(&self, index: usize) -> &str {
        let token = self.tokens.get(index % self.tokens.len());
        token.map(String::as_str).unwrap_or_default()
    }

    /// The chatflow that they all may use.
    pub(crate) fn chatflow_id(&self) -> &str {
        &self.chatflow_id
    }
}

/// The stand-in's conversation chain, which answers in a handful of tokens.
async fn chat_flow(stack: &Stack) -> anyhow::Result<String> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()?;
    let text = client
        .get(format!("http://{}/api/v1/chatflows", stack.flowise))
        .send()
        .await?
        .text()
        .await?;
    let flows: Vec<Value> = serde_json::from_str(&text)?;
    let chain = flows
        .iter()
        .find(|flow| flow["type"] == "CHATFLOW" && flow["apikeyid"].is_null());
    Ok(chain
        .and_then(|flow| flow["id"].as_str())
        .context("the stand-in has no chatflow")?
        .to_owned())
}

/// One connection asking the same question again and again.
pub(crate) struct Turn {
    request: Vec<u8>,
}

impl Turn {
    /// Asks with this request.
    pub(crate) fn new(request: Vec<u8>) -> Self {
        Self { request }
    }
}

impl Caller for Turn {
    fn request(&mut self) -> Option<Vec<u8>> {
        Some(self.request.clone())
    }

    fn is_success(&mut self, status: u16, body: &[u8]) -> bool {
        is_whole(status, body)
    }
}

/// Whether a stream of Flowise's events, or of ours, has an answer and no error.
pub(crate) fn is_whole(status: u16, body: &[u8]) -> bool {
    status == 200
        && find(body, br#""event":"token""#).is_some()
        && find(body, br#""event":"end""#).is_some()
        && find(body, br#""event":"error""#).is_none()
}

/// A whole request.
pub(crate) fn post(address: SocketAddr, path: &str, token: Option<&str>, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let authorization = token
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// nginx as a plain reverse proxy, buffering off as for any stream.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

impl Nginx {
    /// Starts one in front of the stand-in.
    pub(crate) async fn start(stack: &Stack) -> anyhow::Result<Self> {
        let address = free_address()?;
        let folder = stack.work.join("nginx");
        std::fs::create_dir_all(&folder)?;
        let configuration = nginx_configuration(&folder, address, stack.flowise);
        std::fs::write(folder.join("nginx.conf"), configuration)?;
        let nginx = Self { address, folder };
        nginx.command().spawn().context("nginx is not installed")?;
        wait_until_ready(address, "/api/v1/ping").await?;
        Ok(nginx)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        let configuration = self.folder.join("nginx.conf");
        command.arg("-c").arg(configuration).arg("-p").arg(&self.folder);
        command
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        let _ = self.command().args(["-s", "stop"]).status();
    }
}

fn nginx_configuration(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nworker_processes 2;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n\
         \x20 fastcgi_temp_path {folder}/f;\n  uwsgi_temp_path {folder}/u;\n  scgi_temp_path {folder}/s;\n\
         \x20 keepalive_requests 1000000;\n\
         \x20 upstream flowise {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}\n\
         \x20 server {{\n    listen {listen};\n    location / {{\n      proxy_pass http://flowise;\n\
         \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n\
         \x20   }}\n  }}\n}}\n"
    )
}

/// The address a URL names, for programs that want it apart.
pub(crate) fn host_and_port(url: &Url) -> (String, String) {
    (
        url.host_str().unwrap_or("127.0.0.1").to_owned(),
        url.port().unwrap_or(5432).to_string(),
    )
}

//! The programs under measurement, each a process of its own as in production.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use url::Url;
use uuid::Uuid;

/// How long a program may take to get ready.
const READY: Duration = Duration::from_secs(30);

/// The three services and the stand-in Flowise, running.
pub(crate) struct Stack {
    pub(crate) auth: SocketAddr,
    pub(crate) accounting: SocketAddr,
    pub(crate) proxy: SocketAddr,
    pub(crate) flowise: SocketAddr,
    pub(crate) access_secret: String,
    pub(crate) service_secret: String,
    pub(crate) admin_password: String,
    pub(crate) work: PathBuf,
    pub(crate) accounting_database: Url,
    /// auth-service's database.
    pub(crate) auth_mongodb: String,
    /// auth-service's process.
    pub(crate) auth_process: Option<u32>,
    /// proxy-service's process.
    pub(crate) proxy_process: Option<u32>,
    children: Vec<Child>,
}

impl Stack {
    /// Starts all four on free ports with databases of their own.
    pub(crate) async fn start(
        programs: &Path,
        work: &Path,
        postgres: &Url,
        mongodb: &Url,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(work)?;
        let run = Uuid::new_v4().simple().to_string();
        let database = format!("flowgate_bench_{run}");
        let mut accounting_database = postgres.clone();
        accounting_database.set_path(&database);
        let mut stack = Self {
            auth: free_address()?,
            accounting: free_address()?,
            proxy: free_address()?,
            flowise: free_address()?,
            access_secret: secret(),
            service_secret: secret(),
            admin_password: secret(),
            work: work.to_owned(),
            accounting_database,
            auth_mongodb: String::new(),
            auth_process: None,
            proxy_process: None,
            children: Vec::new(),
        };
        create_database(postgres, &database).await?;
        let mut auth_mongodb = mongodb.clone();
        auth_mongodb.set_path(&format!("flowgate_bench_auth_{run}"));
        stack.auth_mongodb = auth_mongodb.into();
        let refresh_secret = secret();
        let common = [
            ("HOST", "127.0.0.1".to_owned()),
            ("LOG_LEVEL", "warn".to_owned()),
            ("JWT_ACCESS_SECRET", stack.access_secret.clone()),
            ("SERVICE_JWT_SECRET", stack.service_secret.clone()),
            ("EXTERNAL_AUTH_URL", format!("http://{}", stack.auth)),
            ("ACCOUNTING_SERVICE_URL", format!("http://{}", stack.accounting)),
        ];
        let flowise_port = stack.flowise.port().to_string();
        stack.spawn(
            &programs.join("stand-in-flowise"),
            &["--port", &flowise_port],
            &[],
        )?;
        let auth = [
            ("PORT", stack.auth.port().to_string()),
            ("MONGODB_URI", stack.auth_mongodb.clone()),
            ("JWT_REFRESH_SECRET", refresh_secret),
            ("BOOTSTRAP_ADMIN_USERNAME", "admin".to_owned()),
            ("BOOTSTRAP_ADMIN_EMAIL", "admin@example.com".to_owned()),
            ("BOOTSTRAP_ADMIN_PASSWORD", stack.admin_password.clone()),
            ("MAIL_DIR", work.join("mail").display().to_string()),
        ];
        stack.spawn(
            &programs.join("auth-service"),
            &[],
            &[&common[..], &auth].concat(),
        )?;
        stack.auth_process = stack.children.last().and_then(Child::id);
        let accounting = [
            ("PORT", stack.accounting.port().to_string()),
            ("DB_HOST", postgres.host_str().unwrap_or("127.0.0.1").to_owned()),
            ("DB_PORT", postgres.port().unwrap_or(5432).to_string()),
            ("DB_NAME", database),
            ("DB_USER", postgres.username().to_owned()),
            ("DB_PASSWORD", postgres.password().unwrap_or("unused").to_owned()),
            ("MAX_OPEN_HOLDS_PER_USER", "10000".to_owned()),
            ("USER_REQUESTS_PER_SEC", "0".to_owned()),
        ];
        stack.spawn(
            &programs.join("accounting-service"),
            &[],
            &[&common[..], &accounting].concat(),
        )?;
        let proxy = [
            ("PORT", stack.proxy.port().to_string()),
            ("MONGODB_URI", mongodb.to_string()),
            ("MONGODB_DATABASE_NAME", format!("flowgate_bench_proxy_{run}")),
            ("FLOWISE_API_URL", format!("http://{}", stack.flowise)),
            // What is measured is the way through, not the door; and a hundred people stand for thousands.
            ("MAX_RUNNING_TURNS_PER_USER", "1000".to_owned()),
            ("MAX_UPSTREAM_TURNS", "20000".to_owned()),
            ("RATE_LIMIT_ADDRESS_PER_SEC", "0".to_owned()),
            ("RATE_LIMIT_USER_PER_SEC", "0".to_owned()),
        ];
        stack.spawn(
            &programs.join("proxy-service"),
            &[],
            &[&common[..], &proxy].concat(),
        )?;
        stack.proxy_process = stack.children.last().and_then(Child::id);
        for address in [stack.auth, stack.accounting, stack.proxy] {
            wait_until_ready(address, "/readyz").await?;
        }
        wait_until_ready(stack.flowise, "/api/v1/ping").await?;
        Ok(stack)
    }

    /// Starts one more program, stopped with the rest.
    pub(crate) fn spawn(
        &mut self,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let name = program
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("program");
        let log = std::fs::File::create(self.work.join(format!("{name}.log")))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        self.children.push(child);
        Ok(())
    }

    /// Ends every program.
    pub(crate) async fn stop(mut self) {
        for child in &mut self.children {
            // One that has ended already needs no killing.
            let _ = child.kill().await;
        }
    }

    /// Asks a service as the administrator or with any other token; fails on anything but success.
    pub(crate) async fn call(
        &self,
        address: SocketAddr,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .build()?;
        let mut request = client.post(format!("http://{address}{path}")).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Tells the stand-in how to behave.
    pub(crate) async fn control(&self, change: &Value) -> anyhow::Result<()> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?;
        let request = client.put(format!("http://{}/_control", self.flowise));
        request.json(change).send().await?.error_for_status()?;
        Ok(())
    }

    /// The administrator's access token.
    pub(crate) async fn admin_token(&self) -> anyhow::Result<String> {
        let body = json!({ "username": "admin", "password": self.admin_password });
        let answer = self.call(self.auth, "/api/auth/login", None, &body).await?;
        Ok(answer["accessToken"]
            .as_str()
            .context("no access token")?
            .to_owned())
    }
}

/// A port nobody listens on right now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

async fn create_database(postgres: &Url, name: &str) -> anyhow::Result<()> {
    use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

    let mut connection = AsyncPgConnection::establish(postgres.as_str()).await?;
    diesel::sql_query(format!("CREATE DATABASE {name}"))
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Asks until the program answers well; bounded by [`READY`].
pub(crate) async fn wait_until_ready(address: SocketAddr, path: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()?;
    let url = format!("http://{address}{path}");
    let ask = async {
        loop {
            if client
                .get(&url)
                .send()
                .await
                .is_ok_and(|response| response.status().is_success())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY, ask)
        .await
        .with_context(|| format!("{url} did not get ready"))
}

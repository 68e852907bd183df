//! The real Prometheus with our files, on three real services: targets, rules, and every query of the dashboards.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use system_tests::{
    fleet::{Fleet, Guest, until},
    platform::ADMIN,
    programs::{Program, free_address, path_of, read, root},
};
use tokio::process::Command;

/// Made up; nothing is signed with it but messages to nobody.
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Prometheus {
    url: String,
    http: reqwest::Client,
    _program: Program,
}

impl Prometheus {
    async fn start(fleet: &Fleet) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let mut config = read("deploy/prometheus/prometheus.yaml");
        let rules = root().join("deploy/prometheus/rules").display().to_string();
        let mut changes = vec![
            ("/etc/prometheus/rules".to_owned(), rules),
            ("localhost:9090".to_owned(), address.to_string()),
            (
                "scrape_interval: 10s".to_owned(),
                "scrape_interval: 250ms".to_owned(),
            ),
            (
                "scrape_timeout: 5s".to_owned(),
                "scrape_timeout: 250ms".to_owned(),
            ),
            (
                "evaluation_interval: 15s".to_owned(),
                "evaluation_interval: 250ms".to_owned(),
            ),
            // Nobody runs these two here.
            ("alertmanager:9093".to_owned(), "127.0.0.1:1".to_owned()),
            (
                "dns_sd_configs: [{ names: [node-exporter], type: A, port: 9100, refresh_interval: 30s }]"
                    .to_owned(),
                "static_configs: []".to_owned(),
            ),
        ];
        for (name, port, service) in [
            ("auth-service", 3000, &fleet.auth),
            ("flowise-proxy", 8000, &fleet.proxy),
            ("accounting-service", 3001, &fleet.accounting),
        ] {
            changes.push((
                format!(
                    "dns_sd_configs: [{{ names: [{name}], type: A, port: {port}, refresh_interval: 10s }}]"
                ),
                format!("static_configs: [{{ targets: [\"{}\"] }}]", service.addresses[0]),
            ));
        }
        for (from, to) in changes {
            assert_eq!(
                config.matches(&from).count(),
                1,
                "{from:?} is in the configuration once"
            );
            config = config.replace(&from, &to);
        }
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(path_of("prometheus").await);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path());
        let url = format!("http://{address}");
        let program = Program::start(command, folder, &format!("{url}/-/ready")).await;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            url,
            http,
            _program: program,
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer: Value = self
            .http
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// How many series a query has now.
    async fn series(&self, query: &str) -> usize {
        let request = self.http.get(format!("{}/api/v1/query", self.url));
        let answer: Value = request
            .query(&[("query", query)])
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().len()
    }
}

/// The queries of a dashboard with the title of their panel, as Grafana would ask them.
fn queries(dashboard: &str) -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(dashboard)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$__range", "1h")
                .replace("$service", ".*");
            assert!(!query.contains('$'), "a variable that nobody fills: {query}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

/// Does a little of everything that the dashboards show.
async fn smoke(fleet: &Fleet) {
    let (auth, accounting, proxy) = (
        fleet.auth.client(0),
        fleet.accounting.client(0),
        fleet.proxy.client(0),
    );
    let admin = Guest::log_in(&auth, &accounting, &proxy, ADMIN.0, ADMIN.2).await;
    let guest = admin.admits("smoker", 10).await;
    guest.chat(&[]).await.unwrap();
    let refresh = json!({ "refreshToken": guest.refresh_token });
    auth.post("/api/auth/refresh", &refresh).await.expect(200);
    auth.post(
        "/api/auth/login",
        &json!({ "username": "smoker", "password": "wrong" }),
    )
    .await
    .expect(401);
    guest.accounting.get("/api/credits/balance").await.expect(200);
}

#[actix_web::test]
async fn all_targets_are_up_all_rules_load_and_every_dashboard_query_has_a_series() {
    // The ledger verifies itself soon after the start, so that its result is there to be shown.
    let fleet = Fleet::start(crate::PROGRAM, 1, &[("VERIFY_EVERY_SECS", "1")]).await;
    let prometheus = Prometheus::start(&fleet).await;
    smoke(&fleet).await;

    until("all targets are up", async || {
        let targets = prometheus.get("/api/v1/targets").await;
        let targets = targets["activeTargets"].as_array().unwrap().clone();
        targets.len() == 4 && targets.iter().all(|target| target["health"] == "up")
    })
    .await;
    until("all rules are evaluated and well", async || {
        let groups = prometheus.get("/api/v1/rules").await;
        let groups = groups["groups"].as_array().unwrap().clone();
        let rules: Vec<_> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        rules.len() > 25 && rules.iter().all(|rule| rule["health"] == "ok")
    })
    .await;
    for dashboard in ["operators", "business"] {
        let queries = queries(&format!("deploy/grafana/dashboards/{dashboard}.json"));
        assert!(queries.len() > 8, "{dashboard} shows something");
        for (panel, query) in queries {
            until(
                &format!("{dashboard}, {panel:?} has a series for {query}"),
                async || prometheus.series(&query).await > 0,
            )
            .await;
        }
    }
    for query in [
        "rate(fastapi_requests_total[1m])",
        "sum(rate(fastapi_request_duration_seconds_sum[1m])) / sum(rate(fastapi_request_duration_seconds_count[1m]))",
        "histogram_quantile(0.99, sum by (le) (rate(fastapi_request_duration_seconds_bucket[1m])))",
        "fastapi_requests_in_progress",
        "service:http_errors:ratio_rate5m",
        "service:http_slow:ratio_rate5m",
    ] {
        until(query, async || prometheus.series(query).await > 0).await;
    }
}

#[actix_web::test]
async fn what_alerts_ask_for_is_what_the_services_say() {
    let webhook = [
        ("WEBHOOK_URL", "http://127.0.0.1:1/"),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    let more = [&webhook[..], &[("VERIFY_EVERY_SECS", "1")]].concat();
    let fleet = Fleet::start(crate::PROGRAM, 1, &more).await;
    smoke(&fleet).await;
    let rules = read("deploy/prometheus/rules/alerts.yaml");
    let words =
        rules.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    let prefixes = [
        "holds_",
        "ledger_",
        "outbox_",
        "webhook_",
        "auth_",
        "revocation_",
        "turns_",
    ];
    let metrics: BTreeSet<_> = words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect();
    assert!(metrics.len() > 8, "the alerts ask for something");
    for metric in metrics {
        until(&format!("a service says {metric}"), async || {
            let mut said = String::new();
            for service in [&fleet.auth, &fleet.accounting, &fleet.proxy] {
                said.push_str(&service.client(0).get("/metrics").await.expect(200).text);
            }
            said.lines()
                .any(|line| line.starts_with(&format!("# TYPE {metric} ")))
        })
        .await;
    }
}

#[actix_web::test]
async fn the_unit_tests_of_the_alerts_hold() {
    let promtool = path_of("promtool").await;
    for file in std::fs::read_dir(root().join("deploy/prometheus/tests")).unwrap() {
        let output = Command::new(&promtool)
            .args(["test", "rules"])
            .arg(file.unwrap().path())
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

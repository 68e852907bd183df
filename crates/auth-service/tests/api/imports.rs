//! Tables of people: what they look like, what becomes of their rows, and that nothing is done twice.

mod gifts;
mod large;

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::Answer;

use crate::support::{PASSWORD, SignedIn, TestApp, email_of, eventually};

/// A hundred thousand bytes, compressed.
const BOMB: &str = "1f8b0800000000000203edc13101000000c2a030ebdfd11a1e4001000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000af0672b6d426a0860100";

/// Sends a table as an administrator.
pub(crate) async fn import(admin: &SignedIn, query: &str, table: impl Into<reqwest::Body>) -> Answer {
    let path = format!("/api/admin/users/import{query}");
    let request = admin
        .client
        .request(Method::POST, &path)
        .header("content-type", "text/csv");
    admin.client.send(request.body(table)).await
}

fn statuses(answer: &Answer) -> Vec<(u64, String)> {
    let results = answer.body["results"].as_array().unwrap();
    let status = |result: &Value| {
        (
            result["line"].as_u64().unwrap(),
            result["status"].as_str().unwrap().to_owned(),
        )
    };
    results.iter().map(status).collect()
}

fn message(answer: &Answer, row: usize) -> String {
    answer.body["results"][row]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn admin() -> (TestApp, SignedIn) {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    (app, root)
}

#[tokio::test]
async fn people_with_a_password_sign_in_and_the_others_choose_one_by_mail() {
    let (app, root) = admin().await;
    let table = format!(
        "\u{feff}action;username;email;password;role;fullName\r\n\
         create;mei.lin;Mei.Lin@example.com;{PASSWORD};student;\"Lin; Mei\"\r\n\
         # a remark;x;y\r\n\
         ;tom;tom@example.com;;teacher;Tom\r\n"
    );

    let answer = import(&root, "", table).await.expect(200);

    assert_eq!(
        statuses(&answer),
        [(2, "created".to_owned()), (4, "created".to_owned())]
    );
    let summary = &answer.body["summary"];
    assert_eq!(
        (&summary["created"], &summary["invited"], &summary["applied"]),
        (&json!(2), &json!(1), &json!(true))
    );
    assert_eq!(
        (&summary["encoding"], &summary["separator"]),
        (&json!("utf-8"), &json!(";"))
    );
    let mei = app.log_in("mei.lin").await;
    assert_eq!(mei.id, answer.body["results"][0]["userId"]);
    assert_eq!(mei.claims(&app).role, common_jwt::Role::EndUser);
    let stored = app.find_user(&mei.id).await.unwrap();
    assert_eq!(stored.get_str("role").ok(), Some("student"), "stored as written");
    assert_eq!(stored.get_str("fullName").ok(), Some("Lin; Mei"));
    assert_eq!(stored.get_str("email").ok(), Some("mei.lin@example.com"));
    let profile = mei.client.get("/api/profile").await.expect(200);
    assert_eq!(profile.body["user"]["fullName"], "Lin; Mei");

    let mail = eventually("the invitation", async || app.mails_to("tom@example.com").pop()).await;
    let mail = mail.replace("=\r\n", "").replace("=3D", "=");
    let (_, after) = mail
        .split_once("https://chat.example.com/reset-password?token=")
        .unwrap();
    let token: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
    app.try_log_in("tom", "!").await.expect(401);
    let chosen = json!({ "token": token, "newPassword": PASSWORD });
    app.client
        .post("/api/auth/reset-password", &chosen)
        .await
        .expect(200);
    app.log_in("tom").await;
    assert!(
        app.mails_to("mei.lin@example.com").is_empty(),
        "who has a password needs no invitation"
    );
    assert_eq!(
        app.count("onboarding", doc! {}).await,
        0,
        "nothing is left to be done"
    );
}

#[tokio::test]
async fn the_same_table_again_changes_nothing_and_mails_nobody() {
    let (app, root) = admin().await;
    let table = "username,email\nada,ada@example.com\nbob,bob@example.com\n";
    import(&root, "", table).await.expect(200);
    eventually("both are invited", async || {
        (app.mails_to("ada@example.com").len() + app.mails_to("bob@example.com").len() == 2).then_some(())
    })
    .await;
    let before = app.count("users", doc! {}).await;

    let again = import(
        &root,
        "",
        "username,email\nada,ADA@example.com\nrobert,bob@example.com\neve,eve@example.com",
    )
    .await;

    let again = again.expect(200);
    let expected = ["unchanged", "unchanged", "created"];
    assert_eq!(
        statuses(&again)
            .into_iter()
            .map(|(_, status)| status)
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(message(&again, 1), "the account is called bob");
    assert_eq!(app.count("users", doc! {}).await, before + 1);
    eventually("the new one is invited", async || {
        app.mails_to("eve@example.com").pop()
    })
    .await;
    assert_eq!(app.mails_to("ada@example.com").len(), 1);
}

#[tokio::test]
async fn each_bad_row_fails_for_itself_and_says_why() {
    let (app, root) = admin().await;
    app.sign_up("taken").await;
    let table = "username,email,role,credits\n\
                 good,good@example.com,,\n\
                 taken,other@example.com,,\n\
                 x,short@example.com,,\n\
                 nomail,,,\n\
                 chief,chief@example.com,admin,\n\
                 odd,odd@example.com,god,\n\
                 \"broken,broken@example.com,,\n\
                 good2,GOOD@example.com,,\n\
                 good,other2@example.com,,\n\
                 lookalike,\u{430}da@example.com,,\n\
                 evil,\"a@b.c\r\nBcc: x@y.z\",,\n\
                 last,last@example.com,,0\n";

    let answer = import(&root, "", table).await.expect(200);

    let by_line: Vec<_> = statuses(&answer);
    let good: Vec<_> = by_line
        .iter()
        .filter(|(_, status)| status == "created")
        .map(|(line, _)| *line)
        .collect();
    assert_eq!(good, [2, 14], "{}", answer.text);
    for (row, part) in [
        (1, "already exists"),
        (2, "3 to 30"),
        (3, "email is required"),
        (4, "an admin cannot be created here"),
        (5, "role must be"),
        (6, "quote"),
        (7, "line 2 already"),
        (8, "line 2 already"),
        (9, "not an e-mail address"),
        (10, "not an e-mail address"),
    ] {
        assert!(
            message(&answer, row).contains(part),
            "{row}: {}",
            message(&answer, row)
        );
    }
    assert_eq!(answer.body["summary"]["failed"], 10);
    assert_eq!(app.count("users", doc! {}).await, 4);
}

#[tokio::test]
async fn a_dry_run_looks_and_an_atomic_one_does_all_or_nothing() {
    let (app, root) = admin().await;
    let bad = "username,email\nada,ada@example.com\nroot1,other@example.com\n";
    let good = "username,email\nada,ada@example.com\nbob,bob@example.com\n";

    for query in ["?dry_run=true", "?atomic=true", "?atomic=true&dry_run=true"] {
        let answer = import(&root, query, bad).await.expect(200);
        let expected = [(2, "valid".to_owned()), (3, "failed".to_owned())];
        assert_eq!(statuses(&answer), expected, "{query}");
        assert_eq!(answer.body["summary"]["applied"], false, "{query}");
        assert_eq!(app.count("users", doc! {}).await, 1, "{query}");
    }
    import(&root, "?dry_run=true", good).await.expect(200);
    assert_eq!(app.count("users", doc! {}).await, 1);

    let answer = import(&root, "?atomic=true&invite=false", good).await.expect(200);
    assert_eq!(
        (
            &answer.body["summary"]["created"],
            &answer.body["summary"]["applied"]
        ),
        (&json!(2), &json!(true))
    );
    assert_eq!(answer.body["summary"]["invited"], 0);
    assert_eq!(app.count("onboarding", doc! {}).await, 0);
    assert_eq!(app.count("users", doc! {}).await, 3);
}

#[tokio::test]
async fn what_is_no_table_is_refused_and_changes_nothing() {
    let (app, root) = admin().await;
    for (table, part) in [
        (&b""[..], "is empty"),
        (b"ada,ada@example.com\n", "names the column"),
        (b"\xff\xfeu\0s\0e\0r\0", "UTF-16"),
        (b"PK\x03\x04\0\0\0", "no text"),
        (
            b"username,email,credits\nada,ada@example.com,5\n",
            "set ACCOUNTING_SERVICE_URL",
        ),
        (
            b"username,email,chatflows\nada,ada@example.com,a1\n",
            "set PROXY_SERVICE_URL",
        ),
    ] {
        let answer = import(&root, "", table)
            .await
            .expect_problem(400, "unusable_table");
        assert!(
            answer.body["detail"].as_str().unwrap().contains(part),
            "{}",
            answer.text
        );
    }
    for query in ["?dry_run=1", "?atomic=yes", "?invite="] {
        import(&root, query, "username,email\n")
            .await
            .expect_problem(400, "validation_failed");
    }
    let path = "/api/admin/users/import";
    for content_type in ["application/json", "multipart/form-data", "text/html", ""] {
        let request = root
            .client
            .request(Method::POST, path)
            .header("content-type", content_type);
        let answer = root
            .client
            .send(request.body("username,email\nada,ada@example.com\n"))
            .await;
        answer.expect_problem(415, "unsupported_media_type");
    }
    assert_eq!(app.count("users", doc! {}).await, 1);
    import(&root, "", "username,email\n").await.expect(200);
}

#[tokio::test]
async fn a_table_that_is_too_large_is_refused_also_when_it_arrives_compressed() {
    let app = TestApp::spawn_with(|config| config.import_bytes_max = 10_000).await;
    let root = app.user("root1", "admin").await;
    let table = format!("username,email\n{}", "#xxxxxxxx\n".repeat(1_000));

    let refused = import(&root, "", table)
        .await
        .expect_problem(413, "body_too_large");
    assert_eq!(refused.body["limit_bytes"], 10_000);

    let bomb = hex::decode(BOMB).unwrap();
    let request = root
        .client
        .request(Method::POST, "/api/admin/users/import")
        .header("content-type", "text/csv");
    let request = request.header("content-encoding", "gzip").body(bomb);
    root.client
        .send(request)
        .await
        .expect_problem(413, "body_too_large");
    import(&root, "", "username,email\nada,ada@example.com\n")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_spreadsheet_from_windows_is_read_as_it_was_meant() {
    let (app, root) = admin().await;
    let table = b"username;email;fullName\r\n\xd6d\xf6n;odon@example.com;\x84\xd6d\xf6n\x93 \x80\r\n";

    let answer = import(&root, "", table.to_vec()).await.expect(200);

    assert_eq!(answer.body["summary"]["encoding"], "windows-1252");
    assert_eq!(answer.body["results"][0]["username"], "Ödön");
    let stored = app
        .users()
        .find_one(doc! { "username": "Ödön" })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.get_str("fullName").ok(), Some("„Ödön“ €"));
}

#[tokio::test]
async fn results_come_as_lines_where_they_are_asked_for() {
    let (_app, root) = admin().await;
    let request = root.client.request(Method::POST, "/api/admin/users/import");
    let request = request
        .header("content-type", "text/csv; charset=utf-8")
        .header("accept", "application/x-ndjson");
    let table = "username,email,remark\nada,ada@example.com,x\nx,y,z\n";
    let answer = request.body(table).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["status"], &lines[1]["status"]),
        (&json!("created"), &json!("failed"))
    );
    assert_eq!(lines[2]["summary"]["ignoredColumns"], json!(["remark"]));
}

#[tokio::test]
async fn every_import_is_audited_with_its_counts_and_counted() {
    let (app, root) = admin().await;
    let table = format!("username,email,password\nada,ada@example.com,{PASSWORD}\nx,y,hunter2hunter2\n");
    let answer = import(&root, "", table).await.expect(200);
    assert!(
        !answer.text.contains(PASSWORD) && !answer.text.contains("hunter2"),
        "{}",
        answer.text
    );

    let finished = doc! { "action": "import_finished", "outcome": "ok" };
    let event = app
        .collection("audit_events")
        .find_one(finished)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.get_object_id("actor").unwrap().to_hex(), root.id);
    let details = event.get_document("details").unwrap();
    assert_eq!(
        (details.get_str("rows").ok(), details.get_str("failed").ok()),
        (Some("2"), Some("1"))
    );
    assert_eq!(
        app.count("audit_events", doc! { "action": "import_started" })
            .await,
        1
    );
    let made = doc! { "action": "user_created", "actor": event.get_object_id("actor").unwrap() };
    assert_eq!(app.count("audit_events", made).await, 1);
    let series = r#"auth_imported_rows_total{status="created",service="auth-service"}"#;
    assert!(app.metric(series).await >= 1.0);
}

#[tokio::test]
async fn an_export_can_be_imported_elsewhere() {
    let (app, root) = admin().await;
    let table = "username,email,role,fullName\n\
                 '=cmd,cmd@example.com,teacher,\"=HYPERLINK(\"\"http://evil.example\"\")\"\n\
                 \"semi;colon\",semi@example.com,student,\"two, three\"\n";
    import(&root, "?invite=false", table).await.expect(200);
    let other = app.sign_up("unproven").await;

    let export = root.client.get("/api/admin/users/export").await.expect(200);

    assert_eq!(
        export.headers["content-type"],
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(
        export.headers["content-disposition"],
        "attachment; filename=\"users.csv\""
    );
    assert_eq!(export.headers["cache-control"], "no-store");
    let lines: Vec<_> = export.text.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "action,username,email,role,fullName,id,state,createdAt,updatedAt"
    );
    assert!(lines[1].starts_with("create,root1,root1@example.com,admin,,") && lines[1].contains(",active,"));
    assert!(
        lines[2].starts_with(
            "create,'=cmd,cmd@example.com,teacher,\"'=HYPERLINK(\"\"http://evil.example\"\")\","
        )
    );
    assert!(lines[4].contains(&other) && lines[4].contains(",unverified,"));
    assert!(!export.text.contains("$2b$") && !export.text.contains('!'));
    for line in &lines[1..] {
        assert!(
            !line.split(',').any(|cell| cell.starts_with(['=', '+', '@'])),
            "{line}"
        );
    }

    let elsewhere = TestApp::spawn().await;
    let boss = elsewhere.user("boss", "admin").await;
    let answer = import(&boss, "?invite=false", export.text.clone())
        .await
        .expect(200);
    let outcomes: Vec<_> = statuses(&answer).into_iter().map(|(_, status)| status).collect();
    assert_eq!(
        outcomes,
        ["failed", "created", "created", "created"],
        "admins are made by hand"
    );
    let ignored = json!(["id", "state", "createdAt", "updatedAt"]);
    assert_eq!(answer.body["summary"]["ignoredColumns"], ignored);
    for (email, username, full_name) in [
        (
            "cmd@example.com",
            "=cmd",
            Some("=HYPERLINK(\"http://evil.example\")"),
        ),
        ("semi@example.com", "semi;colon", Some("two, three")),
        (email_of("unproven").as_str(), "unproven", None),
    ] {
        let stored = elsewhere
            .users()
            .find_one(doc! { "email": email })
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.get_str("username").ok(), Some(username));
        assert_eq!(stored.get_str("fullName").ok(), full_name);
    }
    let here = import(&root, "", export.text).await.expect(200);
    assert_eq!(here.body["summary"]["unchanged"], 4, "{}", here.text);
    assert_eq!(
        app.count("audit_events", doc! { "action": "users_exported" })
            .await,
        1
    );
}

#[tokio::test]
async fn an_export_is_written_as_it_is_asked_for() {
    let (_app, root) = admin().await;
    let export = root
        .client
        .get("/api/admin/users/export?bom=true&separator=%3B")
        .await
        .expect(200);
    assert!(
        export.text.starts_with("\u{feff}action;username;email;"),
        "{}",
        export.text
    );
    let export = root
        .client
        .get("/api/admin/users/export?separator=tab")
        .await
        .expect(200);
    assert!(export.text.starts_with("action\tusername\t"), "{}", export.text);
    for query in ["separator=x", "separator=", "bom=1"] {
        let answer = root.client.get(&format!("/api/admin/users/export?{query}")).await;
        answer.expect_problem(400, "validation_failed");
    }
}

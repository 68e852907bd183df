//! Mails about sign-ins from elsewhere.

use bson::{Document, doc, oid::ObjectId};
use futures_util::future::join_all;

use crate::{
    elsewhere::{LAPTOP, PHONE, behind_a_proxy},
    support::{TestApp, email_of, eventually},
};

const HOME: &str = "203.0.113.57";

async fn verified(app: &TestApp, name: &str) -> String {
    let id = app.sign_up(name).await;
    app.update_user(&id, doc! { "isVerified": true }).await;
    id
}

/// How often the user's record was written: once for each sign-in that was looked at.
async fn looked_at(app: &TestApp, id: &str) -> i64 {
    let filter = doc! { "_id": ObjectId::parse_str(id).unwrap() };
    let row = app.collection("known_devices").find_one(filter).await.unwrap();
    row.map_or(0, |row| row.get_i64("version").unwrap())
}

/// Signs in and waits until that was looked at.
async fn log_in(app: &TestApp, id: &str, address: &str, user_agent: &str) {
    let before = looked_at(app, id).await;
    app.log_in_from(address, user_agent, "ada").await;
    eventually("the sign-in is looked at", async || {
        (looked_at(app, id).await > before).then_some(())
    })
    .await;
}

async fn events(app: &TestApp) -> Vec<Document> {
    let mut found = app
        .collection("audit_events")
        .find(doc! { "action": "new_device" })
        .sort(doc! { "_id": 1 })
        .await
        .unwrap();
    let mut events = Vec::new();
    while found.advance().await.unwrap() {
        events.push(found.deserialize_current().unwrap());
    }
    events
}

fn news(app: &TestApp) -> Vec<String> {
    let mails = app.mails_to(&email_of("ada"));
    mails
        .into_iter()
        .filter(|mail| mail.contains("Subject: A new sign-in"))
        .collect()
}

#[tokio::test]
async fn a_new_device_or_network_is_told_once_and_the_first_is_not() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let ada = verified(&app, "ada").await;

    log_in(&app, &ada, HOME, PHONE).await;
    log_in(&app, &ada, "203.0.113.99", PHONE).await;
    let newer = PHONE.replace("133", "134");
    log_in(&app, &ada, HOME, &newer).await;
    assert!(
        events(&app).await.is_empty(),
        "the first, its neighbour and its update are nothing new"
    );

    log_in(&app, &ada, "198.51.100.7", LAPTOP).await;
    let mail = eventually("a mail", async || news(&app).into_iter().next()).await;
    for part in [
        "Edge 131 on Windows 10 (computer)",
        "198.51.100.7",
        "https://chat.example.com/",
        "change your",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    log_in(&app, &ada, "198.51.100.8", PHONE).await;
    log_in(&app, &ada, HOME, LAPTOP).await;
    log_in(&app, &ada, "2001:db8:1:2::3", LAPTOP).await;
    log_in(&app, &ada, "2001:db8:1:ffff::3", LAPTOP).await;

    let events = eventually("two events", async || {
        Some(events(&app).await).filter(|events| events.len() == 2)
    })
    .await;
    assert_eq!(events[0].get_str("outcome").unwrap(), "device_and_network");
    assert_eq!(events[1].get_str("outcome").unwrap(), "network");
    assert_eq!(events[0].get_object_id("subject").unwrap().to_hex(), ada);
    assert!(events[0].get_str("sessionId").is_ok());
    eventually("two mails", async || (news(&app).len() == 2).then_some(())).await;
}

#[tokio::test]
async fn failed_sign_ins_make_nothing_known_and_nothing_mailed() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let ada = verified(&app, "ada").await;
    log_in(&app, &ada, HOME, PHONE).await;
    app.try_log_in_from("198.51.100.7", LAPTOP, "ada", "another password 1")
        .await
        .expect(401);

    log_in(&app, &ada, "198.51.100.7", LAPTOP).await;

    let event = eventually("an event", async || events(&app).await.pop()).await;
    assert_eq!(
        event.get_str("outcome").unwrap(),
        "device_and_network",
        "the failure taught nothing"
    );
}

#[tokio::test]
async fn a_storm_of_sign_ins_is_no_storm_of_mails() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let ada = verified(&app, "ada").await;
    log_in(&app, &ada, HOME, PHONE).await;

    let replica = app.spawn_beside().await;
    for wave in 0..3 {
        join_all((0..8).map(|number| {
            let app = if number % 2 == 0 { &app } else { &replica };
            let address = format!("10.{wave}.{number}.1");
            async move { app.log_in_from(&address, LAPTOP, "ada").await }
        }))
        .await;
    }
    eventually("all are looked at", async || {
        let seen = async |app: &TestApp, outcome: &str| {
            let series = format!(r#"auth_new_devices_total{{outcome="{outcome}",service="auth-service"}}"#);
            app.metric(&series).await
        };
        let mut sum = 0.0;
        for outcome in ["mailed", "not_mailed", "failed", "dropped"] {
            sum += seen(&app, outcome).await + seen(&replica, outcome).await;
        }
        (sum > 23.5).then_some(())
    })
    .await;

    let mailed = doc! { "action": "new_device", "details.mail": "sent" };
    assert_eq!(app.count("audit_events", mailed).await, 5);
    assert_eq!(
        app.count("audit_events", doc! { "action": "new_device" }).await,
        24
    );
    eventually("five mails", async || (news(&app).len() == 5).then_some(())).await;
}

#[tokio::test]
async fn what_is_remembered_names_neither_device_nor_network() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let ada = verified(&app, "ada").await;
    log_in(&app, &ada, HOME, PHONE).await;

    let row = app
        .collection("known_devices")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();

    assert!(row.get_datetime("expiresAt").is_ok());
    let row = row.to_string();
    for part in ["203.0", "Firefox", "Android", "ada"] {
        assert!(!row.contains(part), "{row}");
    }
}

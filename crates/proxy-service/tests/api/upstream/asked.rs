//! What Flowise is asked, and with what: nothing goes on that was not meant to.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::recordings::recording;
use crate::turns::support::{
    FLOW, PRICE, STORE, TestApp, User,
    accounting::HoldState,
    events, eventually,
    flowise::{begin_stream, recorded_stream, token},
    http::{Asked, Step, whole},
    names, text_of,
};

fn predictions(app: &TestApp) -> Vec<Asked> {
    let mut asked = app.flowise.asked();
    asked.retain(|asked| asked.path.starts_with("/api/v1/prediction/"));
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_clients_goes_on() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut request = alice
        .client
        .request(Method::POST, STORE)
        .json(&User::body(&json!({})));
    for (name, value) in [
        ("x-request-from", "internal"),
        ("flowise-tool", "true"),
        ("origin", "https://evil.example"),
        ("cookie", "token=stolen"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("referer", "https://evil.example/"),
        ("x-api-key", "guess"),
        ("user-agent", "evil/1"),
        ("accept-language", "xx"),
    ] {
        request = request.header(name, value);
    }
    let text = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(events(&text).last().unwrap()["event"], "end");

    for asked in app.flowise.asked() {
        let mut names: Vec<&str> = asked.headers.keys().map(String::as_str).collect();
        names.sort_unstable();
        let allowed = [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "x-forwarded-for",
            "x-request-id",
        ];
        let others: Vec<_> = names.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(others.is_empty(), "{} {}: {others:?}", asked.method, asked.path);
        let values = format!("{:?}", asked.headers);
        for theirs in ["evil", "stolen", "203.0.113.9", "guess", alice.person.id.as_str()] {
            assert!(!values.contains(theirs), "{theirs} in {values}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flowise_can_count_people_but_not_name_them() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    for user in [&alice, &alice, &bob] {
        user.chat(&json!({})).await;
    }
    let addresses: Vec<String> = predictions(&app)
        .iter()
        .map(|asked| asked.headers["x-forwarded-for"].clone())
        .collect();
    assert_eq!(addresses[0], addresses[1]);
    assert_ne!(addresses[0], addresses[2]);
    let address: std::net::Ipv6Addr = addresses[2].parse().unwrap();
    assert!(address.is_unique_local());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_authorization() {
    let app = TestApp::spawn_with(|config| config.flowise.api_key = None).await;
    app.user("alice").await.chat(&json!({})).await;
    for asked in app.flowise.asked() {
        assert!(!asked.headers.contains_key("authorization"), "{}", asked.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_not_for_people_are_left_out() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut body = json!({
        "streaming": false, "chatId": "hers", "leadEmail": "x@example.com", "action": { "id": "1" },
        "stopNodeId": "n", "evaluation": true, "evaluationRunId": "r", "socketIOClientId": "s", "chatflowid": "other",
    });
    body["overrideConfig"] = json!({ "sessionId": "hers", "chatId": "hers" });
    alice.chat(&body).await;
    let asked = predictions(&app).remove(0).body;
    let mut members: Vec<&str> = asked.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["chatId", "overrideConfig", "question", "streaming"]);
    assert_eq!(asked["overrideConfig"], json!({ "sessionId": asked["chatId"] }));
    assert!(!asked.to_string().contains("hers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_filled_in() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise.answer(recorded_stream("predict-form-stream"));
    let form = json!({ "subject": "Tea", "count": 3 });
    let events = alice.chat(&json!({ "question": null, "form": form })).await;

    assert_eq!(text_of(&events), "Form subject: Tea x 3");
    let asked = predictions(&app).remove(0).body;
    assert_eq!(asked["form"], form);
    assert_eq!(asked.get("question"), None, "as the recorded request");
    app.is_quiet().await;
    assert_eq!(
        app.messages().await[0].get_str("content").unwrap(),
        "count: 3\nsubject: Tea"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatflow_asks_a_person_and_goes_on_with_the_answer() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let json = |case: &str| {
        let body = String::from_utf8(recording(case).body).unwrap();
        whole(200, "application/json; charset=utf-8", &body)
    };
    app.flowise.answer(json("human-stop-json"));
    let stopped = alice.chat(&json!({ "question": "ship it" })).await;
    assert_eq!(
        names(&stopped),
        ["session_id", "token", "action", "metadata", "end"]
    );
    let action = &stopped[2]["data"];
    assert_eq!(
        action["mapping"],
        json!({ "approve": "Proceed", "reject": "Reject" })
    );
    let node = &action["data"]["nodeId"];
    assert_eq!(node, "humanInputAgentflow_0");
    assert_eq!(
        action["data"].get("input"),
        None,
        "settings of the node stay inside"
    );
    assert_eq!(&stopped[3]["data"]["action"], action);

    app.flowise.answer(json("human-resume-proceed"));
    let input = json!({ "type": "proceed", "startNodeId": node, "feedback": "go" });
    let body = json!({ "question": null, "sessionId": stopped[0]["data"], "humanInput": input });
    let resumed = alice.chat(&body).await;

    assert_eq!(text_of(&resumed), "Approved.");
    let asked = predictions(&app);
    assert_eq!(asked[1].body["humanInput"], input);
    assert_eq!(asked[1].body.get("question"), None);
    for id in ["chatId", "overrideConfig"] {
        assert_eq!(
            asked[1].body[id], asked[0].body[id],
            "Flowise finds what it stopped by it"
        );
    }
    app.is_quiet().await;
    let said: Vec<_> = app.messages().await;
    assert_eq!(said[2].get_str("content").unwrap(), "go");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_decisions_that_are_none_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (changes, field) in [
        (json!({ "form": { "a": {} } }), "form.a"),
        (json!({ "form": { "a": "x".repeat(1_001) } }), "form"),
        (json!({ "form": [1] }), "form"),
        (json!({ "humanInput": { "type": "maybe" } }), "humanInput.type"),
        (
            json!({ "humanInput": { "type": "reject", "startNodeId": "a/b" } }),
            "humanInput.startNodeId",
        ),
        (
            json!({ "humanInput": { "type": "reject", "feedback": "x".repeat(1_001) } }),
            "humanInput.feedback",
        ),
        (json!({ "question": null, "form": null }), "question"),
    ] {
        let answer = alice.client.post(STORE, &User::body(&changes)).await;
        let answer = answer.expect_problem(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["field"], field, "{}", answer.text);
    }
    assert!(app.flowise.asked().is_empty() && app.accounting.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_up_prompts_reach_the_person() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let prompts = "[\"And then?\",\"Why?\"]";
    let answer = json!({ "text": "It is so.", "chatId": "inside", "followUpPrompts": prompts });
    app.flowise
        .answer(whole(200, "application/json", &answer.to_string()));
    let whole = alice.chat(&json!({})).await;
    let metadata = crate::turns::support::flowise::event("metadata", json!({ "followUpPrompts": prompts }));
    let end = crate::turns::support::flowise::event("end", "[DONE]");
    app.flowise
        .answer(begin_stream(&[token("It is so."), metadata, end]));
    let streamed = alice.chat(&json!({})).await;
    for events in [whole, streamed] {
        let metadata = events.iter().find(|event| event["event"] == "metadata").unwrap();
        assert_eq!(metadata["data"]["followUpPrompts"], prompts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatflow_that_flowise_does_not_know_is_not_waited_for() {
    let app = TestApp::spawn().await;
    let unknown = String::from_utf8(recording("chatflows-streaming-unknown").body).unwrap();
    let unknown = unknown.replace("00000000-0000-4000-8000-000000000000", FLOW);
    app.flowise
        .answer_whether_it_streams(whole(500, "application/json; charset=utf-8", &unknown));
    app.flowise.answer(vec![Step::Hang]);
    let events = app.user("alice").await.chat(&json!({})).await;
    assert_eq!(events[1]["code"], "upstream_refused");
    assert!(
        app.flowise.predictions().is_empty(),
        "a stream of it never begins"
    );
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Voided);

    // Deleted since it was last asked about: the head never comes, and then it is asked again.
    let app = TestApp::spawn_with(|config| config.flowise.header_timeout = Duration::from_millis(500)).await;
    let alice = app.user("alice").await;
    alice.chat(&json!({})).await;
    app.flowise
        .answer_whether_it_streams(whole(500, "application/json", &unknown));
    app.flowise.answer(vec![Step::Hang]);
    for _ in 0..2 {
        let events = alice.chat(&json!({})).await;
        assert_eq!(events[1]["code"], "upstream_refused");
    }
    assert_eq!(app.flowise.predictions().len(), 2, "the third was not waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flowise_that_cannot_say_whether_it_streams_is_asked_all_the_same() {
    let page = String::from_utf8(recording("unknown-route-key").body).unwrap();
    for answer in [
        whole(200, "text/html; charset=UTF-8", &page),
        whole(500, "application/json", "{\"message\":\"database is locked\"}"),
        whole(200, "application/json", "[]"),
    ] {
        let app = TestApp::spawn().await;
        app.flowise.answer_whether_it_streams(answer);
        let events = app.user("alice").await.chat(&json!({})).await;
        assert_eq!(events.last().unwrap()["event"], "end");
        assert_eq!(app.flowise.predictions()[0]["streaming"], true);
        assert_eq!(app.accounting.hold().state, HoldState::Captured(PRICE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_had_not_answered_is_told_twice_to_stop() {
    let app = TestApp::spawn_with(|config| config.abandoned_turn_drain = Duration::ZERO).await;
    let alice = app.user("alice").await;
    app.flowise.answer(vec![Step::Hang]);
    let stream = alice.begin(&json!({})).await;
    app.flowise.is_asked().await;
    drop(stream);
    eventually("it is told twice", async || app.flowise.aborts().len() == 2).await;
    let chat_id = app.flowise.predictions()[0]["chatId"].clone();
    let path = format!("/api/v1/chatmessage/abort/{FLOW}/{}", chat_id.as_str().unwrap());
    assert_eq!(app.flowise.aborts(), [path.clone(), path]);
    let mut aborts = app.flowise.asked();
    aborts.retain(|asked| asked.method == "PUT");
    assert!(aborts.iter().all(|asked| asked.body == Value::Null));
    assert!(
        aborts
            .iter()
            .all(|asked| !asked.headers.contains_key("authorization")),
        "the call needs no key"
    );
    app.is_quiet().await;
    assert_eq!(app.accounting.hold().state, HoldState::Voided);
}

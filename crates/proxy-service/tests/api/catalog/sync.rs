//! `POST /api/v1/admin/chatflows/sync`, and the list and the numbers it leaves.

use bson::{Document, doc};
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Answer, Person};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, query_param},
};

use super::fakes::{
    Directory, FlowiseCatalog, RECORDED_PAGE, RECORDED_REFUSAL, assign, listed, recorded, synced,
};
use super::support::{FLOWISE_KEY, TestApp};

const SYNC: &str = "/api/v1/admin/chatflows/sync";
const LIST: &str = "/api/v1/admin/chatflows";
const STATS: &str = "/api/v1/admin/chatflows/stats";

async fn sync(app: &TestApp) -> Answer {
    app.admin().post(SYNC, &json!({})).await.expect(200)
}

fn counts(answer: &Answer) -> [u64; 5] {
    ["total_fetched", "created", "updated", "deleted", "errors"]
        .map(|name| answer.body[name].as_u64().unwrap())
}

/// The Flowise ids of what administrators see, by name.
async fn listed_ids(app: &TestApp, query: &str) -> Vec<String> {
    let answer = app.admin().get(&format!("{LIST}{query}")).await.expect(200);
    let chatflows = answer.body.as_array().unwrap().iter();
    chatflows
        .map(|chatflow| chatflow["flowise_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn statistics(app: &TestApp) -> [u64; 4] {
    let answer = app.admin().get(STATS).await.expect(200);
    ["total", "active", "deleted", "error"].map(|name| answer.body[name].as_u64().unwrap())
}

fn numbered(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| listed(&format!("flow-{number:03}"), &format!("Flow {number:03}")))
        .collect()
}

#[actix_web::test]
async fn a_recorded_list_is_taken_over_with_and_without_pages() {
    for pages in [false, true] {
        let app = TestApp::spawn().await;
        FlowiseCatalog::mount(&app.behind.flowise, recorded(), pages).await;

        let first = sync(&app).await;
        assert_eq!(counts(&first), [7, 7, 0, 0, 0], "{}", first.text);
        assert_eq!(first.body["error_details"], json!([]));
        assert_eq!(counts(&sync(&app).await), [7, 0, 7, 0, 0]);

        assert_eq!(statistics(&app).await, [7, 7, 0, 0]);
        let stats = app.admin().get(STATS).await.expect(200);
        assert!(
            stats.body["last_sync"].as_str().unwrap().ends_with('Z'),
            "{}",
            stats.text
        );
    }
}

#[actix_web::test]
async fn a_chatflow_has_the_documented_members_in_their_order() {
    let app = TestApp::spawn().await;
    synced(&app, recorded()).await;
    let public_bot = "12e0dda4-37db-4dd6-aff1-48d2dca5d4e8";

    let one = app.admin().get(&format!("{LIST}/{public_bot}")).await.expect(200);

    let members = [
        "_id",
        "flowise_id",
        "name",
        "description",
        "deployed",
        "is_public",
        "category",
        "type",
        "api_key_id",
        "flow_data",
        "chatbot_config",
        "api_config",
        "analytic_config",
        "speech_to_text_config",
        "created_date",
        "updated_date",
        "synced_at",
        "sync_status",
        "sync_error",
        "price",
        "usage_price",
        "override_config_allowed",
        "show_inner_events",
        "daily_turns_max",
        "daily_turns_per_user_max",
    ];
    let places: Vec<_> = members
        .map(|name| one.text.find(&format!("\"{name}\":")).expect(name))
        .into();
    assert!(places.is_sorted(), "{}", one.text);
    assert_eq!(one.body.as_object().unwrap().len(), members.len());
    assert_eq!(one.body["_id"].as_str().unwrap().len(), 24);
    assert_eq!(one.body["name"], "conversation chain, public");
    assert_eq!(one.body["is_public"], true);
    assert_eq!(one.body["type"], "CHATFLOW");
    assert_eq!(
        one.body["chatbot_config"],
        json!({ "welcomeMessage": "Hello from the public bot" })
    );
    assert_eq!(one.body["api_config"], json!(null));
    assert_eq!(one.body["created_date"], "2026-11-21T05:28:48.000Z");
    assert_eq!(one.body["sync_status"], "active");
    assert_eq!(one.body["price"], 1);
    assert!(
        one.body["flow_data"]["nodes"].is_array(),
        "one chatflow comes with its graph"
    );

    let list = app.admin().get(LIST).await.expect(200);
    for chatflow in list.body.as_array().unwrap() {
        assert_eq!(chatflow["flow_data"], json!(null), "lists come without graphs");
        assert_eq!(chatflow.as_object().unwrap().len(), members.len());
    }
    app.admin()
        .get(&format!("{LIST}/unknown"))
        .await
        .expect_problem(404, "chatflow_not_found");
}

#[actix_web::test]
async fn a_list_of_several_pages_is_read_to_its_end() {
    let app = TestApp::spawn().await;
    FlowiseCatalog::mount(&app.behind.flowise, numbered(120), true).await;

    assert_eq!(counts(&sync(&app).await), [120, 120, 0, 0, 0]);

    assert_eq!(app.behind.flowise.received_requests().await.unwrap().len(), 3);
}

#[actix_web::test]
async fn what_flowise_has_no_longer_is_marked_and_comes_back_with_everybody() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    let catalog = synced(&app, numbered(3)).await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, "flow-001").await;
    let price = json!({ "price": 7 });
    let settings = app
        .admin()
        .request(reqwest::Method::PATCH, &format!("{LIST}/flow-001"))
        .json(&price);
    app.admin().send(settings).await.expect(200);

    catalog.set(vec![
        listed("flow-000", "Flow 000"),
        listed("flow-002", "Flow 002"),
    ]);
    assert_eq!(counts(&sync(&app).await), [2, 0, 2, 1, 0]);
    assert_eq!(listed_ids(&app, "").await, ["flow-000", "flow-002"]);
    assert_eq!(listed_ids(&app, "?include_deleted=true").await.len(), 3);
    assert_eq!(statistics(&app).await, [3, 2, 1, 0]);
    let path = "/api/v1/chatflows/flow-001";
    app.client(&ada)
        .get(path)
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(
        app.client(&ada).get("/api/v1/chatflows/my-chatflows").await.body,
        json!([])
    );
    assert_eq!(counts(&sync(&app).await), [2, 0, 2, 0, 0], "it is deleted once");

    catalog.set(numbered(3));
    assert_eq!(counts(&sync(&app).await), [3, 0, 3, 0, 0]);
    assert_eq!(statistics(&app).await, [3, 3, 0, 0]);
    app.client(&ada).get(path).await.expect(200);
    let back = app.admin().get(&format!("{LIST}/flow-001")).await.expect(200);
    assert_eq!(back.body["price"], 7, "what administrators set stays");
}

#[actix_web::test]
async fn an_empty_list_deletes_nothing_unless_an_administrator_confirms_it() {
    let app = TestApp::spawn().await;
    let catalog = FlowiseCatalog::mount(&app.behind.flowise, vec![], true).await;
    assert_eq!(
        counts(&sync(&app).await),
        [0, 0, 0, 0, 0],
        "nothing to lose, nothing wrong"
    );
    catalog.set(numbered(2));
    sync(&app).await;

    catalog.set(vec![]);
    let answer = sync(&app).await;
    assert_eq!(counts(&answer), [0, 0, 0, 0, 1]);
    assert_eq!(answer.body["error_details"][0]["type"], "empty");
    assert_eq!(statistics(&app).await, [2, 2, 0, 0]);

    let confirmed = app
        .admin()
        .post(SYNC, &json!({ "confirm_empty": true }))
        .await
        .expect(200);
    assert_eq!(counts(&confirmed), [0, 0, 0, 2, 0]);
    assert_eq!(statistics(&app).await, [2, 0, 2, 0]);
}

#[actix_web::test]
async fn an_answer_that_is_no_list_changes_nothing_and_tells_no_secret() {
    let app = TestApp::spawn().await;
    synced(&app, numbered(2)).await;
    let json = |status: u16, body: &str| ResponseTemplate::new(status).set_body_raw(body, "application/json");
    for (answer, kind) in [
        (
            ResponseTemplate::new(200).set_body_raw(RECORDED_PAGE, "text/html; charset=UTF-8"),
            "not_a_list",
        ),
        (json(200, RECORDED_PAGE), "not_a_list"),
        (json(200, "{}"), "not_a_list"),
        (json(200, "null"), "not_a_list"),
        (json(200, "[{\"id\":\"a\""), "not_a_list"),
        (json(401, RECORDED_REFUSAL), "refused"),
        (json(403, "{}"), "refused"),
        (json(500, "{}"), "status"),
        (
            ResponseTemplate::new(302).insert_header("location", "/login"),
            "status",
        ),
    ] {
        app.behind.flowise.reset().await;
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&app.behind.flowise)
            .await;

        let answer = sync(&app).await;

        assert_eq!(counts(&answer), [0, 0, 0, 0, 1], "{}", answer.text);
        assert_eq!(answer.body["error_details"][0]["type"], kind);
        let port = app.behind.flowise.address().port().to_string();
        assert!(
            !answer.text.contains(FLOWISE_KEY) && !answer.text.contains(&port),
            "{}",
            answer.text
        );
        assert_eq!(statistics(&app).await, [2, 2, 0, 0]);
    }
}

#[actix_web::test]
async fn a_flowise_that_is_away_is_reported_and_nothing_is_lost() {
    let app = TestApp::spawn_with(|config| config.flowise.url = "http://127.0.0.1:1/".parse().unwrap()).await;

    let answer = sync(&app).await;

    assert_eq!(counts(&answer), [0, 0, 0, 0, 1]);
    assert_eq!(answer.body["error_details"][0]["type"], "unreachable");
    assert!(!answer.text.contains("127.0.0.1"), "{}", answer.text);
    let metrics = app.anybody.get("/metrics").await.expect(200);
    assert!(
        metrics
            .text
            .contains("chatflow_sync_up{service=\"proxy-service\"} 0"),
        "{}",
        metrics.text
    );
}

#[actix_web::test]
async fn a_list_shorter_than_its_own_count_deletes_nothing() {
    let app = TestApp::spawn().await;
    synced(&app, numbered(3)).await;
    app.behind.flowise.reset().await;
    let short = json!({ "data": [listed("flow-000", "Renamed")], "total": 3 });
    let answer = ResponseTemplate::new(200).set_body_json(short);
    Mock::given(method("GET"))
        .respond_with(answer)
        .mount(&app.behind.flowise)
        .await;

    let answer = sync(&app).await;

    assert_eq!(counts(&answer), [1, 0, 1, 0, 1]);
    assert_eq!(answer.body["error_details"][0]["type"], "incomplete");
    assert_eq!(statistics(&app).await, [3, 3, 0, 0]);
    let one = app.admin().get(&format!("{LIST}/flow-000")).await.expect(200);
    assert_eq!(one.body["name"], "Renamed", "what was listed is taken over");
}

#[actix_web::test]
async fn a_list_that_moves_while_it_is_read_deletes_nothing() {
    let app = TestApp::spawn().await;
    synced(&app, numbered(60)).await;
    app.behind.flowise.reset().await;
    // The first entry goes away after the first page: number 50 slips past, between the pages.
    for (page, data, total) in [
        ("1", numbered(60)[..50].to_vec(), 60),
        ("2", numbered(60)[51..].to_vec(), 59),
    ] {
        Mock::given(query_param("page", page))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "data": data, "total": total })))
            .mount(&app.behind.flowise)
            .await;
    }

    let answer = sync(&app).await;

    assert_eq!(counts(&answer), [59, 0, 59, 0, 1]);
    assert_eq!(answer.body["error_details"][0]["type"], "incomplete");
    assert_eq!(statistics(&app).await, [60, 60, 0, 0]);
}

#[actix_web::test]
async fn an_entry_that_cannot_be_read_harms_neither_itself_nor_the_others() {
    let app = TestApp::spawn().await;
    let catalog = synced(&app, numbered(3)).await;
    let mut broken = listed("flow-001", "x");
    broken["name"] = json!({ "not": "a name" });

    catalog.set(vec![listed("flow-000", "Flow 000"), broken]);
    let answer = sync(&app).await;

    assert_eq!(counts(&answer), [2, 0, 1, 1, 1], "{}", answer.text);
    assert_eq!(answer.body["error_details"][0]["chatflow_id"], "flow-001");
    assert_eq!(
        listed_ids(&app, "").await,
        ["flow-000", "flow-001"],
        "it is known and not missing"
    );

    catalog.set(vec![listed("flow-000", "Flow 000"), json!({ "name": "no id" })]);
    let answer = sync(&app).await;
    assert_eq!(
        counts(&answer),
        [2, 0, 1, 0, 2],
        "nobody knows what the nameless one is: {}",
        answer.text
    );
    assert_eq!(listed_ids(&app, "").await, ["flow-000", "flow-001"]);
}

#[actix_web::test]
async fn settings_in_strings_are_read_and_odd_ones_do_no_harm() {
    let app = TestApp::spawn().await;
    let mut odd = listed("flow-000", "\u{1F409} \u{4F60}\u{597D}");
    odd["chatbotConfig"] = json!("{\"welcomeMessage\":\"Hi\",\"a.b\":{\"n\":1.5}}");
    odd["apiConfig"] = json!("{}");
    odd["analytic"] = json!("not json");
    odd["speechToText"] = json!("{\"$where\":\"sleep(1000)\"}");
    odd["createdDate"] = json!("yesterday");
    odd["flowData"] = json!(format!("{{\"nodes\":\"{}\"}}", "x".repeat(5 << 20)));
    FlowiseCatalog::mount(&app.behind.flowise, vec![odd], true).await;

    assert_eq!(counts(&sync(&app).await), [1, 1, 0, 0, 0]);

    let one = app.admin().get(&format!("{LIST}/flow-000")).await.expect(200);
    assert_eq!(one.body["name"], "\u{1F409} \u{4F60}\u{597D}");
    assert_eq!(
        one.body["chatbot_config"],
        json!({ "welcomeMessage": "Hi", "a.b": { "n": 1.5 } })
    );
    for none in [
        "api_config",
        "analytic_config",
        "speech_to_text_config",
        "created_date",
        "flow_data",
    ] {
        assert_eq!(one.body[none], json!(null), "{none}");
    }
}

#[actix_web::test]
async fn parallel_synchronisations_make_each_chatflow_once() {
    let app = TestApp::spawn().await;
    FlowiseCatalog::mount(&app.behind.flowise, numbered(60), true).await;
    let admin = app.admin();

    let body = json!({});
    let answers = futures_util::future::join_all((0..8).map(|_| admin.post(SYNC, &body))).await;

    for answer in answers {
        assert_eq!(counts(&answer.expect(200))[3..], [0, 0]);
    }
    assert_eq!(statistics(&app).await, [60, 60, 0, 0]);
    let stored = app.behind.mongo.database.collection::<Document>("Chatflow");
    assert_eq!(stored.count_documents(doc! {}).await.unwrap(), 60);
}

#[actix_web::test]
async fn a_body_that_is_not_valid_starts_nothing() {
    let app = TestApp::spawn().await;
    FlowiseCatalog::mount(&app.behind.flowise, numbered(1), true).await;

    let refused = app.admin().post(SYNC, &json!({ "confirm_empty": "yes" })).await;
    refused.expect_problem(422, "validation_failed");
    app.admin()
        .get(&format!("{LIST}?include_deleted=perhaps"))
        .await
        .expect_problem(422, "validation_failed");

    assert_eq!(app.behind.flowise.received_requests().await.unwrap().len(), 0);
    let without_body = app.admin().request(reqwest::Method::POST, SYNC);
    let answer = app.admin().send(without_body).await.expect(200);
    assert_eq!(counts(&answer), [1, 1, 0, 0, 0]);
}

//! Every recorded list of chatflows, and every recorded refusal of one, read by the synchronisation.

use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate, matchers::method};

use super::recordings::{Recording, all};
use crate::catalog::{
    fakes::{listed, synced},
    support::{FLOWISE_KEY, TestApp},
};

/// Recorded answers to `GET /chatflows`, and what else may come in their place.
fn is_of_a_list(recording: &Recording) -> bool {
    let is_list = recording.case.starts_with("chatflows-")
        && !recording.case.starts_with("chatflows-streaming")
        && !recording.case.starts_with("chatflows-uploads");
    is_list
        || [
            "unknown-route-key",
            "unknown-route-no-key",
            "internal-header-with-key",
        ]
        .contains(&&*recording.case)
}

#[actix_web::test]
async fn every_recorded_list_is_read_and_nothing_else_changes_the_catalogue() {
    let mut recordings = all();
    recordings.retain(is_of_a_list);
    assert!(recordings.len() >= 9, "{}", recordings.len());
    let app = TestApp::spawn().await;
    let known = "00000000-0000-4000-8000-00000000000a";
    for recording in recordings {
        app.behind.flowise.reset().await;
        synced(&app, vec![listed(known, "Known before")]).await;
        app.behind.flowise.reset().await;
        let body = recording.body.clone();
        let answer =
            ResponseTemplate::new(recording.status.unwrap()).set_body_raw(body, &recording.media_type);
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&app.behind.flowise)
            .await;

        let report = app.admin().post("/api/v1/admin/chatflows/sync", &json!({})).await;
        let (case, report) = (&recording.case, report.expect(200).body);

        let list: Option<Vec<Value>> = match serde_json::from_slice(&recording.body) {
            Ok(Value::Array(list)) => Some(list),
            // One page, again and again: the rest of the 13 is never shown.
            Ok(page @ Value::Object(_)) => page["data"].as_array().cloned(),
            _ => None,
        };
        let is_whole = recording.body.starts_with(b"[");
        assert_eq!(
            report["total_fetched"],
            list.map_or(0, |list| list.len()),
            "{case}: {report}"
        );
        assert_eq!(report["errors"], u64::from(!is_whole), "{case}: {report}");
        assert_eq!(
            report["deleted"],
            u64::from(is_whole),
            "{case}: only a whole list ends a chatflow"
        );
        for secret in ["127.0.0.1", FLOWISE_KEY, "<!DOCTYPE"] {
            assert!(!report.to_string().contains(secret), "{case}: {report}");
        }
    }
}

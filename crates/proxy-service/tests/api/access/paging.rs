//! Lists are whole in their documented shape, or come by pages of the same shape.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Client, Person};

use super::people::spawn;
use crate::catalog::fakes::{listed, synced};

/// All pages of a list, followed by `Link`.
async fn all_pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(format!("{path}?limit={limit}"));
    while let Some(path) = next {
        let page = client.get(&path).await.expect(200);
        let page_rows = page.body.as_array().unwrap();
        assert!(!page_rows.is_empty() && page_rows.len() <= limit);
        rows.extend(page_rows.clone());
        next = page.headers.get("link").map(|link| {
            let link = link.to_str().unwrap();
            let (address, rest) = link.trim_start_matches('<').split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            address.to_owned()
        });
    }
    rows
}

fn sorted(mut rows: Vec<Value>, member: &str) -> Vec<Value> {
    rows.sort_by_key(|row| row[member].to_string());
    rows
}

#[actix_web::test]
async fn pages_of_every_list_make_the_whole_list() {
    let (app, directory) = spawn().await;
    let admin = app.admin();
    // Two of the same name: the order must not depend on it alone.
    let flows = ["a", "b", "c", "d", "e"].map(|id| listed(id, if id < "c" { "Same" } else { id }));
    app.behind.flowise.reset().await;
    synced(&app, flows.to_vec()).await;
    let people: Vec<_> = (0..5)
        .map(|number| Person::new(&format!("p{number}"), Role::EndUser))
        .collect();
    for person in &people {
        directory.add(person);
    }
    let emails: Vec<_> = people.iter().map(|person| &person.email).collect();
    for flow in ["a", "b", "c", "d", "e"] {
        admin
            .post(
                &format!("/api/v1/admin/chatflows/{flow}/users/bulk-add"),
                &json!({ "emails": emails }),
            )
            .await
            .expect(200);
    }
    let group = super::groups::group(&admin, "1A").await;
    super::groups::group(&admin, "1B").await;
    super::groups::group(&admin, "1C").await;
    admin
        .post(&format!("{group}/members"), &json!({ "emails": emails }))
        .await
        .expect(200);
    admin
        .post(
            &format!("{group}/members"),
            &json!({ "emails": [emails[0]], "part": "lead" }),
        )
        .await
        .expect(200);

    let pupil = app.client(&people[0]);
    for (client, path, member) in [
        (&admin, "/api/v1/admin/chatflows".to_owned(), "flowise_id"),
        (&admin, "/api/v1/admin/users".to_owned(), "external_id"),
        (
            &admin,
            "/api/v1/admin/chatflows/a/users".to_owned(),
            "external_user_id",
        ),
        (&admin, "/api/v1/admin/groups".to_owned(), "id"),
        (&admin, format!("{group}/members"), "added_at"),
        (&pupil, "/api/v1/chatflows/".to_owned(), "id"),
        (&pupil, "/api/v1/chatflows/my-chatflows".to_owned(), "id"),
    ] {
        let whole = client.get(&path).await.expect(200);
        assert!(!whole.headers.contains_key("link"), "{path}");
        let whole = whole.body.as_array().unwrap().clone();
        for limit in [2, whole.len()] {
            let paged = all_pages(client, &path, limit).await;
            assert_eq!(sorted(paged, member), sorted(whole.clone(), member), "{path}");
        }
        for bad in [
            "limit=0",
            "limit=501",
            "limit=x",
            "cursor=x",
            "cursor=W3siJGd0IjoiIn1d",
        ] {
            client
                .get(&format!("{path}?{bad}"))
                .await
                .expect_problem(422, "validation_failed");
        }
    }
}

#[actix_web::test]
async fn the_status_of_collections_has_its_documented_shape_and_no_address() {
    let (app, _) = spawn().await;
    let status = app.anybody.get("/collections/status").await.expect(200);
    assert_eq!(
        status.body["setup_status"]["collections_status"]["Chatflow"],
        true
    );
    assert_eq!(
        status.body["setup_status"]["collections_status"]["fs.files"],
        true
    );
    assert_eq!(status.body["health_status"]["overall_health"], "healthy");
    assert!(
        !status.text.contains("127.0.0.1") && !status.text.contains("mongodb://"),
        "{}",
        status.text
    );
}

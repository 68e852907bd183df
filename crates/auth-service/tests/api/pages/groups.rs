//! Groups, for administrators.

use serde_json::{Value, json};

use super::{neighbours::Neighbour, signed_in};

const GROUPS: &str = "/api/v1/admin/groups";
const GROUP: &str = "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6";
const MEI: &str = "673d9f2c8b1e4a0057c3d9a1";

fn group(name: &str) -> Value {
    json!({ "id": GROUP, "name": name, "description": "Ms Ho, Tuesday", "created_at": "2026-09-01T06:40:00.000Z",
        "updated_at": "2026-09-01T06:40:00.000Z" })
}

/// proxy-service with a group of one.
async fn school() -> Neighbour {
    let proxy = Neighbour::proxy().await;
    let one = format!("{GROUPS}/{GROUP}");
    let mut counted = group("Class <7b>");
    for (count, number) in [("members", 1), ("leads", 0), ("chatflows", 1)] {
        counted[count] = json!(number);
    }
    proxy
        .lists(GROUPS, None, &[group("Class <7b>")], Some("second"))
        .await;
    proxy.answers("GET", &one, 200, counted).await;
    let mei = json!({ "user_id": MEI, "username": "mei.lin", "email": "mei.lin@school.example", "part": "member",
        "added_at": "2026-09-01T06:40:00.000Z" });
    proxy
        .lists(&format!("{one}/members"), None, &[mei], Some("more"))
        .await;
    let flow = json!({ "flowise_id": "26806ff8-51f1-4b3c-9a0e-7d4c2f6b8a10", "name": "Biology", "sync_status": "active",
        "granted_at": "2026-09-01T06:40:00.000Z", "starts_at": null, "ends_at": null });
    proxy
        .answers("GET", &format!("{one}/chatflows"), 200, json!([flow]))
        .await;
    proxy
}

fn page() -> String {
    format!("/admin/groups/{GROUP}")
}

#[tokio::test]
async fn groups_are_listed_made_and_shown() {
    let proxy = school().await;
    proxy.answers("POST", GROUPS, 201, group("Class 8a")).await;
    let (_app, mut root) = proxy.administrator().await;
    let list = root.open("/admin/groups").await.expect(200);
    list.expect_text("Class &#60;7b&#62;")
        .expect_text("/admin/groups?cursor=second");
    let members = [("name", " Class 8a "), ("description", "")];
    let made = root.fill("/admin/groups", "/admin/groups", &members).await;
    assert_eq!(made.location(), format!("{}?done=group_made", page()));
    let asked = proxy.asked("POST").await;
    assert_eq!(
        asked[0].body_json::<Value>().unwrap(),
        json!({ "name": "Class 8a", "description": null })
    );
    let one = root
        .open(&format!("{}?done=group_made", page()))
        .await
        .expect(200);
    for text in [
        "The group has been made.",
        "mei.lin@school.example",
        "Biology",
        "cursor=more",
        "Ms Ho, Tuesday",
    ] {
        one.expect_text(text);
    }
}

#[tokio::test]
async fn people_are_put_in_and_taken_out() {
    let proxy = school().await;
    let members = format!("{GROUPS}/{GROUP}/members");
    let report = json!({ "people": 3, "added": 1, "reactivated": 0, "updated": 0, "unchanged": 1, "failed": 1,
        "failures": [{ "line": 3, "who": "<nobody>", "message": "email: is not an e-mail address" }] });
    proxy.answers("POST", &members, 200, report).await;
    proxy
        .answers("DELETE", &format!("{members}/{MEI}"), 204, Value::Null)
        .await;
    let (_app, mut root) = proxy.administrator().await;
    let typed = [
        ("emails", "a@school.example, b@school.example;\r\n<nobody>"),
        ("part", "lead"),
    ];
    let added = root
        .fill(&page(), &format!("{}/members", page()), &typed)
        .await
        .expect(200);
    added
        .expect_text("1 new, 0 with another part now, 1 were in it already.")
        .expect_text("&#60;nobody&#62;: email: is not an e-mail address");
    let asked = proxy.asked("POST").await;
    let emails = json!(["a@school.example", "b@school.example", "<nobody>"]);
    assert_eq!(
        asked[0].body_json::<Value>().unwrap(),
        json!({ "emails": emails, "part": "lead" })
    );
    let none = root
        .fill(&page(), &format!("{}/members", page()), &[("emails", " ")])
        .await
        .expect(400);
    none.expect_text("Please fill this in.");
    let out = format!("{}/members/{MEI}/remove", page());
    let done = format!("{}?done=member_removed", page());
    assert_eq!(root.fill(&page(), &out, &[]).await.location(), done);
    // Somebody else was quicker: it is as it was wanted.
    proxy
        .refuses("DELETE", &format!("{members}/{MEI}"), 404, "member_not_found")
        .await;
    assert_eq!(root.fill(&page(), &out, &[]).await.location(), done);
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_deleting_is_meant() {
    let proxy = school().await;
    let one = format!("{GROUPS}/{GROUP}");
    proxy.refuses("PATCH", &one, 409, "group_name_taken").await;
    proxy.answers("DELETE", &one, 204, Value::Null).await;
    let (_app, mut root) = proxy.administrator().await;
    let taken = root
        .fill(&page(), &page(), &[("name", "Class 7a"), ("description", "x")])
        .await
        .expect(409);
    taken
        .expect_text("There is a group of this name already.")
        .expect_text("value=\"Class 7a\"");
    let delete = format!("{}/delete", page());
    root.fill(&page(), &delete, &[])
        .await
        .expect(400)
        .expect_text("Tick this to go on.");
    assert!(proxy.asked("DELETE").await.is_empty());
    let gone = root.fill(&page(), &delete, &[("understood", "on")]).await;
    assert_eq!(gone.location(), "/admin/groups?done=group_deleted");
    root.open("/admin/groups/..%2fusers").await.expect(404);
}

#[tokio::test]
async fn without_the_other_service_nothing_is_lost_and_nobody_else_gets_in() {
    let proxy = Neighbour::proxy().await;
    proxy.refuses("GET", GROUPS, 503, "database_unavailable").await;
    let (app, mut root) = proxy.administrator().await;
    root.open("/admin/groups").await.expect(503);
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    ada.open("/admin/groups").await.expect(403);
    ada.jar.clear();
    assert_eq!(
        ada.open("/admin/groups").await.location(),
        "/login?next=%2Fadmin%2Fgroups"
    );
}

//! Who may make an account for themselves: invitations, approval, and passwords that are for admins only.

use bson::doc;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use test_support::Answer;

use crate::{
    oauth::School,
    oidc::Stranger,
    settings::change,
    support::{PASSWORD, SignedIn, TestApp, email_of, text},
};

const INVITATIONS: &str = "/api/v1/admin/invitations";
const REGISTRATIONS: &str = "/api/v1/admin/registrations";

async fn invite(root: &SignedIn, wish: &Value) -> Answer {
    root.client.post(INVITATIONS, wish).await.expect(201)
}

async fn sign_up(app: &TestApp, name: &str, invitation: Option<&str>) -> Answer {
    let body = json!({
        "username": name, "email": email_of(name), "password": PASSWORD, "invitation": invitation,
    });
    app.client.post("/api/auth/signup", &body).await
}

async fn ruled_by(rule: &str) -> (TestApp, SignedIn) {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    change(&root, json!({ "registration": rule })).await;
    (app, root)
}

/// Proves the address of somebody who has just signed up.
async fn verify(app: &TestApp, name: &str) {
    let code = app.code(&email_of(name), 1).await;
    let body = json!({ "token": code, "email": email_of(name) });
    app.client.post("/api/auth/verify-email", &body).await.expect(200);
}

async fn decide(root: &SignedIn, id: &str, what: &str) -> Answer {
    let path = format!("{REGISTRATIONS}/{id}/{what}");
    root.client.post(&path, &json!({})).await
}

#[tokio::test]
async fn an_invitation_lets_as_many_in_as_it_says() {
    let (app, root) = ruled_by("invitation").await;
    sign_up(&app, "ada", None)
        .await
        .expect_problem(403, "invitation_needed");
    let made = invite(&root, &json!({ "uses": 2, "note": "Class 4B" })).await;
    let code = text(&made.body["code"]);

    // However it is typed; what is refused for another reason uses nothing up.
    let typed = code.to_uppercase().replace('-', " ");
    sign_up(&app, "root1", Some(&typed))
        .await
        .expect_problem(400, "username_taken");
    sign_up(&app, "ada", Some(&typed)).await.expect(201);
    let rest = ["bob", "cleo", "dan", "eve"].map(|name| sign_up(&app, name, Some(&code)));
    let answers = join_all(rest).await;

    let (inside, outside): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(
        inside.len(),
        1,
        "of four at once, for the one place that was left"
    );
    assert!(
        outside
            .iter()
            .all(|answer| answer.body["code"] == "invalid_invitation")
    );
    assert_eq!(app.count("users", doc! {}).await, 3);
    let listed = root.client.get(INVITATIONS).await.expect(200);
    let one = &listed.body["invitations"][0];
    assert_eq!(
        (&one["state"], &one["uses_left"], &one["note"]),
        (&json!("used"), &json!(0), &json!("Class 4B"))
    );
    assert!(!listed.text.contains(&code), "a code is shown once");
    app.audited("invitation_created", "ok", 1).await;
    app.audited("invitation_used", "ok", 2).await;
    let row = app
        .collection("invitations")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let bare = code.replace('-', "");
    assert!(!row.to_string().contains(&code) && !row.to_string().contains(&bare));
    // An address that nobody has proven is still to be proven.
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");
}

#[tokio::test]
async fn an_invitation_that_was_mailed_is_for_its_address_and_proves_it() {
    let (app, root) = ruled_by("invitation").await;
    let wish = json!({ "email": "Ada@Example.com", "role": "supervisor" });
    let first = invite(&root, &wish).await;
    assert_eq!(
        first.body["code"],
        Value::Null,
        "nobody but the owner of the address is told"
    );
    let code_in = |mail: &str| {
        let (_, after) = mail.split_once("invitation code: ").unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    };
    let old = code_in(&app.mail("ada@example.com", "You are invited").await);
    // Sent twice, the newer counts.
    invite(&root, &wish).await;
    let mails = crate::support::eventually("the second mail", async || {
        Some(app.mails_to("ada@example.com")).filter(|mails| mails.len() == 2)
    })
    .await;
    let code = mails
        .iter()
        .map(|mail| code_in(mail))
        .find(|code| *code != old)
        .unwrap();
    for (name, code) in [("bob", &code), ("ada", &old)] {
        sign_up(&app, name, Some(code))
            .await
            .expect_problem(400, "invalid_invitation");
    }

    let (one, two) = join(
        sign_up(&app, "ada", Some(&code)),
        sign_up(&app, "ada", Some(&code)),
    )
    .await;

    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400], "{} {}", one.text, two.text);
    let ada = app.log_in("ada").await;
    assert_eq!(ada.claims(&app).role.as_str(), "supervisor");
    root.client
        .post(INVITATIONS, &wish)
        .await
        .expect_problem(400, "email_taken");
    // What is known about her goes with her.
    let gone = format!("/api/admin/users/{}", ada.id);
    root.client.delete(&gone).await.expect(200);
    assert_eq!(app.count("invitations", doc! {}).await, 0);
}

#[tokio::test]
async fn invitations_end() {
    let (app, root) = ruled_by("invitation").await;
    let late = text(&invite(&root, &json!({ "expires_in_days": 1 })).await.body["code"]);
    let made = invite(&root, &json!({ "expires_in_days": 365 })).await;
    let (revoked, id) = (text(&made.body["code"]), text(&made.body["invitation"]["id"]));
    let one = format!("{INVITATIONS}/{id}");
    root.client.delete(&one).await.expect(200);
    root.client
        .delete(&one)
        .await
        .expect_problem(404, "invitation_not_found");
    app.advance_secs(24 * 3_600);
    for code in [late.as_str(), &revoked, "x", &"0".repeat(20)] {
        sign_up(&app, "ada", Some(code))
            .await
            .expect_problem(400, "invalid_invitation");
    }
    let root = app.log_in("root1").await;
    let listed = root.client.get(INVITATIONS).await.expect(200);
    assert_eq!(listed.body["invitations"][0]["state"], "expired");
    let open = text(&invite(&root, &json!({})).await.body["code"]);
    change(&root, json!({ "registration": "closed" })).await;
    sign_up(&app, "ada", Some(&open))
        .await
        .expect_problem(403, "registration_closed");
    change(
        &root,
        json!({ "registration": "domain", "registration_domains": ["school.example"] }),
    )
    .await;
    sign_up(&app, "ada", None)
        .await
        .expect_problem(403, "registration_closed");
    sign_up(&app, "ada", Some(&open)).await.expect(201);
    app.audited("invitation_revoked", "ok", 1).await;
}

#[tokio::test]
async fn invitations_are_made_as_they_may_be_and_by_admins_only() {
    let (app, root) = ruled_by("invitation").await;
    for (member, value) in [
        ("uses", json!(0)),
        ("uses", json!(10_001)),
        ("expires_in_days", json!(0)),
        ("expires_in_days", json!(366)),
        ("role", json!("admin")),
        ("role", json!("king")),
        ("email", json!("no address")),
        ("note", json!("x\ny")),
        ("note", json!("x".repeat(201))),
    ] {
        let refused = root
            .client
            .post(INVITATIONS, &json!({ member: value }))
            .await
            .expect_problem(400, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], member, "{}", refused.text);
    }
    let many_of_one = json!({ "email": "ada@example.com", "uses": 2 });
    root.client
        .post(INVITATIONS, &many_of_one)
        .await
        .expect_problem(400, "validation_failed");
    assert_eq!(app.count("invitations", doc! {}).await, 0);
    let supervisor = {
        let made = invite(&root, &json!({ "role": "supervisor" })).await;
        sign_up(&app, "tom", Some(&text(&made.body["code"])))
            .await
            .expect(201);
        verify(&app, "tom").await;
        app.log_in("tom").await
    };
    supervisor
        .client
        .get(INVITATIONS)
        .await
        .expect_problem(403, "forbidden");
    supervisor
        .client
        .post(INVITATIONS, &json!({}))
        .await
        .expect_problem(403, "forbidden");
    let mut seen = Vec::new();
    for _ in 0..3 {
        invite(&root, &json!({})).await;
    }
    let mut path = format!("{INVITATIONS}?limit=3");
    loop {
        let page = root.client.get(&path).await.expect(200);
        let page_ids = page.body["invitations"].as_array().unwrap().iter();
        seen.extend(page_ids.map(|one| text(&one["id"])));
        let Some(next) = page.body["nextCursor"].as_str() else {
            break;
        };
        path = format!("{INVITATIONS}?limit=3&cursor={next}");
    }
    assert_eq!(seen.len(), 4);
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn who_waits_is_let_in_by_an_admin() {
    let (app, root) = ruled_by("approval").await;
    let made = sign_up(&app, "ada", None).await.expect(201);
    assert!(text(&made.body["message"]).contains("administrator"));
    let id = text(&made.body["userId"]);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(401, "email_not_verified");
    let nobody = root.client.get(REGISTRATIONS).await.expect(200);
    assert_eq!(
        nobody.body["registrations"],
        json!([]),
        "her address is not proven yet"
    );
    verify(&app, "ada").await;

    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "approval_pending");
    app.try_log_in("ada", "not her password 7")
        .await
        .expect_problem(401, "invalid_credentials");
    let listed = root.client.get(REGISTRATIONS).await.expect(200);
    assert_eq!(listed.body["registrations"][0]["user"]["username"], "ada");
    let active = root
        .client
        .get("/api/admin/users?state=active&limit=10")
        .await
        .expect(200);
    assert!(
        !active.text.contains("ada@example.com"),
        "active means that they can sign in"
    );
    // A new password by mail opens nothing either.
    let token = app.reset_token(&email_of("ada"), 1).await;
    app.redeem(&token, PASSWORD).await.expect(200);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "approval_pending");
    let (one, two) = join(decide(&root, &id, "approve"), decide(&root, &id, "approve")).await;

    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    app.log_in("ada").await;
    app.mail(&email_of("ada"), "Your account was approved").await;
    app.audited("registration_approved", "ok", 1).await;
    decide(&root, &id, "refuse")
        .await
        .expect_problem(404, "registration_not_found");
    app.log_in("ada").await;
}

#[tokio::test]
async fn who_is_refused_leaves_nothing_behind() {
    let (app, root) = ruled_by("approval").await;
    let ids = join_all(["ada", "bob"].map(|name| sign_up(&app, name, None))).await;
    let ids: Vec<_> = ids
        .into_iter()
        .map(|made| text(&made.expect(201).body["userId"]))
        .collect();
    for name in ["ada", "bob"] {
        verify(&app, name).await;
    }
    let (approved, refused) = join(
        decide(&root, &ids[0], "approve"),
        decide(&root, &ids[0], "refuse"),
    )
    .await;
    assert_ne!(approved.status == 200, refused.status == 200, "one admin decides");

    decide(&root, &ids[1], "refuse").await.expect(200);

    app.mail(&email_of("bob"), "Your registration was not accepted")
        .await;
    assert!(app.find_user(&ids[1]).await.is_none());
    app.try_log_in("bob", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    for (id, status, code) in [
        (ids[1].as_str(), 404, "registration_not_found"),
        (&root.id, 404, "registration_not_found"),
        ("none", 400, "invalid_user_id"),
    ] {
        for what in ["approve", "refuse"] {
            decide(&root, id, what).await.expect_problem(status, code);
        }
    }
    app.try_log_in("root1", PASSWORD).await.expect(200);
    sign_up(&app, "bob", None).await.expect(201);
}

#[tokio::test]
async fn an_invitation_spares_the_wait_and_old_newcomers_go_on_waiting() {
    let (app, root) = ruled_by("approval").await;
    sign_up(&app, "ada", None).await.expect(201);
    let code = text(&invite(&root, &json!({})).await.body["code"]);
    sign_up(&app, "bob", Some(&code)).await.expect(201);
    for name in ["ada", "bob"] {
        verify(&app, name).await;
    }
    app.log_in("bob").await;
    change(&root, json!({ "registration": "open" })).await;
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "approval_pending");
    // Nor do rights let somebody in who waits; nor does such an admin count as one who is left.
    let waiting = root.client.get(REGISTRATIONS).await.expect(200);
    let id = text(&waiting.body["registrations"][0]["user"]["id"]);
    let role = format!("/api/admin/users/{id}/role");
    root.client
        .put(&role, &json!({ "role": "admin" }))
        .await
        .expect(200);
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "approval_pending");
    let own = format!("/api/admin/users/{}/role", root.id);
    root.client
        .put(&own, &json!({ "role": "enduser" }))
        .await
        .expect_problem(409, "last_admin");
    decide(&root, &id, "refuse")
        .await
        .expect_problem(403, "admin_not_deletable");
    decide(&root, &id, "approve").await.expect(200);
    app.log_in("ada").await;
}

#[tokio::test]
async fn the_same_rules_hold_for_who_comes_from_a_provider() {
    let school = School::open().await;
    let (app, root) = (&school.app, &school.root);
    change(root, json!({ "registration": "approval" })).await;
    for _ in 0..2 {
        school
            .arrives("1001", "ada@example.com")
            .await
            .expect_problem(403, "approval_pending");
    }
    let waiting = root.client.get(REGISTRATIONS).await.expect(200);
    let one = &waiting.body["registrations"][0];
    assert_eq!(one["has_password"], false);
    decide(root, &text(&one["user"]["id"]), "approve")
        .await
        .expect(200);
    school.arrives("1001", "ada@example.com").await.expect(200);
    app.mail("ada@example.com", "Your account was approved").await;

    change(root, json!({ "registration": "invitation" })).await;
    school
        .arrives("1002", "bob@example.com")
        .await
        .expect_problem(403, "invitation_needed");
    let made = invite(root, &json!({ "role": "supervisor" })).await;
    let code = text(&made.body["code"]);
    let begin = |code: &str| format!("/api/v1/auth/oauth/school/authorize?invitation={code}");
    school
        .browser()
        .get(&begin("nonsense"))
        .await
        .expect_problem(400, "invalid_invitation");
    for (subject, email, status) in [
        ("1002", "bob@example.com", 200),
        // Who has an account needs none, and uses none up.
        ("1002", "bob@example.com", 200),
        ("1003", "cleo@example.com", 400),
    ] {
        school.idp.becomes(Stranger::new(subject, email));
        let mut browser = school.browser();
        let begun = browser.begin("school", &format!("?invitation={code}")).await;
        let back = browser.visit(&begun).await;
        let known = browser.come_back(&back).await.expect(status);
        if status == 200 {
            assert_eq!(known.body["user"]["role"], "supervisor");
        }
    }
    assert_eq!(app.count("users", doc! {}).await, 3);
}

#[tokio::test]
async fn where_passwords_are_for_admins_everybody_else_comes_by_a_provider() {
    let school = School::open().await;
    let (app, root) = (&school.app, &school.root);
    let ada = app.user("ada", "enduser").await;
    change(root, json!({ "password_sign_in": false })).await;

    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(403, "password_sign_in_closed");
    app.try_log_in("ada", "not her password 7")
        .await
        .expect_problem(401, "invalid_credentials");
    sign_up(app, "bob", None)
        .await
        .expect_problem(403, "password_sign_in_closed");
    app.try_log_in("root1", PASSWORD).await.expect(200);
    let public = app.client.get("/api/v1/auth/config").await.expect(200);
    assert_eq!(public.body["password_sign_in"], false);
    assert_eq!(public.body["providers"][0]["name"], "school");
    let refused = school
        .arrives("1001", "ada@example.com")
        .await
        .expect_problem(409, "link_required");
    assert_eq!(refused.body["proofs"], json!(["session", "mail"]));
    let token = json!({ "link_token": refused.body["link_token"] });
    ada.client
        .post("/api/v1/auth/oauth/link/confirm", &token)
        .await
        .expect(200);
    school.arrives("1001", "ada@example.com").await.expect(200);
    // Her password is no way in now, so the provider is the last one.
    let identity = text(&school.identities_of(&ada.id).await[0]["id"]);
    let unlink = format!("/api/v1/auth/account/oauth/{identity}");
    ada.client
        .delete(&unlink)
        .await
        .expect_problem(409, "last_sign_in_method");
    change(root, json!({ "password_sign_in": true })).await;
    ada.client.delete(&unlink).await.expect(200);
}

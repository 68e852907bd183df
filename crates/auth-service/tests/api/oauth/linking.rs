//! One person, several ways in: linking, proving, unlinking (security checks C4-C9, C13).

use bson::doc;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use test_support::Answer;

use super::{School, begin_link, path_of};
use crate::{
    oidc::Stranger,
    support::{PASSWORD, SignedIn, TestApp, email_of, text},
};

const CONFIRM: &str = "/api/v1/auth/oauth/link/confirm";
const MAIL: &str = "/api/v1/auth/oauth/link/mail";

/// The token of a refusal that asks for a proof.
async fn asked_for_proof(school: &School, subject: &str, email: &str) -> (String, Value) {
    let refused = school
        .arrives(subject, email)
        .await
        .expect_problem(409, "link_required");
    (text(&refused.body["link_token"]), refused.body["proofs"].clone())
}

async fn confirm(app: &TestApp, token: &str, proof: Value) -> Answer {
    let mut body = proof;
    body["link_token"] = json!(token);
    app.client.post(CONFIRM, &body).await
}

/// The code that is mailed for a link.
async fn mailed_code(app: &TestApp, token: &str, email: &str) -> String {
    app.client
        .post(MAIL, &json!({ "link_token": token }))
        .await
        .expect(200);
    let mail = app.mail(email, "Confirm a new way to sign in").await;
    let (_, after) = mail.split_once("confirmation code: ").unwrap();
    after.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_address_is_linked_once_the_password_was_proven() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let (token, proofs) = asked_for_proof(&school, "1001", "ada@example.com").await;
    assert_eq!(proofs, json!(["password", "session", "mail"]));
    assert!(school.identities_of(&ada.id).await.is_empty());

    let wrong = json!({ "password": "not hers at all" });
    confirm(&school.app, &token, wrong)
        .await
        .expect_problem(401, "invalid_credentials");
    let known = confirm(&school.app, &token, json!({ "password": PASSWORD }))
        .await
        .expect(200);

    assert_eq!(known.body["user"]["id"], ada.id);
    school
        .app
        .mail("ada@example.com", "A way to sign in was added")
        .await;
    school.app.audited("identity_linked", "ok", 1).await;
    let again = school.browser().sign_in("school").await.expect(200);
    assert_eq!(again.body["user"]["id"], ada.id);
    confirm(&school.app, &token, json!({ "password": PASSWORD }))
        .await
        .expect_problem(400, "invalid_link_token");
    school.app.try_log_in("ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_session_proves_its_own_account_only() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let eve = school.app.user("eve", "enduser").await;
    let (token, _) = asked_for_proof(&school, "1001", "ada@example.com").await;
    let body = json!({ "link_token": token });

    school
        .app
        .client
        .post(CONFIRM, &body)
        .await
        .expect_problem(400, "validation_failed");
    eve.client
        .post(CONFIRM, &body)
        .await
        .expect_problem(400, "wrong_proof");
    let linked = ada.client.post(CONFIRM, &body).await.expect(200);

    assert_eq!(linked.body["user"]["username"], "ada");
    assert!(school.identities_of(&eve.id).await.is_empty());
    assert_eq!(school.identities_of(&ada.id).await.len(), 1);
}

#[tokio::test]
async fn a_mailed_code_proves_it_to_whoever_has_both_halves() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let (token, _) = asked_for_proof(&school, "1001", "ada@example.com").await;
    let (other, _) = asked_for_proof(&school, "1001", "ada@example.com").await;
    let code = mailed_code(&school.app, &token, "ada@example.com").await;
    let mail = school.app.mail("ada@example.com", "Confirm a new way").await;
    assert!(!mail.contains(&token), "the mail alone is good for nothing");

    confirm(&school.app, &other, json!({ "mail_code": code }))
        .await
        .expect_problem(400, "wrong_proof");
    confirm(&school.app, &token, json!({ "mail_code": "0000-0000-0000" }))
        .await
        .expect_problem(400, "wrong_proof");
    let typed = code.to_uppercase().replace('-', " ");
    let known = confirm(&school.app, &token, json!({ "mail_code": typed }))
        .await
        .expect(200);

    assert_eq!(known.body["user"]["id"], ada.id);
    assert_eq!(school.identities_of(&ada.id).await.len(), 1);
}

#[tokio::test]
async fn proofs_and_mails_are_counted_and_run_out() {
    let school = School::open().await;
    school.app.user("ada", "enduser").await;
    let (token, _) = asked_for_proof(&school, "1001", "ada@example.com").await;
    for _ in 0..3 {
        school
            .app
            .client
            .post(MAIL, &json!({ "link_token": token }))
            .await
            .expect(200);
    }
    let again = json!({ "link_token": token });
    school
        .app
        .client
        .post(MAIL, &again)
        .await
        .expect_problem(400, "invalid_link_token");
    for _ in 0..5 {
        confirm(&school.app, &token, json!({ "mail_code": "x" }))
            .await
            .expect_problem(400, "wrong_proof");
    }
    confirm(&school.app, &token, json!({ "password": PASSWORD }))
        .await
        .expect_problem(400, "invalid_link_token");

    let (late, _) = asked_for_proof(&school, "1001", "ada@example.com").await;
    school.app.advance_secs(15 * 60 + 1);
    confirm(&school.app, &late, json!({ "password": PASSWORD }))
        .await
        .expect_problem(400, "invalid_link_token");
    for token in ["", "x", &"0".repeat(64)] {
        confirm(&school.app, token, json!({ "password": PASSWORD }))
            .await
            .expect_problem(400, "invalid_link_token");
    }
}

#[tokio::test]
async fn the_second_factor_belongs_to_the_proof() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let (phone, _) = crate::second_factors::enable(&school.app, &ada).await;
    let (token, _) = asked_for_proof(&school, "1001", "ada@example.com").await;

    let half = confirm(&school.app, &token, json!({ "password": PASSWORD }))
        .await
        .expect(200);
    assert_eq!(half.body["totp_required"], true);
    assert!(
        school.identities_of(&ada.id).await.is_empty(),
        "a password alone proves nothing here"
    );
    let whole = json!({ "password": PASSWORD, "totp_code": phone.code(&school.app, 0) });
    confirm(&school.app, &token, whole).await.expect(200);
    assert_eq!(school.identities_of(&ada.id).await.len(), 1);

    let bob = school.app.user("bob", "enduser").await;
    crate::second_factors::enable(&school.app, &bob).await;
    let (token, _) = asked_for_proof(&school, "1002", "bob@example.com").await;
    let code = mailed_code(&school.app, &token, "bob@example.com").await;
    let half = confirm(&school.app, &token, json!({ "mail_code": code }))
        .await
        .expect(200);
    assert_eq!(half.body["totp_required"], true, "the mailbox is one factor, too");
}

/// C6: somebody made an account with the address of somebody else, and waits.
#[tokio::test]
async fn who_set_a_trap_with_an_unproven_address_loses_it() {
    let school = School::open().await;
    let trap = school
        .app
        .spawn_beside_with(|config| config.sign_in_rule = auth_service::domain::user::SignInRule::Anybody)
        .await;
    let id = trap.sign_up("trapper").await;
    let attacker = trap.log_in("trapper").await;
    crate::second_factors::enable(&trap, &attacker).await;
    let email = email_of("trapper");
    // Not even here can the attacker link an identity of their own.
    school
        .link(
            &SignedIn {
                client: school.app.client.with_token(&attacker.access),
                ..attacker.clone()
            },
            "666",
        )
        .await;
    assert!(school.identities_of(&id).await.is_empty());
    let (token, proofs) = asked_for_proof(&school, "1001", &email).await;
    assert_eq!(proofs, json!(["mail"]));
    confirm(&school.app, &token, json!({ "password": PASSWORD }))
        .await
        .expect_problem(400, "wrong_proof");
    attacker
        .client
        .post(CONFIRM, &json!({ "link_token": token }))
        .await
        .expect_problem(409, "not_linkable");

    let (token, _) = asked_for_proof(&school, "1001", &email).await;
    let code = mailed_code(&school.app, &token, &email).await;
    let known = confirm(&school.app, &token, json!({ "mail_code": code }))
        .await
        .expect(200);

    assert_eq!(known.body["user"]["id"], id);
    trap.try_log_in("trapper", PASSWORD).await.expect(401);
    trap.refresh(&attacker.refresh).await.expect(401);
    attacker.client.get("/api/profile").await.expect(401);
    assert_eq!(school.app.count("second_factors", doc! {}).await, 0);
    let owner = school.app.client.with_token(text(&known.body["access_token"]));
    let account = owner.get("/api/v1/auth/account").await.expect(200);
    assert_eq!(account.body["user"]["has_password"], false);
    assert_eq!(
        account.body["user"]["oauth_accounts"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn one_links_and_unlinks_and_keeps_a_way_in() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    school.link(&ada, "1001").await.expect(200);
    school.link(&ada, "1001").await.expect(200);
    school.link(&ada, "1002").await.expect(200);
    let linked = school.identities_of(&ada.id).await;
    assert_eq!(linked.len(), 2, "the same twice is once");
    let remove = "/api/v1/auth/account/password";
    let wrong = json!({ "current_password": "not hers" });
    let request = || ada.client.request(reqwest::Method::DELETE, remove);
    ada.client
        .send(request().json(&wrong))
        .await
        .expect_problem(400, "wrong_password");
    let right = json!({ "current_password": PASSWORD });
    // A provider that is shut is no way in.
    school.edit(&json!({ "is_active": false })).await.expect(200);
    ada.client
        .send(request().json(&right))
        .await
        .expect_problem(409, "last_sign_in_method");
    school.edit(&json!({ "is_active": true })).await.expect(200);
    ada.client.send(request().json(&right)).await.expect(200);
    ada.client.get("/api/profile").await.expect(401);
    school.app.try_log_in("ada", PASSWORD).await.expect(401);

    school.idp.becomes(Stranger::new("1001", "elsewhere@example.org"));
    let known = school.browser().sign_in("school").await.expect(200);
    let ada = school.app.client.with_token(text(&known.body["access_token"]));
    let path = |index: usize| {
        format!(
            "/api/v1/auth/account/oauth/{}",
            linked[index]["id"].as_str().unwrap()
        )
    };
    ada.delete(&path(1)).await.expect(200);
    ada.delete(&path(1))
        .await
        .expect_problem(404, "identity_not_found");
    // C13
    ada.delete(&path(0))
        .await
        .expect_problem(409, "last_sign_in_method");
    let by_admin = format!(
        "/api/v1/users/{}/oauth-accounts/{}",
        text(&known.body["user"]["id"]),
        text(&linked[0]["id"])
    );
    school
        .root
        .client
        .delete(&by_admin)
        .await
        .expect_problem(409, "last_sign_in_method");
    school
        .app
        .mail("ada@example.com", "A way to sign in was removed")
        .await;
    school.app.audited("identity_unlinked", "ok", 1).await;
}

#[tokio::test]
async fn of_two_ways_in_that_go_at_once_one_stays() {
    let school = School::open().await;
    for round in 0..5 {
        let name = format!("user{round}");
        let user = school.app.user(&name, "enduser").await;
        school.link(&user, &format!("10{round}")).await.expect(200);
        school.link(&user, &format!("20{round}")).await.expect(200);
        let linked = school.identities_of(&user.id).await;
        // The password goes while both identities do.
        let password = user
            .client
            .request(reqwest::Method::DELETE, "/api/v1/auth/account/password")
            .json(&json!({ "current_password": PASSWORD }));
        let unlink = |index: usize| {
            let path = format!(
                "/api/v1/users/{}/oauth-accounts/{}",
                user.id,
                linked[index]["id"].as_str().unwrap()
            );
            let admin = school.root.client.clone();
            async move { admin.delete(&path).await }
        };
        let (_, (first, second)) = join(user.client.send(password), join(unlink(0), unlink(1))).await;

        let left = school.identities_of(&user.id).await.len();
        let has_password = school.app.try_log_in(&name, PASSWORD).await.status == 200;
        assert!(
            left > 0 || has_password,
            "round {round}: {} {}",
            first.text,
            second.text
        );
    }
}

#[tokio::test]
async fn an_identity_has_one_account() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let bob = school.app.user("bob", "enduser").await;
    school.link(&ada, "1001").await.expect(200);
    school
        .link(&bob, "1001")
        .await
        .expect_problem(409, "identity_taken");

    let links = ["ada", "bob"].map(|name| if name == "ada" { &ada } else { &bob });
    let linked = join_all(links.map(|user| school.link(user, "2002"))).await;
    let done = linked.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "two at once");
    school.idp.becomes(Stranger::new("1001", "elsewhere@example.org"));
    let known = school.browser().sign_in("school").await.expect(200);
    assert_eq!(known.body["user"]["username"], "ada");
}

#[tokio::test]
async fn a_link_is_made_by_the_session_that_wanted_it() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    let eve = school.app.user("eve", "enduser").await;
    school.idp.becomes(Stranger::new("666", "eve@example.org"));
    // Eve begins, and has Ada's browser finish.
    let url = begin_link(&eve, "school").await;
    let mut back = school.browser().visit(&url).await;
    school
        .browser()
        .come_back(&back)
        .await
        .expect_problem(400, "invalid_state");
    back.set_path("/api/v1/auth/oauth/school/link");
    ada.client
        .get(&path_of(&back))
        .await
        .expect_problem(400, "invalid_state");
    let other_session = school.app.log_in("eve").await;
    other_session
        .client
        .get(&path_of(&back))
        .await
        .expect_problem(400, "invalid_state");
    eve.client.post("/api/auth/logout", &json!({})).await.expect(200);
    eve.client
        .get(&path_of(&back))
        .await
        .expect_problem(401, "session_revoked");
    assert!(school.identities_of(&ada.id).await.is_empty());
    assert!(school.identities_of(&eve.id).await.is_empty());
}

#[tokio::test]
async fn a_browser_links_by_the_callback_as_long_as_the_session_stands() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    for (stands, status) in [(true, 200), (false, 401)] {
        let request = ada
            .client
            .request(reqwest::Method::POST, "/api/v1/auth/oauth/connect/school");
        let begun = ada.client.send(request.json(&json!({}))).await.expect(200);
        let mut browser = school.browser();
        browser.keep(&begun);
        school
            .idp
            .becomes(Stranger::new(&format!("77{status}"), "elsewhere@example.org"));
        let back = browser
            .visit(begun.body["authorization_url"].as_str().unwrap())
            .await;
        if !stands {
            ada.client.post("/api/auth/logout", &json!({})).await.expect(200);
        }
        browser.come_back(&back).await.expect(status);
    }
    assert_eq!(school.identities_of(&ada.id).await.len(), 1);
}

#[tokio::test]
async fn the_same_new_person_in_two_tabs_gets_one_account() {
    let school = School::open().await;
    school.idp.becomes(Stranger::new("1001", "ada@example.com"));
    let mut tabs = Vec::new();
    for _ in 0..6 {
        let mut browser = school.browser();
        let back = browser.go("school").await;
        tabs.push((browser, back));
    }
    let answers = join_all(tabs.iter().map(|(browser, back)| browser.come_back(back))).await;
    let mut ids: Vec<_> = answers
        .into_iter()
        .map(|answer| text(&answer.expect(200).body["user"]["id"]))
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(school.app.count("users", doc! {}).await, 2);
}

#[tokio::test]
async fn names_that_are_taken_get_a_number() {
    let school = School::open().await;
    school.app.user("mona", "enduser").await;
    for (subject, email, name) in [("1", "mona@a.example", "mona2"), ("2", "mona@b.example", "mona3")] {
        let known = school.arrives(subject, email).await.expect(200);
        assert_eq!(known.body["user"]["username"], name);
    }
}

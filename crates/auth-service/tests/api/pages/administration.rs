//! What administrators see and change, and nobody else.

use bson::doc;

use super::{Browser, signed_in};
use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn nobody_but_admins_gets_in() {
    let app = TestApp::spawn().await;
    for (name, role) in [("ada", "enduser"), ("sue", "supervisor")] {
        let (_, mut browser) = signed_in(&app, name, role).await;
        for path in [
            "/admin",
            "/admin/users",
            "/admin/users/new",
            "/admin/registrations",
            "/admin/invitations",
            "/admin/import",
            "/admin/credits",
            "/admin/credits/many",
            "/admin/credits/people/aaaaaaaaaaaaaaaaaaaaaaaa",
            "/admin/credits/people/aaaaaaaaaaaaaaaaaaaaaaaa/take",
            "/admin/credits/people/aaaaaaaaaaaaaaaaaaaaaaaa/statement",
            "/admin/usage",
            "/admin/usage/download",
            "/admin/providers",
            "/admin/settings",
            "/admin/audit",
        ] {
            browser.open(path).await.expect(403);
        }
        let token = browser.open("/account").await.token();
        browser
            .submit("/admin/users/new", &token, &[("username", "eve")])
            .await
            .expect(403);
    }
    assert_eq!(app.count("users", doc! {}).await, 2);
    assert_eq!(
        Browser::new(&app).open("/admin/users?q=x").await.location(),
        "/login?next=%2Fadmin%2Fusers%3Fq%3Dx"
    );
}

#[tokio::test]
async fn people_are_made_found_edited_and_shut_out() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let members = [
        ("username", "mei"),
        ("email", "mei@example.com"),
        ("password", PASSWORD),
        ("role", "enduser"),
        ("is_verified", "on"),
    ];
    let made = root.fill("/admin/users/new", "/admin/users/new", &members).await;
    let address = made.location().split('?').next().unwrap().to_owned();
    root.fill("/admin/users/new", "/admin/users/new", &members)
        .await
        .expect(400)
        .expect_text("This user name is taken.");
    root.open("/admin/users?q=me")
        .await
        .expect(200)
        .expect_text(&address)
        .expect_text("mei@example.com");
    root.open("/admin/users?state=disabled")
        .await
        .expect(200)
        .expect_text("Nothing found.");

    let mut mei = Browser::new(&app);
    mei.sign_in("mei").await.location();
    root.open(&address).await.expect(200).expect_text("Devices");
    let edit = [
        ("username", "mei"),
        ("email", "mei@example.com"),
        ("role", "supervisor"),
        ("is_verified", "on"),
    ];
    let saved = root.fill(&address, &address, &edit).await;
    assert_eq!(saved.location(), format!("{address}?done=saved"));
    assert_eq!(
        mei.open("/account").await.location(),
        "/login?next=%2Faccount",
        "the account is shut"
    );
    mei.sign_in("mei").await.expect(401);

    let given = root
        .fill(&address, &format!("{address}/password"), &[])
        .await
        .expect(200);
    given.expect_text("New password of mei");
    let kept = root
        .fill(&address, &format!("{address}/delete"), &[])
        .await
        .expect(400);
    kept.expect_text("Tick this to go on.");
    let gone = root
        .fill(&address, &format!("{address}/delete"), &[("understood", "on")])
        .await;
    assert_eq!(gone.location(), "/admin/users?done=user_deleted");
    root.open(&address).await.expect(404);
    root.open("/admin/audit?user=root1")
        .await
        .expect(200)
        .expect_text("user_deleted");
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let app = TestApp::spawn().await;
    let (id, mut root) = signed_in(&app, "root1", "admin").await;
    let address = format!("/admin/users/{id}");
    let edit = [
        ("username", "root1"),
        ("email", "root1@example.com"),
        ("is_verified", "on"),
    ];
    let page = root.fill(&address, &address, &edit).await;
    assert!(page.status.is_client_error(), "{}", page.status);
    root.open("/admin").await.expect(200);
}

#[tokio::test]
async fn a_table_is_looked_at_and_then_imported() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let table = "username,email\nmei,mei@example.com\nbad,nowhere\nroot1,root1@example.com\n";
    let preview = [("table", table), ("step", "preview")];
    let page = root
        .fill("/admin/import", "/admin/import", &preview)
        .await
        .expect(200);
    page.expect_text("3 rows: 1 new, 1 known already, 1 with mistakes.")
        .expect_text("Import 1 people");
    assert_eq!(app.count("users", doc! {}).await, 1);
    let apply = [("table", table), ("step", "apply")];
    let page = root
        .submit("/admin/import", &page.token(), &apply)
        .await
        .expect(200);
    page.expect_text("Created");
    assert_eq!(app.count("users", doc! {}).await, 2);
    root.submit("/admin/import", &page.token(), &apply)
        .await
        .expect(200)
        .expect_text("0 new, 2 known already");
    root.fill("/admin/import", "/admin/import", &[("table", "what is this")])
        .await
        .expect(400);
}

#[tokio::test]
async fn providers_are_made_shown_without_their_secret_and_deleted() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let members = [
        ("preset", "google"),
        ("client_id", "abc"),
        ("client_secret", "very secret"),
        ("is_active", "on"),
    ];
    let made = root
        .fill("/admin/providers/new", "/admin/providers/new", &members)
        .await;
    let address = made.location().split('?').next().unwrap().to_owned();
    let page = root.open(&address).await.expect(200);
    page.expect_text("https://chat.example.com/api/v1/auth/oauth/google/callback");
    assert!(!page.html.contains("very secret"));
    Browser::new(&app)
        .open("/login")
        .await
        .expect_text("Continue with Google")
        .expect_text(r#"href="/login/with/google""#);
    let gone = root.fill(&address, &format!("{address}/delete"), &[]).await;
    assert_eq!(gone.location(), "/admin/providers?done=provider_deleted");
    let bad = [
        ("name", "x y"),
        ("kind", "oidc"),
        ("issuer", "http://169.254.169.254/"),
    ];
    root.fill("/admin/providers/new", "/admin/providers/new", &bad)
        .await
        .expect(400);
}

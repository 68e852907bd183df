//! What one sees and changes of oneself.

use bson::doc;

use super::{Browser, signed_in};
use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn a_device_is_signed_out_and_feels_it() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let mut phone = Browser::new(&app);
    phone.sign_in("ada").await.location();
    let page = ada.open("/account/devices").await.expect(200);
    assert_eq!(page.html.matches("This device").count(), 1);
    let sessions = app.collection("sessions");
    let newest = sessions
        .find_one(doc! {})
        .sort(doc! { "_id": -1 })
        .await
        .unwrap()
        .unwrap();
    let action = format!("/account/devices/{}", newest.get_str("_id").unwrap());
    let out = ada.submit(&action, &page.token(), &[]).await;
    assert_eq!(out.location(), "/account/devices?done=device_signed_out");
    assert_eq!(phone.open("/account").await.location(), "/login?next=%2Faccount");
    // Once more is about nothing.
    ada.submit(&action, &page.token(), &[]).await.expect(404);
    ada.open("/account").await.expect(200);
}

#[tokio::test]
async fn somebody_elses_device_is_none() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let (_, mut bob) = signed_in(&app, "bob", "enduser").await;
    let sessions = app.collection("sessions");
    let bobs = sessions
        .find_one(doc! {})
        .sort(doc! { "_id": -1 })
        .await
        .unwrap()
        .unwrap();
    let action = format!("/account/devices/{}", bobs.get_str("_id").unwrap());
    ada.fill("/account/devices", &action, &[]).await.expect(404);
    bob.open("/account").await.expect(200);
}

#[tokio::test]
async fn everything_else_is_signed_out_at_once() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let mut phone = Browser::new(&app);
    phone.sign_in("ada").await.location();
    let out = ada.fill("/account/devices", "/account/devices/others", &[]).await;
    assert_eq!(out.location(), "/account/devices?done=others_signed_out");
    assert_eq!(phone.open("/account").await.location(), "/login?next=%2Faccount");
    ada.open("/account/devices").await.expect(200);
}

#[tokio::test]
async fn name_and_address_change_as_the_api_changes_them() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    app.user("bob", "enduser").await;
    let taken = [("username", "bob"), ("email", "ada@example.com")];
    ada.fill("/account", "/account/profile", &taken)
        .await
        .expect(400)
        .expect_text("This user name is taken.");
    let without = [("username", "ada"), ("email", "new@example.com")];
    let page = ada
        .fill("/account", "/account/profile", &without)
        .await
        .expect(400);
    page.expect_text("Needed to change the e-mail address.")
        .expect_text(r#"value="new@example.com""#);
    let with = [
        ("username", "ada"),
        ("email", "new@example.com"),
        ("current_password", PASSWORD),
    ];
    let asked = ada.fill("/account", "/account/profile", &with).await;
    assert_eq!(
        asked.location(),
        "/verify?email=new%40example.com&done=address_asked"
    );
    let code = app.code("new@example.com", 1).await;
    let proven = [("email", "new@example.com"), ("code", code.as_str())];
    ada.fill("/verify", "/verify", &proven).await.location();
    ada.open("/account")
        .await
        .expect(200)
        .expect_text("new@example.com");
}

#[tokio::test]
async fn ones_data_is_downloaded_and_deleted() {
    let app = TestApp::spawn().await;
    let (id, mut ada) = signed_in(&app, "ada", "enduser").await;
    let file = ada
        .fill("/account/data", "/account/data/download", &[])
        .await
        .expect(200);
    assert!(
        file.headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("personal-data.json")
    );
    file.expect_text("ada@example.com");

    let page = ada
        .fill("/account/data", "/account/data/delete", &[("password", PASSWORD)])
        .await
        .expect(400);
    page.expect_text("Tick this to go on.");
    let wrong = [("password", "not this one 1"), ("understood", "on")];
    ada.fill("/account/data", "/account/data/delete", &wrong)
        .await
        .expect(400);
    assert!(app.find_user(&id).await.is_some());
    let right = [("password", PASSWORD), ("understood", "on")];
    let gone = ada.fill("/account/data", "/account/data/delete", &right).await;
    assert_eq!(gone.location(), "/login?done=deleted");
    assert!(app.find_user(&id).await.is_none());
}

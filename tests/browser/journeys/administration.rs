//! An administrator's day: a table of people, credits for a group, a chatflow for it, and what came of it.

use serde_json::json;
use system_tests::{browser::Browser, fleet::Guest, flowise::chatflow, platform::ADMIN};
use test_support::Client;

use super::{Journey, PASSWORD, arrives_at};

/// A line for each of 500 people; the first one has a password, and a mistake is in the last line.
fn table() -> String {
    let password = |number: usize| if number == 0 { PASSWORD } else { "" };
    let rows = (0..500).map(|number| {
        format!(
            "pupil{number},pupil{number}@school.example,{}\n",
            password(number)
        )
    });
    format!(
        "username,email,password\n{}bad,nowhere,\n",
        rows.collect::<String>()
    )
}

async fn import(journey: &Journey) {
    let browser = &journey.browser;
    journey.open("/admin/import").await;
    let script = "document.getElementById('table').value = arguments[0]";
    browser.run_with(script, json!([table()])).await;
    browser.click("main button.main").await;
    browser
        .until("document.querySelector('button[value=apply]')")
        .await;
    journey.look("admin-import-preview").await;
    browser.click("button[value=apply]").await;
    browser
        .until("document.querySelectorAll('tbody tr').length === 501 && !document.querySelector('button[value=apply]')")
        .await;
    let status = browser.text("main [role=status]").await;
    assert_eq!(status, "501 rows: 500 new, 0 known already, 1 with mistakes.");
}

/// A group of three of them.
async fn group(journey: &Journey) {
    let browser = &journey.browser;
    journey.open("/admin/groups").await;
    journey
        .fill(&[("name", "Class 7b")], "form[action='/admin/groups'] button")
        .await;
    browser.until("document.getElementById('emails')").await;
    let emails: Vec<_> = (0..3)
        .map(|number| format!("pupil{number}@school.example"))
        .collect();
    journey
        .fill(
            &[("emails", &emails.join(" "))],
            "form[action$='/members'] button",
        )
        .await;
    browser
        .until("document.querySelectorAll('tbody tr').length === 3")
        .await;
    journey.look("admin-group").await;
}

async fn choose(browser: &Browser, id: &str, text: &str) {
    let script = "const select = document.getElementById(arguments[0]);
        const option = [...select.options].find((option) => option.text.includes(arguments[1]) || option.value === arguments[1]);
        select.value = option.value;";
    browser.run_with(script, json!([id, text])).await;
}

/// Credits for each of the group, by the form and its second thoughts.
async fn allocate(journey: &Journey) {
    let browser = &journey.browser;
    journey.open("/admin/credits/many").await;
    choose(browser, "whom", "Class 7b").await;
    journey.look("admin-credits-many").await;
    journey.fill(&[("credits", "25")], "main button.main").await;
    browser
        .until("document.querySelector('button[value=give]')")
        .await;
    journey.look("admin-credits-confirm").await;
    browser.click("button[value=give]").await;
    browser
        .until("document.querySelectorAll('tbody .badge.good').length === 3")
        .await;
    journey.look("admin-credits-given").await;
}

async fn assign(journey: &Journey) {
    let browser = &journey.browser;
    journey.open("/admin/chatflows").await;
    browser.click("form[action='/admin/chatflows/sync'] button").await;
    browser
        .until(&format!(
            "document.querySelector('a[href=\"/admin/chatflows/{}\"]')",
            chatflow::CHAT
        ))
        .await;
    journey.look("admin-chatflows").await;
    let page = format!("/admin/chatflows/{}", chatflow::CHAT);
    journey.open(&page).await;
    choose(browser, "group_id", "Class 7b").await;
    browser.click(&format!("form[action='{page}/give'] button")).await;
    browser
        .until(
            "[...document.querySelectorAll('tbody th')].some((cell) => cell.innerText.includes('Class 7b'))",
        )
        .await;
    choose(browser, "price_by", "flat").await;
    journey
        .fill(&[("price", "2")], &format!("form[action='{page}/price'] button"))
        .await;
    browser
        .until("document.getElementById('price').value === '2'")
        .await;
    journey.look("admin-chatflow").await;
}

/// One of the people asks twice.
async fn ask_twice(journey: &Journey) {
    let outside = Client::new(journey.gateway.url());
    let pupil = Guest::log_in(&outside, &outside, &outside, "pupil0", PASSWORD).await;
    for _ in 0..2 {
        pupil.chat(&[]).await.unwrap();
    }
    assert_eq!(pupil.balance().await, 21, "25 less two answers of 2");
}

#[actix_web::test]
async fn an_administrator_looks_after_a_school() {
    let journey = Journey::begin().await;
    let browser = &journey.browser;
    journey.log_in(browser, ADMIN.0, ADMIN.2).await;
    journey.arrives_at("/").await;
    import(&journey).await;
    group(&journey).await;
    assign(&journey).await;
    allocate(&journey).await;
    ask_twice(&journey).await;

    // Numbers of use are gathered a little later.
    let spent = "[...document.querySelectorAll('svg.chart rect title')].at(-1)?.textContent.endsWith(': 4')";
    let mut tries = 0;
    while browser.run(&format!("return !!({spent})")).await != json!(true) {
        journey.open("/admin/usage?by=day").await;
        tries += 1;
        assert!(
            tries < 500,
            "the chart shows what was paid: {}",
            browser.text("main").await
        );
    }
    journey.look("admin-usage").await;
    for (path, picture) in [
        ("/admin", "admin"),
        ("/admin/usage?by=person", "admin-usage-people"),
        ("/admin/usage?by=chatflow", "admin-usage-chatflows"),
        ("/admin/credits?q=pupil", "admin-credits"),
        ("/admin/users?q=pupil1", "admin-users-many"),
        ("/admin/embeds", "admin-embeds"),
        ("/admin/embeds/new", "admin-embed-new"),
        ("/admin/registrations", "admin-registrations"),
        ("/admin/invitations", "admin-invitations"),
        ("/admin/groups", "admin-groups"),
        ("/my-chatflows", "my-chatflows"),
        ("/account/keys", "keys"),
    ] {
        journey.open(path).await;
        assert_eq!(
            browser.run("return location.pathname + location.search").await,
            path,
            "the page is there"
        );
        journey.look(picture).await;
    }
    let person = "return document.querySelector('tbody a[href^=\"/admin/credits/people/\"]').pathname";
    journey.open("/admin/credits?q=pupil0").await;
    let person = browser.run(person).await;
    journey.open(person.as_str().unwrap()).await;
    journey.look("admin-credits-person").await;
    let pupil = Browser::start().await;
    journey.log_in(&pupil, "pupil0", PASSWORD).await;
    arrives_at(&pupil, "/").await;
    journey.open_in(&pupil, "/admin").await;
    assert!(pupil.text("main").await.contains("You may not see this"));
}

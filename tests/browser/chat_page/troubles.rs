//! What people read when something is wrong, and what they can do about it.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Refusal, Rule},
    link::Link,
    person::Person,
    platform::{PASSWORD, Platform},
};

use super::desk::{CREDITS, Desk};

/// What stands below the newest answer.
async fn note(desk: &Desk) -> String {
    let note = "return [...document.querySelectorAll('.message')].at(-1).querySelector('.foot .note')?.innerText ?? ''";
    desk.browser.run(note).await.as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn without_credits_nothing_is_asked_and_it_is_said() {
    let mut desk = Desk::start().await;
    desk.person = desk.platform.chatter("poor", 0).await;
    desk.sign_in().await;
    let browser = &desk.browser;
    desk.open().await;
    desk.until_credits(0).await;
    browser
        .until("document.querySelector('#cost').innerText.endsWith('You have 0 credits left. Ask an administrator for more.')")
        .await;
    desk.send("Anything?").await;
    desk.until_last("failed").await;
    let said = "You do not have enough credits: this needs 1, and you have 0. Ask an administrator for more.";
    assert_eq!(note(&desk).await, said);
    browser
        .until(&format!(
            "document.querySelector('#spoken').innerText === {}",
            json!(said)
        ))
        .await;
    assert!(desk.platform.flowise.predictions().is_empty());
}

#[actix_web::test]
async fn a_daily_cap_says_until_when() {
    let desk = Desk::start().await;
    let path = format!("/api/v1/admin/chatflows/{}", desk.person.chatflow_id);
    let cap = json!({ "daily_turns_per_user_max": 1 });
    desk.platform
        .as_admin(&desk.platform.proxy, Method::PATCH, &path, &cap)
        .await
        .expect(200);
    desk.open().await;
    desk.ask("One").await;
    desk.send("Two").await;
    desk.until_last("failed").await;
    let said = note(&desk).await;
    assert!(
        said.starts_with("You have asked 1 question today, which is as many as you may. You can go on at "),
        "{said}"
    );
}

#[actix_web::test]
async fn a_chatflow_that_was_taken_away_can_be_read_and_not_asked() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    desk.ask("Remember this").await;
    let path = format!(
        "/api/v1/admin/chatflows/{}/users/{}",
        desk.person.chatflow_id, desk.person.id
    );
    desk.platform
        .as_admin(&desk.platform.proxy, Method::DELETE, &path, &json!({}))
        .await
        .expect(200);
    desk.send("And this").await;
    desk.until_last("failed").await;
    assert!(
        note(&desk)
            .await
            .starts_with("This chatflow is not assigned to you any more.")
    );
    browser.until("document.querySelector('#input').disabled").await;
    browser.reload().await;
    desk.until_ready().await;
    browser
        .until("document.querySelector('.mine .text')?.innerText === 'Remember this'")
        .await;
    browser
        .until("document.querySelector('#notice').innerText.startsWith('This chatflow is not assigned')")
        .await;
    assert_eq!(
        browser
            .run("return document.querySelector('#input').disabled")
            .await,
        true
    );
}

#[actix_web::test]
async fn who_has_no_chatflow_reads_whom_to_ask() {
    let mut desk = Desk::start().await;
    let user = json!({ "username": "newcomer", "email": "newcomer@example.com", "password": PASSWORD, "skipVerification": true });
    desk.platform
        .admin()
        .await
        .auth
        .post("/api/admin/users", &user)
        .await
        .expect(201);
    desk.person = Person::log_in(&desk.platform, "newcomer", PASSWORD).await;
    desk.sign_in().await;
    desk.open().await;
    let greeting = desk.browser.text("#greeting").await;
    assert!(
        greeting.starts_with("No chatflow is assigned to you yet")
            && greeting.contains("Ask an administrator"),
        "{greeting}"
    );
    assert_eq!(
        desk.browser
            .run("return document.querySelector('#input').disabled")
            .await,
        true
    );
}

#[actix_web::test]
async fn a_failure_has_its_sentence_and_another_try() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.platform.flowise.tell(Rule::once(Behaviour {
        refuse: Some(Refusal::Error("secret inside".to_owned())),
        ..Behaviour::default()
    }));
    desk.open().await;
    desk.send("Try me").await;
    desk.until_last("failed").await;
    assert_eq!(note(&desk).await, "The assistant could not answer.");
    desk.until_credits(CREDITS).await;
    browser.click(".retry").await;
    desk.until_last("complete").await;
    assert!(desk.last().await.contains("Try me"));
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message').length")
            .await,
        2,
        "the same question, not another one"
    );
    desk.until_credits(CREDITS - 1).await;
    assert!(
        !browser
            .run("return document.body.innerText")
            .await
            .as_str()
            .unwrap()
            .contains("secret inside")
    );
}

#[actix_web::test]
async fn who_has_to_wait_sees_how_long() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    let script = "const real = window.fetch;
        window.fetch = (address, options) => {
            if (!String(address).includes('/predict/')) return real(address, options);
            window.fetch = real;
            const body = JSON.stringify({ code: 'upstream_busy', status: 503, detail: 'inside' });
            return Promise.resolve(new Response(body, { status: 503, headers: { 'retry-after': '2' } }));
        };";
    browser.run(script).await;
    desk.send("Now?").await;
    desk.until_last("failed").await;
    assert_eq!(
        note(&desk).await,
        "Too much is going on at the moment. You have paid nothing. Try again in 2 seconds."
    );
    assert_eq!(
        browser
            .run("return document.querySelector('.retry').disabled")
            .await,
        true
    );
    browser
        .until("document.querySelector('.retry').disabled === false")
        .await;
    browser.click(".retry").await;
    desk.until_last("complete").await;
}

#[actix_web::test]
async fn a_lost_connection_comes_back_and_nothing_is_lost_or_paid_twice() {
    let mut desk = Desk::start().await;
    let mut link = Link::to(desk.platform.proxy.address).unwrap();
    desk.page = format!("http://{}/chat", link.address);
    let browser = &desk.browser;
    desk.platform.flowise.tell(Rule::once(Behaviour {
        reply: Some("Half of it came, and then the other half.".to_owned()),
        ending: Some((4, Ending::Hang)),
        ..Behaviour::default()
    }));
    desk.open().await;
    desk.send("Tell me all").await;
    desk.until_said("Half of it came,").await;
    link.pull_out().await;
    desk.until_last("lost").await;
    assert!(note(&desk).await.starts_with("The connection was lost"));
    link.put_back().unwrap();
    desk.platform.flowise.release();
    desk.until_last("complete").await;
    assert_eq!(desk.last().await, "Half of it came, and then the other half.");
    desk.until_credits(CREDITS - 1).await;

    // A question that is asked while there is nobody is asked once there is.
    link.pull_out().await;
    desk.send("Are you there?").await;
    desk.until_last("lost").await;
    link.put_back().unwrap();
    desk.until_last("complete").await;
    assert!(desk.last().await.contains("Are you there?"));
    desk.until_credits(CREDITS - 2).await;
    assert_eq!(desk.platform.flowise.predictions().len(), 2);
    assert_eq!(desk.person.history(&desk.session_id().await).await.len(), 4);
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message').length")
            .await,
        4
    );
}

#[actix_web::test]
async fn no_network_is_said_at_once() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    let network = async |offline: bool| {
        browser.command("Network.enable", json!({})).await;
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        browser
            .command("Network.emulateNetworkConditions", conditions)
            .await;
    };
    network(true).await;
    browser
        .until("document.querySelector('#notice').innerText.startsWith('You are offline.')")
        .await;
    desk.send("Later").await;
    desk.until_last("lost").await;
    network(false).await;
    desk.until_last("complete").await;
    browser.until("document.querySelector('#notice').hidden").await;
    desk.until_credits(CREDITS - 1).await;
}

const HOSTILE: &str = "<img src=x onerror=\"window.ran=1\"> <script>window.ran=2</script>\n\n\
![a picture](https://tracker.example/pixel.png) [click](javascript:window.ran=3) [fine](https://books.example/)\n\n\
```html\n<b>code</b>\n```";

#[actix_web::test]
async fn what_an_answer_says_stays_text() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(HOSTILE.to_owned()),
        ..Behaviour::default()
    }));
    desk.open().await;
    let answer = desk.ask("<b>Bold?</b> **no**").await;
    assert!(
        answer.contains("<img src=x onerror=") && answer.contains("<script>"),
        "{answer}"
    );
    let question = browser.text(".mine .text").await;
    assert_eq!(question, "<b>Bold?</b> **no**");
    let found = browser
        .run(
            "return { ran: window.ran ?? null, made: document.querySelectorAll('.text img, .text script, .text b').length,
            links: [...document.querySelectorAll('.theirs a')].map((link) => [link.innerText, link.href, link.rel]) }",
        )
        .await;
    assert_eq!((&found["ran"], &found["made"]), (&Value::Null, &json!(0)));
    let rel = "noopener noreferrer nofollow ugc";
    assert_eq!(
        found["links"],
        json!([
            ["a picture", "https://tracker.example/pixel.png", rel],
            ["fine", "https://books.example/", rel]
        ])
    );
    browser
        .run("Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.copied = text; } } })")
        .await;
    browser.click(".code .copy").await;
    browser
        .until("document.querySelector('.code .copy').innerText === 'Copied'")
        .await;
    assert_eq!(browser.run("return window.copied").await, "<b>code</b>");
    browser.click(".foot .copy").await;
    browser
        .until(&format!("window.copied === {}", json!(HOSTILE)))
        .await;
    let strangers = "return performance.getEntriesByType('resource').filter((entry) => new URL(entry.name).origin !== location.origin).length";
    assert_eq!(browser.run(strangers).await, 0);
}

#[actix_web::test]
async fn one_of_several_chatflows_is_chosen() {
    let platform = Platform::start().await;
    let desk = Desk::on(platform).await;
    let browser = &desk.browser;
    let other = system_tests::flowise::chatflow::TOOL;
    let path = format!("/api/v1/admin/chatflows/{other}/users");
    let admin = desk.platform.admin().await;
    admin
        .proxy
        .post(&path, &json!({ "email": desk.person.email }))
        .await
        .expect(200);
    let price = json!({ "price": 3 });
    let path = format!("/api/v1/admin/chatflows/{other}");
    desk.platform
        .as_admin(&desk.platform.proxy, Method::PATCH, &path, &price)
        .await
        .expect(200);
    desk.open().await;
    browser
        .until("document.querySelectorAll('.card').length === 2")
        .await;
    browser
        .click(&format!(".card:has(input[value=\"{other}\"])"))
        .await;
    browser
        .until("document.querySelector('#cost').innerText === 'A message costs 3 credits.'")
        .await;
    desk.ask("Hello").await;
    desk.until_credits(CREDITS - 3).await;
    browser.click("#newChat").await;
    browser.reload().await;
    desk.until_ready().await;
    let chosen = browser
        .run("return document.querySelector('.card :checked').value")
        .await;
    assert_eq!(chosen, other, "the one that was used last is offered first");
    let wanted = &desk.person.chatflow_id;
    browser
        .open(&format!("{}?language=en&chatflow={wanted}", desk.page))
        .await;
    desk.until_ready().await;
    let chosen = browser
        .run("return document.querySelector('.card :checked').value")
        .await;
    assert_eq!(chosen, json!(wanted), "unless the address names another");
}

//! Pages of the list of users, and what MongoDB does for them.

use std::collections::BTreeSet;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use test_support::Answer;

use crate::support::{SignedIn, TestApp};

/// Users beside the administrator.
const MANY: usize = 3_000;

/// A third is disabled, a third unverified; every hundredth is a supervisor, the words for the others differ.
fn somebody(number: usize) -> Document {
    let role = match number {
        _ if number.is_multiple_of(100) => "supervisor",
        _ if number.is_multiple_of(7) => "teacher",
        _ if number.is_multiple_of(5) => "user",
        _ => "enduser",
    };
    let mut user = doc! {
        "username": format!("Pupil{number:05}"), "email": format!("p{number:05}@example.com"), "role": role,
        "isVerified": number % 3 != 1,
    };
    if number % 3 == 2 {
        user.insert("isDisabled", true);
    }
    if number % 11 == 3 {
        user.remove("role");
    }
    user
}

async fn school() -> (TestApp, SignedIn) {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    app.users().insert_many((0..MANY).map(somebody)).await.unwrap();
    (app, root)
}

fn names(answer: &Answer) -> Vec<String> {
    let users = answer.body["users"]
        .as_array()
        .unwrap_or_else(|| answer.body.as_array().unwrap());
    users
        .iter()
        .map(|user| user["username"].as_str().unwrap().to_owned())
        .collect()
}

/// All pages of a list, one after another.
async fn walk(root: &SignedIn, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let page = root
            .client
            .get(&format!("/api/admin/users?{query}{cursor}"))
            .await
            .expect(200);
        all.extend(names(&page));
        match &page.body["nextCursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            Value::Null => return all,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => panic!("{}", page.text),
        }
    }
    panic!("the list {query} has no end");
}

fn distinct(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn pages_hold_everybody_once_in_the_order_of_the_whole_list() {
    let (_app, root) = school().await;
    let whole = names(&root.client.get("/api/admin/users").await.expect(200));
    assert_eq!(whole.len(), MANY + 1);

    for limit in [7, 200] {
        assert_eq!(
            walk(&root, &format!("limit={limit}")).await,
            whole,
            "limit {limit}"
        );
    }
}

#[tokio::test]
async fn the_bare_list_links_to_its_next_page() {
    let (_app, root) = school().await;
    let mut path = "/api/users?limit=200&state=active".to_owned();
    let mut all = Vec::new();
    loop {
        let page = root.client.get(&path).await.expect(200);
        all.extend(names(&page));
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let (target, relation) = link.to_str().unwrap().split_once(">; ").unwrap();
        assert_eq!(relation, "rel=\"next\"");
        target.strip_prefix('<').unwrap().clone_into(&mut path);
        assert!(path.starts_with("/api/users?"), "{path}");
    }
    assert_eq!(all.len(), MANY / 3 + 1);
    assert_eq!(distinct(&all).len(), all.len());
}

#[tokio::test]
async fn role_and_state_are_read_as_the_service_reads_them() {
    let (_app, root) = school().await;
    let count = |wanted: &dyn Fn(usize, &Document) -> bool| {
        (0..MANY)
            .filter(|number| wanted(*number, &somebody(*number)))
            .count()
    };
    let is_supervisor = |user: &Document| user.get_str("role").ok() == Some("supervisor");

    let supervisors = walk(&root, "role=supervisor&limit=9").await;
    assert_eq!(supervisors.len(), count(&|_, user| is_supervisor(user)));
    let others = walk(&root, "role=enduser&limit=200").await;
    assert_eq!(
        others.len(),
        count(&|_, user| !is_supervisor(user)),
        "any other word, or none"
    );
    assert_eq!(walk(&root, "role=user&limit=200").await, others);
    assert_eq!(walk(&root, "role=admin").await, ["root1"]);

    for (state, rest) in [("unverified", 1), ("disabled", 2)] {
        let found = walk(&root, &format!("state={state}&limit=150")).await;
        assert_eq!(found.len(), count(&|number, _| number % 3 == rest), "{state}");
        let both = walk(&root, &format!("state={state}&role=supervisor&limit=4")).await;
        assert_eq!(
            both.len(),
            count(&|number, user| number % 3 == rest && is_supervisor(user))
        );
        assert_eq!(distinct(&both).len(), both.len());
    }
}

#[tokio::test]
async fn a_search_finds_names_first_then_addresses_and_nobody_twice() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let people = [
        ("mei", "z1@example.com"),
        ("MEI", "z2@example.com"),
        ("Mei Lin", "mei.lin@example.com"),
        ("Méi", "z3@example.com"),
        ("nomei", "z4@example.com"),
        ("other", "meister@example.com"),
        ("another", "mei@example.com"),
        ("mej", "z5@example.com"),
    ];
    let people =
        people.map(|(username, email)| doc! { "username": username, "email": email, "isVerified": true });
    app.users().insert_many(people).await.unwrap();

    for limit in 1..=9 {
        let found = walk(&root, &format!("q=mei&limit={limit}")).await;
        assert_eq!(distinct(&found).len(), found.len(), "limit {limit}: {found:?}");
        let (by_name, by_address) = found.split_at(4);
        assert_eq!(
            distinct(by_name),
            BTreeSet::from(["mei", "MEI", "Mei Lin", "Méi"])
        );
        assert_eq!(by_address, ["another", "other"], "by address");
    }
    assert_eq!(walk(&root, "q=MEI@").await, ["another"]);
    assert_eq!(walk(&root, "q=mei@example.org").await, Vec::<String>::new());
    assert_eq!(walk(&root, "q=mei%20&state=disabled").await, Vec::<String>::new());
    assert_eq!(walk(&root, "q=%20").await.len(), 9, "nothing is searched for");
    for literal in ["q=.*", "q=%5E", "q=$", "q=%7B%22$gt%22:%22%22%7D", "q=%EF%BF%BF"] {
        assert_eq!(walk(&root, literal).await, Vec::<String>::new(), "{literal}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let (_app, root) = school().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1&limit=2",
        "role=teacher",
        "role=",
        "state=Active",
        "q=a%00b",
        "q[$ne]=1&limit=0",
    ] {
        for path in ["/api/admin/users", "/api/users"] {
            let answer = root.client.get(&format!("{path}?{query}")).await;
            answer.expect_problem(400, "validation_failed");
        }
    }
    let page = root.client.get("/api/admin/users?limit=5").await.expect(200);
    let cursor = page.body["nextCursor"].as_str().unwrap();
    for query in [
        "cursor=".to_owned(),
        "cursor=garbage".to_owned(),
        format!("cursor={cursor}x"),
        format!("cursor={cursor}&state=active"),
        format!("cursor={cursor}&q=pupil"),
    ] {
        for path in ["/api/admin/users", "/api/users"] {
            let answer = root.client.get(&format!("{path}?{query}")).await;
            answer.expect_problem(400, "invalid_cursor");
        }
    }
}

/// What the database did for one request, by its own account.
async fn profile(app: &TestApp, root: &SignedIn, path: &str) -> Vec<Document> {
    let database = &app.mongo.database;
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    app.collection("system.profile").drop().await.unwrap();
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    root.client.get(path).await.expect(200);
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let users = format!("{}.users", app.mongo.name);
    let log = app.collection("system.profile");
    let entries: Vec<Document> = log
        .find(doc! { "ns": users })
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    // The check of the caller's own session reads one user by id, and the feed of changes reads in the background by its own
    // index; these are not what is looked at.
    let is_page = |entry: &Document| {
        let is_feed = entry
            .get_str("planSummary")
            .is_ok_and(|plan| plan.contains("untold"));
        let command = entry.get_document("command");
        !is_feed
            && command.is_ok_and(|command| command.contains_key("sort") || command.contains_key("distinct"))
    };
    entries.into_iter().filter(is_page).collect()
}

#[tokio::test]
async fn every_page_reads_an_index_in_its_order_and_little_more_than_it_shows() {
    let (app, root) = school().await;
    let deep = {
        let page = root.client.get("/api/admin/users?limit=200").await.expect(200);
        let mut cursor = page.body["nextCursor"].as_str().unwrap().to_owned();
        for _ in 0..10 {
            let path = format!("/api/admin/users?limit=200&cursor={cursor}");
            let page = root.client.get(&path).await.expect(200);
            page.body["nextCursor"].as_str().unwrap().clone_into(&mut cursor);
        }
        format!("limit=50&cursor={cursor}")
    };
    let in_names = {
        let page = root
            .client
            .get("/api/admin/users?q=pupil&limit=200")
            .await
            .expect(200);
        format!(
            "q=pupil&limit=50&cursor={}",
            page.body["nextCursor"].as_str().unwrap()
        )
    };
    // (what is asked, the greatest number of documents that may be looked at)
    for (query, most) in [
        ("limit=50".to_owned(), 51),
        (deep, 51),
        ("q=pupil02&limit=50".to_owned(), 51),
        (in_names, 52),
        ("q=p02@&limit=50".to_owned(), 51),
        ("q=p02&limit=50".to_owned(), 102),
        ("role=supervisor&limit=20".to_owned(), 30),
        ("role=enduser&limit=50".to_owned(), 100),
        ("state=active&limit=50".to_owned(), 60),
        ("state=unverified&limit=50".to_owned(), 60),
        ("state=disabled&role=supervisor&limit=5".to_owned(), 15),
        ("q=pupil&role=admin&limit=50".to_owned(), 1_000),
    ] {
        let entries = profile(&app, &root, &format!("/api/admin/users?{query}")).await;
        assert!(!entries.is_empty(), "{query}");
        let mut examined = 0;
        for entry in &entries {
            let plan = entry.get_str("planSummary").unwrap();
            let uses_index = plan.contains("IXSCAN") || plan.contains("DISTINCT_SCAN");
            assert!(uses_index && !plan.contains("COLLSCAN"), "{query}: {plan}");
            assert!(
                !entry.get_bool("hasSortStage").unwrap_or(false),
                "{query} sorts: {plan}"
            );
            examined += entry.get_i32("docsExamined").unwrap_or_default();
            let keys = entry.get_i32("keysExamined").unwrap_or_default();
            assert!(keys <= 4 * most + 100, "{query}: {keys} keys");
        }
        assert!(examined <= most, "{query}: {examined} documents");
    }
}

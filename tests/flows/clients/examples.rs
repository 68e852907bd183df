//! The examples that our pages tell people to copy, run as they stand there.

use std::process::Stdio;

use serde_json::json;
use system_tests::{flowise::chatflow, platform::Platform, programs::root};
use tokio::{process::Command, time::timeout};

use super::{CREDITS, Language, PATIENCE, asked, key_of_hers, openai::CHAT_NAME};

/// The pages about clients, one after the other.
fn pages() -> String {
    let folder = std::fs::read_dir(root().join("proto-docs")).expect("the pages are there");
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("clients") && name.ends_with(".md")
    });
    paths.sort();
    let pages = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    pages.collect()
}

/// All examples in this language that hold this text.
fn examples<'a>(pages: &'a str, language: &str, text: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let all = pages.split(fence.as_str()).skip(1);
    let all = all.map(|rest| rest.split_once("```").unwrap().0);
    all.filter(|example| example.contains(text)).collect()
}

#[actix_web::test]
async fn the_examples_of_the_pages_work() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", CREDITS).await;
    let (key, url) = (key_of_hers(&alice).await, platform.proxy.url());
    let pages = pages();
    // What the examples have of their readers.
    let filled_in = |example: &str| {
        example
            .replace("http://localhost:8000", &url)
            .replace("https://chat.example.org", &url)
            .replace("Biology tutor", CHAT_NAME)
            .replace("fg-…", &key)
    };
    let (quoted_key, quoted_id) = (json!(key), json!(chatflow::CHAT));
    let known_to_typescript = format!("const key = {quoted_key}, chatflowId = {quoted_id};\n");
    let known_to_python = format!("key, chatflow = {quoted_key}, {quoted_id}\n");
    let mut commands = Vec::new();
    for (of_npm, of_pypi) in [("flowise-sdk", "flowise"), ("openai", "openai")] {
        for example in examples(&pages, "ts", &format!("from '{of_npm}';")) {
            let program = filled_in(&format!("{known_to_typescript}{example}"));
            commands.push((example, Language::TypeScript.command(&program).await));
        }
        for example in examples(&pages, "python", &format!("from {of_pypi} import")) {
            let program = filled_in(&format!("{known_to_python}{example}"));
            commands.push((example, Language::Python.command(&program).await));
        }
    }
    for example in examples(&pages, "sh", "curl ") {
        let mut shell = Command::new("bash");
        shell
            .args(["-e", "-o", "pipefail", "-c", &filled_in(example)])
            .env("CHATFLOW", chatflow::CHAT);
        commands.push((example, shell));
    }
    assert_eq!(commands.len(), 6, "two SDKs, two languages, and curl for both");

    for (example, mut command) in commands {
        let before = asked(&platform).len();
        let run = command
            .env("FLOWGATE_KEY", &key)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output();
        let run = timeout(PATIENCE, run).await.expect("it ends");
        let run = run.expect("it can be started");
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success() && said.contains("Mock "),
            "{example}: {said}"
        );
        let asked = asked(&platform).split_off(before);
        let questions: Vec<_> = asked.iter().map(|prediction| &prediction["question"]).collect();
        assert_eq!(questions, ["What does a mitochondrion do?"], "{example}");
    }
    platform.until_all_is_settled().await;
    assert_eq!(alice.balance().await, CREDITS - 6);
}

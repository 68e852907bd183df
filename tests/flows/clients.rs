//! The clients that people already have, as they come from the package registries, against the three services: what they
//! get, what it costs, what is kept of it, and what they raise.

mod examples;
mod flowise;
mod openai;

use std::{process::Stdio, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Rule, Writes, chatflow},
    person::Person,
    platform::Platform,
    programs::{path_of, read},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::api_keys::{key_of, revoke};

/// How long a client may take for one order; a test that waits longer fails, so that it ends.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a platform's usual person has.
const CREDITS: i64 = 10;

/// Signs that lines, frames and characters are cut at by mistake.
const ODD_REPLY: &str = "Grüße: \u{1F331} a\u{2028}b\n\n```js\r\n{\"x\": [DONE]}\n``` \u{85}event:\tend ";

/// The language that a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    TypeScript,
    Python,
}

impl Language {
    /// What names of its programs end with.
    fn ending(self) -> &'static str {
        match self {
            Self::TypeScript => "mjs",
            Self::Python => "py",
        }
    }

    /// Runs this program, which finds the clients, and no variables of this machine.
    async fn command(self, program: &str) -> Command {
        let mut command = match self {
            Self::TypeScript => {
                let mut node = Command::new(path_of("node").await);
                node.args(["--input-type=module", "--eval", program])
                    .current_dir(path_of("node-clients").await);
                node
            }
            Self::Python => {
                let mut python = Command::new(path_of("python-clients").await);
                python.args(["-I", "-c", program]);
                python
            }
        };
        command.env_clear();
        command
    }
}

/// A program with one of the clients. It does what it is told, line by line.
struct Client {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts the program of this name in `tests/flows/clients`. It knows of no address and no key but those of its orders.
    async fn start(name: &str, language: Language) -> Self {
        let program = read(&format!("tests/flows/clients/{name}.{}", language.ending()));
        let mut child = language
            .command(&program)
            .await
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client can be started");
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        Self {
            _child: child,
            orders: orders.expect("it is told what to do"),
            answers: BufReader::new(answers.expect("it tells what came of it")).lines(),
        }
    }

    /// What comes of one order.
    async fn does(&mut self, order: &Value) -> Value {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.expect("it listens");
        let answer = timeout(PATIENCE, self.answers.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {order}"));
        let answer = answer
            .expect("it speaks text")
            .unwrap_or_else(|| panic!("it ended at {order}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// The key that this person gives a client.
async fn key_of_hers(person: &Person) -> String {
    key_of(person, json!({ "name": "SDK" })).await.0
}

/// A key that was good once. Until it is dead its owner asks faster than anybody may in the long run.
async fn revoked_key(platform: &Platform, person: &Person) -> String {
    let (key, id) = key_of(person, json!({ "name": "Lost" })).await;
    let client = platform.proxy.client().with_token(&key);
    client.get("/v1/models").await.expect(200);
    revoke(person, &id).await;
    platform
        .until("the feed tells of the key", async || {
            client.get("/v1/models").await.status == 401
        })
        .await;
    key
}

/// Lets somebody use another chatflow, too.
async fn assign(platform: &Platform, person: &Person, chatflow_id: &str) {
    let path = format!("/api/v1/admin/chatflows/{chatflow_id}/users");
    let admin = platform.admin().await;
    admin
        .proxy
        .post(&path, &json!({ "email": person.email }))
        .await
        .expect(200);
}

/// A request that is refused before Flowise is asked.
struct Wrong {
    /// What is wrong with it.
    what: &'static str,
    key: String,
    chatflow_id: &'static str,
}

/// A platform for what is refused, and Alice, whom none of it may cost anything.
struct Gate {
    platform: Platform,
    alice: Person,
    /// Her key, with which nothing is wrong.
    key: String,
    wrongs: [Wrong; 5],
}

impl Gate {
    async fn build() -> Self {
        let platform = Platform::start().await;
        let alice = platform.chatter("alice", CREDITS).await;
        let poor = platform.chatter("poor", 0).await;
        let bob = platform.chatter("bob", CREDITS).await;
        assign(&platform, &poor, chatflow::LLM).await;
        let key = key_of_hers(&alice).await;
        let wrong = |what, key: &str, chatflow_id| Wrong {
            what,
            key: key.to_owned(),
            chatflow_id,
        };
        let wrongs = [
            wrong("nobody's key", &format!("fg-{}", "A".repeat(43)), chatflow::CHAT),
            wrong(
                "a revoked key",
                &revoked_key(&platform, &bob).await,
                chatflow::CHAT,
            ),
            wrong("no credits", &key_of_hers(&poor).await, chatflow::CHAT),
            wrong(
                "an unknown chatflow",
                &key,
                "3f2b7c1a-9d4e-4a6b-8c5d-7e8f9a0b1c2d",
            ),
            wrong("somebody else's chatflow", &key, chatflow::LLM),
        ];
        Self {
            platform,
            alice,
            key,
            wrongs,
        }
    }
}

/// The only conversation that this person has.
async fn only_session(person: &Person) -> String {
    let list = person.proxy.get("/api/v1/chat/sessions").await.expect(200).body;
    let [session] = &list["sessions"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    session["session_id"].as_str().unwrap().to_owned()
}

/// What Flowise was asked, oldest first.
fn asked(platform: &Platform) -> Vec<Value> {
    let predictions = platform.flowise.predictions();
    predictions
        .iter()
        .map(|request| request.json().expect("a prediction is JSON"))
        .collect()
}

/// A rule for the next answer, which comes in pieces that know nothing of characters.
fn odd_reply() -> Rule {
    Rule::once(Behaviour {
        reply: Some(ODD_REPLY.to_owned()),
        usage: Some((2, 5)),
        writes: Some(Writes::Sizes(vec![1, 2, 3])),
        ..Behaviour::default()
    })
}

/// A picture, as data URLs have it.
fn picture() -> String {
    // Nobody looks farther than at the signature of the format.
    let bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0\x12\x16\xf1M";
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

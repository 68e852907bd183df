//! What the stand-in does when it is told to: each way in which a real one can fail its caller.

use serde_json::{Value, json};
use system_tests::flowise::{Behaviour, Ending, Refusal, Rule, StandInFlowise, Writes, chatflow};

use super::{
    recording, start,
    wire::{self, Answer, Connection},
};

const END: &str = "message:\ndata:{\"event\":\"end\",\"data\":\"[DONE]\"}\n\n";

fn question(text: &str) -> Value {
    json!({ "question": text, "streaming": true })
}

async fn ask(flowise: &StandInFlowise, chatflow: &str, body: &Value) -> Answer {
    Connection::open(flowise)
        .await
        .ask(&wire::prediction(chatflow, body))
        .await
}

fn ending(tokens: usize, ending: Ending) -> Behaviour {
    Behaviour {
        ending: Some((tokens, ending)),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn a_cut_breaks_the_connection_in_the_middle_of_the_body() {
    let flowise = start();
    flowise.tell(Rule::once(ending(2, Ending::Cut)));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;

    let bytes = connection.until_closed().await;
    assert!(bytes.contains("\"reply \""), "{bytes}");
    assert!(!bytes.contains("\"to: \"") && !bytes.contains(END), "{bytes}");
    assert!(
        Answer::parse(bytes.as_bytes()).is_none(),
        "a cut body must not look whole"
    );
    assert_eq!(flowise.counts().left, 0, "it was not the client that left");
}

#[tokio::test]
async fn a_stop_is_a_whole_body_without_an_end() {
    let flowise = start();
    flowise.tell(Rule::once(ending(2, Ending::Stop)));
    let answer = ask(&flowise, chatflow::CHAT, &question("hello world")).await;
    assert_eq!(wire::tokens(&answer.body), "Mock reply ");
    assert!(!answer.body.contains(END));
}

#[tokio::test]
async fn an_error_comes_inside_the_stream_and_is_followed_by_end() {
    let flowise = start();
    flowise.tell(Rule::once(ending(
        1,
        Ending::Error("the model is gone".to_owned()),
    )));
    let answer = ask(&flowise, chatflow::LLM, &question("hello world")).await;
    assert_eq!(
        (answer.status, wire::tokens(&answer.body).as_str()),
        (200, "Mock ")
    );
    let events = wire::events(&answer.body);
    assert_eq!(
        events[events.len() - 2..],
        [
            json!({ "event": "error", "data": "the model is gone" }),
            json!({ "event": "end", "data": "[DONE]" })
        ]
    );
}

#[tokio::test]
async fn refusals_come_before_the_stream() {
    let flowise = start();
    let refuse = |refusal| {
        Rule::once(Behaviour {
            refuse: Some(refusal),
            ..Behaviour::default()
        })
    };

    flowise.tell(refuse(Refusal::Error("503 overloaded".to_owned())));
    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer.status, 500);
    assert_eq!(
        body["message"],
        "Error: predictionsServices.buildChatflow - 503 overloaded"
    );

    flowise.tell(refuse(Refusal::RateLimited));
    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (429, recording("limited-3").body)
    );
    assert!(
        answer
            .headers
            .contains(&("retry-after".to_owned(), "11".to_owned())),
        "{:?}",
        answer.headers
    );

    flowise.tell(refuse(Refusal::WebPage));
    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("<!DOCTYPE html>"));

    flowise.tell(refuse(Refusal::Close));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hi")))
        .await;
    assert_eq!(connection.until_closed().await, "");
}

#[tokio::test]
async fn cut_writes_change_nothing_but_the_pieces() {
    let flowise = start();
    let reply = "Grüße an 世界 und 🦀 !";
    let plain = Behaviour {
        reply: Some(reply.to_owned()),
        ..Behaviour::default()
    };
    let mut body = question("hello world");
    body["chatId"] = json!("one");
    flowise.tell(Rule::always(plain.clone()));
    let whole = super::comparable(&ask(&flowise, chatflow::LLM, &body).await);
    assert!(whole.3.contains("世界"));

    // No write ends inside a character here: `Answer` reads chunks as text.
    flowise.tell(Rule::always(Behaviour {
        writes: Some(Writes::Sizes(vec![4096])),
        ..plain.clone()
    }));
    let joined = super::comparable(&ask(&flowise, chatflow::LLM, &body).await);
    assert_eq!(joined.2.len(), 1, "frames that follow at once are joined");
    assert_eq!(joined.3, whole.3);

    for writes in [
        Writes::Sizes(vec![1]),
        Writes::Sizes(vec![3, 1, 7]),
        Writes::Seeded { seed: 42, max: 9 },
    ] {
        flowise.tell(Rule::always(Behaviour {
            writes: Some(writes),
            ..plain.clone()
        }));
        let url = format!("{}/api/v1/prediction/{}", flowise.url(), chatflow::LLM);
        let client = reqwest::ClientBuilder::new().build().expect("a client");
        let mut response = client.post(url).json(&body).send().await.expect("an answer");
        let mut pieces = Vec::new();
        while let Some(piece) = response.chunk().await.expect("a piece") {
            pieces.push(piece);
        }
        assert!(
            pieces.iter().all(|piece| piece.len() <= 9),
            "a write was joined again"
        );
        assert!(
            pieces.iter().any(|piece| std::str::from_utf8(piece).is_err()),
            "a character was cut"
        );
        let text = String::from_utf8(pieces.concat()).expect("the whole is text");
        assert_eq!(super::without_ids_and_times(&text), whole.3);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once_also_in_silence() {
    let flowise = start();
    flowise.tell(Rule::always(ending(1, Ending::Hang)));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;
    connection.until("Mock ").await;
    drop(connection);
    let counts = flowise
        .wait_until(|counts| counts.running == 0)
        .await
        .expect("noticed");
    assert_eq!((counts.left, counts.finished, counts.hanging), (1, 0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_noticed() {
    let flowise = start();
    flowise.tell(Rule::always(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;
    flowise
        .wait_until(|counts| counts.hanging == 1)
        .await
        .expect("it hangs");
    assert!(!connection.has_answer());
    drop(connection);
    let counts = flowise
        .wait_until(|counts| counts.running == 0)
        .await
        .expect("noticed");
    assert_eq!(counts.left, 1);
}

#[tokio::test]
async fn a_silent_stream_beats_and_goes_on_when_it_is_released() {
    let flowise = start();
    flowise.tell(Rule::once(Behaviour {
        heartbeat_ms: Some(1),
        ..ending(2, Ending::Hang)
    }));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;
    connection.until(":heartbeat\n\n").await;
    flowise.release();
    let answer = connection.answer().await;
    assert_eq!(wire::tokens(&answer.body), "Mock reply to: hello world");
    assert!(answer.body.ends_with(END));
}

#[tokio::test]
async fn an_oversized_event_and_raw_bytes_stand_where_they_were_asked_for() {
    let flowise = start();
    flowise.tell(Rule::once(ending(1, Ending::Oversized(100_000))));
    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    assert_eq!(
        wire::tokens(&answer.body),
        format!("Mock {}reply to: hi", "x".repeat(100_000))
    );

    flowise.tell(Rule::once(ending(0, Ending::Raw("data:not json\n\n".to_owned()))));
    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    assert_eq!(answer.chunks[1], "data:not json\n\n");
}

#[tokio::test]
async fn usage_and_reply_can_be_chosen() {
    let flowise = start();
    flowise.tell(Rule {
        chatflow: Some(chatflow::LLM.to_owned()),
        behaviour: Behaviour {
            usage: Some((1_200, 340)),
            reply: Some("Well. ".to_owned()),
            ..Behaviour::default()
        },
        ..Rule::default()
    });
    let answer = ask(&flowise, chatflow::LLM, &question("hi")).await;
    let usage = wire::events(&answer.body)
        .into_iter()
        .find(|event| event["event"] == "usageMetadata");
    assert_eq!(usage.expect("usage")["data"]["total_tokens"], 1_540);
    assert_eq!(wire::tokens(&answer.body), "Well. ");

    let answer = ask(&flowise, chatflow::LLM, &json!({ "question": "hi" })).await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["text"], "Well. ");
    assert_eq!(
        body["agentFlowExecutedData"][1]["data"]["output"]["usageMetadata"]["input_tokens"],
        1_200
    );

    let answer = ask(&flowise, chatflow::CHAT, &question("hi")).await;
    assert_eq!(
        wire::tokens(&answer.body),
        "Mock reply to: hi",
        "another chatflow is not meant"
    );
}

#[tokio::test]
async fn a_tool_call_is_told_after_the_tokens() {
    let flowise = start();
    let answer = ask(&flowise, chatflow::TOOL, &question("CALC please")).await;
    let names: Vec<Value> = wire::events(&answer.body)
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "start",
            "token",
            "token",
            "token",
            "token",
            "usedTools",
            "metadata",
            "end"
        ]
    );
}

#[tokio::test]
async fn questions_are_escaped_wherever_they_are_echoed() {
    let flowise = start();
    let odd = "say \"hi\"\n\\ and \u{1f980}";
    for chatflow in [chatflow::CHAT, chatflow::LLM, chatflow::DIRECT] {
        let answer = ask(&flowise, chatflow, &question(odd)).await;
        let events = wire::events(&answer.body);
        assert_eq!(events[events.len() - 2]["data"]["question"], odd);
        assert!(wire::tokens(&answer.body).ends_with(odd));
        let answer = ask(&flowise, chatflow, &json!({ "question": odd })).await;
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body["question"], odd);
    }
}

#[tokio::test]
async fn another_process_controls_it_over_http() {
    let flowise = start();
    let client = reqwest::ClientBuilder::new().build().expect("a client");
    let url = format!("{}/_control", flowise.url());
    let rules = json!({ "rules": [{ "question_contains": "oops", "times": 1, "behaviour": { "ending": [1, "stop"] } }] });
    let told = client.put(&url).json(&rules).send().await.expect("an answer");
    assert_eq!(told.status(), 200);

    let said = async |text: &str| wire::tokens(&ask(&flowise, chatflow::CHAT, &question(text)).await.body);
    assert_eq!(said("fine").await, "Mock reply to: fine");
    assert_eq!(said("oops").await, "Mock ");
    assert_eq!(
        said("oops").await,
        "Mock reply to: oops",
        "the rule was for one time"
    );

    let seen: Value = client
        .get(&url)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(seen["counts"]["predictions"], 3);
    assert_eq!(seen["requests"].as_array().expect("requests").len(), 3);
    assert_eq!(
        seen["requests"][0]["path"],
        format!("/api/v1/prediction/{}", chatflow::CHAT)
    );
    assert_eq!(flowise.predictions()[1].json().expect("JSON")["question"], "oops");

    let wrong = client
        .put(&url)
        .json(&json!({ "rulez": [] }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn a_stopped_one_refuses_connections_and_another_takes_its_place() {
    let flowise = start();
    let address = flowise.address();
    flowise.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let options = system_tests::flowise::Options {
        bind: address,
        ..Default::default()
    };
    let flowise = StandInFlowise::start(&options).expect("the port is free again");
    let answer = Connection::open(&flowise)
        .await
        .ask(recording("ping").request)
        .await;
    assert_eq!(answer.body, "pong");
}

/// A run that goes on whether or not somebody reads.
fn running_on(after: Ending) -> Behaviour {
    Behaviour {
        ending: Some((2, after)),
        runs_on: true,
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn two_streams_with_one_chat_id_disturb_each_other_as_at_flowise() {
    let flowise = start();
    for (question, after) in [("older", Ending::Endless), ("newer", Ending::Hang)] {
        flowise.tell(Rule {
            question_contains: Some(question.to_owned()),
            behaviour: running_on(after),
            ..Rule::default()
        });
    }
    let ask = |text: &str| {
        let body = json!({ "question": text, "streaming": true, "chatId": "shared" });
        wire::prediction(chatflow::CHAT, &body)
    };
    let mut older = Connection::open(&flowise).await;
    older.send(&ask("older")).await;
    older.until("on and on").await;
    let mut newer = Connection::open(&flowise).await;
    newer.send(&ask("newer")).await;
    newer.until("on and on").await;
    let older = older.answer().await.body;
    assert!(!older.contains(END), "it stops without an end: {older}");

    flowise.release();
    let newer = newer.answer().await.body;
    assert!(newer.contains(END) && newer.contains("\"newer\""), "{newer}");
    assert_eq!(flowise.counts().running, 1, "the older one writes on");
}

#[tokio::test]
async fn a_run_goes_on_when_its_client_has_left() {
    let flowise = start();
    flowise.tell(Rule::once(running_on(Ending::Hang)));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;
    flowise
        .wait_until(|counts| counts.hanging == 1)
        .await
        .expect("it hangs");
    drop(connection);
    flowise.release();
    let counts = flowise
        .wait_until(|counts| counts.running == 0)
        .await
        .expect("it ends");
    assert_eq!((counts.finished, counts.left), (1, 0));
}

#[tokio::test]
async fn json_comes_where_a_stream_was_asked_for() {
    let flowise = start();
    flowise.tell(Rule::once(Behaviour {
        answers_json: true,
        ..Behaviour::default()
    }));
    let answer = ask(&flowise, chatflow::CHAT, &question("hello world")).await;
    let body: Value = serde_json::from_str(&answer.body).expect("it is JSON");
    assert_eq!(body["text"], "Mock reply to: hello world");
}

#[tokio::test]
async fn an_endless_answer_ends_when_its_client_leaves() {
    let flowise = start();
    flowise.tell(Rule::once(ending(1, Ending::Endless)));
    let mut connection = Connection::open(&flowise).await;
    connection
        .send(&wire::prediction(chatflow::CHAT, &question("hello world")))
        .await;
    flowise
        .wait_until(|counts| counts.running == 1)
        .await
        .expect("it runs");
    drop(connection);
    let counts = flowise
        .wait_until(|counts| counts.running == 0)
        .await
        .expect("it ends");
    assert_eq!((counts.finished, counts.left), (0, 1));
}

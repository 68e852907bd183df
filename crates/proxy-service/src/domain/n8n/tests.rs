//! Every recorded answer, cut everywhere, and what n8n was not recorded doing.

use std::{fmt::Write as _, path::Path};

use proptest::prelude::*;

use super::*;

/// What an answer came to: who spoke, what they said, whether it is whole.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// `(` and `)` for nodes that begin and end, `!` for a failure, the text of each node joined.
    said: String,
    verdict: Result<(), Failure>,
    unread: u64,
}

fn read_from(mut parser: Parser, pieces: &[&[u8]]) -> Outcome {
    let mut said = String::new();
    let mut is_open = false;
    let mut on_piece = |piece: Piece| match piece {
        Piece::Begin => {
            assert!(!std::mem::replace(&mut is_open, true), "{said}");
            said.push('(');
        }
        Piece::Item(text) => {
            assert!(is_open && !text.is_empty(), "{said}");
            said.push_str(&text);
        }
        Piece::End => {
            assert!(std::mem::take(&mut is_open), "{said}");
            said.push(')');
        }
        Piece::Failed => said.push('!'),
    };
    for piece in pieces {
        parser.push(piece, &mut on_piece).unwrap();
    }
    parser.finish(&mut on_piece);
    assert!(!is_open, "{said}");
    Outcome {
        said,
        verdict: parser.verdict(),
        unread: parser.unread(),
    }
}

fn read(media: Media, pieces: &[&[u8]]) -> Outcome {
    read_from(Parser::new(media, &[], 1 << 20), pieces)
}

fn whole(said: &str) -> Outcome {
    Outcome {
        said: said.to_owned(),
        verdict: Ok(()),
        unread: 0,
    }
}

struct Recorded {
    case: String,
    media: Option<Media>,
    body: Vec<u8>,
}

/// Every recorded answer with status 200.
fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/n8n");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let response = std::fs::read(folder.join("response.http")).unwrap();
        if !response.starts_with(b"HTTP/1.1 200") {
            continue;
        }
        let end = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&response[..end]).to_lowercase();
        let body = &response[end + 4..];
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        all.push(Recorded {
            case: folder.file_name().unwrap().to_string_lossy().into_owned(),
            media: Media::of(content_type.unwrap_or_default()),
            body: if head.contains("transfer-encoding: chunked") {
                without_chunks(body)
            } else {
                body.to_vec()
            },
        });
    }
    all.sort_by(|one, other| one.case.cmp(&other.case));
    assert!(all.len() > 50, "the recordings are missing");
    all
}

fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        body = &body[end + 2..];
        whole.extend_from_slice(&body[..size]);
        body = body.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[test]
fn every_recorded_answer_is_read_as_what_it_is() {
    let mut table = String::new();
    for Recorded { case, media, body } in recorded() {
        let Outcome {
            said,
            verdict,
            unread,
        } = read(media.unwrap(), &[&body]);
        let said = said.replace('\n', "⏎");
        let said: String = said.chars().take(60).collect();
        let verdict = verdict.err().map_or("whole", Failure::code);
        writeln!(table, "{case}: {verdict} {said}").unwrap();
        // One sends events in which nothing is said.
        assert_eq!(unread, u64::from(case == "respond-sse"), "{case}");
    }
    insta::assert_snapshot!(table, @r#"
    basic-good: whole (in)
    chat-embedded-get: upstream_empty 
    chat-embedded-load: upstream_empty 
    chat-embedded-no-session: upstream_error !
    chat-embedded-stream: whole (Mock reply to: hello world)
    chat-embedded-stream-2: whole (Mock reply to: again)
    chat-hosted-load: upstream_empty 
    chat-hosted-page: upstream_not_an_answer 
    chat-hosted-stream: whole (Mock reply to: hello world)
    chat-lastnode: whole (Mock reply to: hello world)
    chat-lastnode-get: whole (firstEntryJson)
    chat-respond: whole (You said: hello world)
    chunked-request: whole (You said: hello world)
    cors-listed-bad: whole (in)
    cors-listed-good: whole (in)
    cors-post: whole (You said: hello world)
    cors-stream: whole (You said: hello world)
    disconnect-stream: whole (slow0 slow1 slow2 slow3 slow4 slow5 slow6 )
    err-after: whole (You said: hello world)
    err-before: upstream_empty 
    err-no-respond: upstream_empty 
    header-good: whole (in)
    idle-close: whole (You said: hello world)
    immediate: upstream_empty 
    jwt-any-scheme: whole ({"sub":"u1","iat":1795246216,"exp":1795249816})
    jwt-good: whole ({"sub":"u1","iat":1795246216,"exp":1795249816,"email":"u1@e
    jwt-no-exp: whole ({"sub":"u1"})
    jwt-stream-good: whole (Mock reply to: u1 says hello world)
    last-node: whole (You said: hello world)
    last-node-agent: whole (Mock reply to: hello world)
    last-node-all: whole (one⏎⏎two)
    path-param: whole (blue)
    query: whole ({"headers":{"host":"127.0.0.1:5698","user-agent":"fixture/1
    respond-agent: whole (Mock reply to: hello world)
    respond-html: whole (<h1>{{ "hi" }}</h1>)
    respond-json: whole (You said: hello world)
    respond-sse: upstream_empty 
    respond-text: whole (You said: hello world)
    server-stopped-stream: whole (slow0 slow1 slow2 slow3 slow4 slow5 slow6 slow7 slow8 slow9
    slow-respond: whole (after 4 s)
    stream-accept-sse: whole (Mock reply to: hello world)
    stream-agent: whole (Mock reply to: hello world)
    stream-agent-off: upstream_empty 
    stream-agent-respond: whole (Mock reply to: hello world)()
    stream-connection-close: whole (Mock reply to: hello world)
    stream-err-after: upstream_error (Mock reply to: hello world)!
    stream-err-before: upstream_error !
    stream-err-code: upstream_error !
    stream-err-model-401: upstream_error ()!
    stream-err-model-429: upstream_error ()!
    stream-err-model-500: upstream_error ()!
    stream-items: whole (Mock reply to: first item)(Mock reply to: second item)
    stream-long: whole (tok0 tok1 tok2 tok3 tok4 tok5 tok6 tok7 tok8 tok9 tok10 tok
    stream-nothing: upstream_empty 
    stream-respond: whole (You said: hello world)
    stream-respond-all: whole (one)(two)
    stream-respond-old: upstream_empty 
    stream-respond-text: whole (You said: hello world)
    stream-slow: whole (slow0 slow1 slow2 slow3 slow4 slow5 slow6 slow7 slow8 slow9
    stream-timeout: upstream_error (slow0 slow1 slow2 slow3 slow4 slow5 slow6 slow7 slow8 slow9
    stream-tool: whole ()(The tool said [{"response":"5"}])
    stream-two: whole (Mock reply to: hello world)(Mock reply to: second hello wor
    stream-user-stop: upstream_error (slow0 slow1 slow2 slow3 slow4 slow5 )!
    stream-wait: whole (Mock reply to: hello world)
    trailing-slash: whole (You said: hello world)
    "#);
}

#[test]
fn every_recorded_answer_cut_at_every_byte_is_the_same_answer() {
    // All of them in two pieces at every byte take minutes without optimisation.
    let cuts_max = if std::env::var_os("PROVE_CUTS").is_some() {
        usize::MAX
    } else {
        100
    };
    for Recorded { case, media, body } in recorded() {
        let media = media.unwrap();
        let expected = read(media, &[&body]);
        let step = if case == "stream-tool" {
            1
        } else {
            1 + body.len() / cuts_max
        };
        for cut in (0..=body.len()).step_by(step) {
            let (head, tail) = body.split_at(cut);
            assert_eq!(read(media, &[head, tail]), expected, "{case} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(media, &bytes), expected, "{case} byte by byte");
    }
}

/// A stream as n8n writes one.
fn stream(lines: &[&str]) -> String {
    let whole = lines.iter().map(|line| match line.split_once(' ') {
        Some(("item", text)) => {
            let text = serde_json::Value::from(text);
            format!("{{\"type\":\"item\",\"content\":{text},\"metadata\":{{\"nodeName\":\"A\"}}}}\n")
        }
        _ => format!("{{\"type\":\"{line}\",\"metadata\":{{\"nodeName\":\"A\"}}}}\n"),
    });
    whole.collect()
}

/// Answers in every form, which no workflow was recorded sending.
fn made_up() -> Vec<(Media, Vec<u8>, Outcome)> {
    let lines = stream(&["begin", "item Zürich ", "item   ", "item 你好😀\u{2028}x", "end"]);
    let failed = |said: &str, failure| Outcome {
        verdict: Err(failure),
        ..whole(said)
    };
    vec![
        (Media::Json, lines.clone().into_bytes(), whole("(Zürich   你好😀\u{2028}x)")),
        (Media::Text, lines.replace('\n', "\r\n\r\n").into_bytes(), whole("(Zürich   你好😀\u{2028}x)")),
        (Media::Json, lines.trim_end().as_bytes().to_vec(), whole("(Zürich   你好😀\u{2028}x)")),
        (
            Media::Json,
            stream(&["item Hello", "end", "begin", "end", "item again"]).into_bytes(),
            whole("(Hello)()(again)"),
        ),
        (
            Media::Json,
            stream(&["begin", "begin", "item a", "end", "item b", "end"]).into_bytes(),
            whole("(ab)"),
        ),
        (
            Media::Json,
            stream(&["begin", "item Hel", "error"]).into_bytes(),
            failed("(Hel)!", Failure::Reported),
        ),
        (
            Media::Json,
            stream(&["begin", "error", "begin", "item Sorry", "end"]).into_bytes(),
            whole("()!(Sorry)"),
        ),
        (
            Media::Json,
            stream(&["begin", "item a", "end", "error"]).into_bytes(),
            failed("(a)!", Failure::Reported),
        ),
        (
            Media::Json,
            format!("{}{{\"type\":\"item\",\"conte\nnoise\n{}", stream(&["begin"]), stream(&["item x", "end"])).into_bytes(),
            Outcome { unread: 1, ..whole("(noise\nx)") },
        ),
        (
            Media::Json,
            format!("{{\"type\":\n{}", stream(&["begin", "item x", "end"])).into_bytes(),
            Outcome { unread: 1, ..whole("(x)") },
        ),
        (Media::Json, b"{\"output\":\"a\"}\n{\"output\":\"b\"}\n".to_vec(), whole("(ab)")),
        (Media::Json, b"{\n  \"output\": \"pretty\"\n}\n".to_vec(), whole("(pretty)")),
        (Media::Json, b"\xEF\xBB\xBF [\"one\", \"two\"]".to_vec(), whole("(one\n\ntwo)")),
        (Media::Json, b"{\"output\":\"cut".to_vec(), Outcome { unread: 1, ..failed("", Failure::Empty) }),
        (Media::Json, b"Hello".to_vec(), whole("(Hello)")),
        (Media::Json, Vec::new(), failed("", Failure::Empty)),
        (Media::Text, b" \n ".to_vec(), failed("( \n )", Failure::Empty)),
        (Media::Text, "Grüß Gott,\n你好 😀 ".as_bytes().to_vec(), whole("(Grüß Gott,\n你好 😀 )")),
        (Media::Text, b"[hello] {you}".to_vec(), whole("([hello] {you})")),
        (Media::Text, b"bad \xFF\xC3( bytes \xE2\x82".to_vec(), whole("(bad \u{FFFD}\u{FFFD}( bytes \u{FFFD})")),
        (Media::Text, b"<p>a paragraph</p>".to_vec(), whole("(<p>a paragraph</p>)")),
        (Media::Text, b" <!DOCTYPE html><html>n8n</html>".to_vec(), failed("", Failure::NotAnAnswer)),
        (Media::Text, b"data: {\"content\":\"a\"}\n\ndata: [DONE]\n\n".to_vec(), whole("(a)")),
        (Media::Text, b"data: about ducks".to_vec(), whole("(data: about ducks)")),
        (
            Media::Events,
            b"event: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n: ping\n\ndata: lo \n\ndata: [DONE]".to_vec(),
            whole("(Hello )"),
        ),
        (
            Media::Events,
            b"data: {\"content\":\"a\"}\r\n\r\ndata: {\"error\":\"key sk-1\"}\r\n\r\n".to_vec(),
            failed("(a)!", Failure::Reported),
        ),
    ]
}

#[test]
fn answers_in_every_form_are_read_wherever_they_are_cut() {
    for (media, body, expected) in made_up() {
        let text = String::from_utf8_lossy(&body);
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(read(media, &[head, tail]), expected, "{text} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(media, &bytes), expected, "{text} byte by byte");
    }
}

#[test]
fn lines_leave_as_soon_as_they_are_whole() {
    let mut parser = Parser::new(Media::Json, &[], 1 << 20);
    let mut pieces = Vec::new();
    parser
        .push(stream(&["begin", "item a"]).as_bytes(), |piece| {
            pieces.push(piece);
        })
        .unwrap();
    assert_eq!(pieces, [Piece::Begin, Piece::Item("a".to_owned())]);
    assert!(!parser.last_was_error());
    parser.push(stream(&["error"]).as_bytes(), |_| {}).unwrap();
    assert!(parser.last_was_error());
    parser.push(stream(&["begin"]).as_bytes(), |_| {}).unwrap();
    assert!(!parser.last_was_error(), "it goes on");
}

#[test]
fn what_an_agent_has_said_is_not_said_again_by_the_node_that_responds() {
    for (responds, expected) in [
        ("{\"output\":\"Hello you\"}", "(Hello you)()"),
        ("{\"output\":\"Another\"}", "(Hello you)(Another)"),
        ("{\"text\":\"\"}", "(Hello you)({\"text\":\"\"})"),
        ("Bye", "(Hello you)(Bye)"),
    ] {
        let lines = stream(&["begin", "item Hello ", "item you", "end", "begin"]);
        let item = format!(
            "{{\"type\":\"item\",\"content\":{}}}\n",
            serde_json::Value::from(responds)
        );
        let body = format!("{lines}{item}{}", stream(&["end"]));
        assert_eq!(read(Media::Json, &[body.as_bytes()]).said, expected);
    }
}

#[test]
fn only_the_wanted_nodes_are_heard_and_every_error() {
    let body = stream(&["begin", "item a", "end"])
        + &stream(&["begin", "item b", "error"]).replace("\"A\"", "\"B\"");
    let of = |node: &str| {
        read_from(
            Parser::new(Media::Json, &[node.to_owned()], 1 << 20),
            &[body.as_bytes()],
        )
        .said
    };
    assert_eq!(of("A"), "(a)!");
    assert_eq!(of("B"), "(b)!");
    assert_eq!(of("C"), "!");
}

#[test]
fn nothing_beyond_the_limit_is_held() {
    let long = "x".repeat(200);
    for (media, body) in [
        (Media::Json, stream(&[&format!("item {long}")])),
        (Media::Json, format!("{{\"output\":\"{long}\"}}")),
        (Media::Json, format!("{}{{\"type\":\"{long}", stream(&["begin"]))),
        (Media::Events, format!("data: {long}\n\n")),
    ] {
        let mut parser = Parser::new(media, &[], 100);
        assert_eq!(parser.push(body.as_bytes(), |_| {}), Err(TooLarge), "{body}");
    }
    let mut parser = Parser::new(Media::Text, &[], 100);
    for _ in 0..10 {
        assert_eq!(parser.push(&[b'x'; 50], |_| {}), Ok(()), "text is not held");
    }
}

#[test]
fn types_that_cannot_be_text_are_refused() {
    assert_eq!(Media::of("application/json; charset=utf-8"), Some(Media::Json));
    assert_eq!(Media::of("application/x-ndjson"), Some(Media::Json));
    assert_eq!(Media::of("Text/HTML"), Some(Media::Text));
    assert_eq!(Media::of("text/event-stream"), Some(Media::Events));
    assert_eq!(Media::of(""), Some(Media::Text));
    assert_eq!(Media::of("image/png"), None);
    assert_eq!(Media::of("application/octet-stream"), None);
}

proptest! {
    #[test]
    fn random_cuts_give_the_same_answer(cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..12)) {
        let bodies = recorded().into_iter().map(|recorded| (recorded.media.unwrap(), recorded.body));
        for (media, body) in bodies.chain(made_up().into_iter().map(|(media, body, _)| (media, body))) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(media, &pieces), read(media, &[&body]));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_its_limit(
        pieces in prop::collection::vec(prop::collection::vec(prop::sample::select(b"{}[]\"<data:type\r\n \xF0\x9F\xEF\xBB\xBF".to_vec()), 0..40), 0..20),
        media in prop::sample::select(vec![Media::Json, Media::Text, Media::Events]),
    ) {
        let mut parser = Parser::new(media, &[], 100);
        for piece in &pieces {
            if parser.push(piece, |_| {}).is_err() {
                break;
            }
            prop_assert!(parser.pending.len() <= 100);
        }
        parser.finish(|_| {});
        let _ = parser.verdict();
    }
}

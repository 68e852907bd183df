//! Server-sent events as the page reads them: cut anywhere, and never believed more than they deserve.

use serde_json::json;

use crate::workbench::{Workbench, asynchronous, strings};

const STREAM: &str = ": hello\r\n\r\ndata: {\"type\":\"begin\"}\n\ndata:{\"type\":\"item\",\"content\":\"Grüße, 世界 👋\"}\r\rid: 7\nevent: other\n\
     data: two\ndata: lines\n\ndata\nretry: 1\n\n: bye\n\ndata: [DONE]\n\ndata: never finished";

#[actix_web::test]
async fn events_are_the_same_wherever_they_are_cut() {
    let bench = Workbench::start().await;
    let script = "const { events } = await import('/events.js');
        const bytes = new TextEncoder().encode(arguments[0]);
        const read = async (sizes) => {
            let at = 0, turn = 0;
            const body = new ReadableStream({ pull(controller) {
                if (at >= bytes.length) return controller.close();
                const size = sizes[turn++ % sizes.length];
                controller.enqueue(bytes.slice(at, at += size));
            } });
            const found = [];
            for await (const event of events(body)) found.push(event);
            return found.join('|');
        };
        return Promise.all([[1 << 20], [1], [2], [3], [5, 1, 7], [13, 1]].map(read));";
    let read = strings(
        &bench
            .browser
            .run_with(&asynchronous(script), json!([STREAM]))
            .await,
    );
    let expected =
        "{\"type\":\"begin\"}|{\"type\":\"item\",\"content\":\"Grüße, 世界 👋\"}|two\nlines|[DONE]";
    for events in read {
        assert_eq!(events, expected);
    }
}

#[actix_web::test]
async fn an_event_without_end_is_given_up() {
    let bench = Workbench::start().await;
    let script = "const { events } = await import('/events.js');
        let sent = 0, cancelled = false;
        const piece = new TextEncoder().encode(arguments[0] + 'x'.repeat(65536));
        const body = new ReadableStream({
            pull(controller) { sent += 1; if (sent > 1000) controller.close(); else controller.enqueue(piece); },
            cancel() { cancelled = true; },
        });
        try {
            for await (const event of events(body)) return ['an event'];
            return ['an end'];
        } catch (error) { return [error.name, String(cancelled), String(sent < 100)]; }";
    for start in ["", "\ndata: "] {
        let answer = strings(
            &bench
                .browser
                .run_with(&asynchronous(script), json!([start]))
                .await,
        );
        assert_eq!(answer, ["RangeError", "true", "true"], "{start:?}");
    }
}

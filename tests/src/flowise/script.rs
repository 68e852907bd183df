//! A prediction as a list of steps, made before the first byte leaves. Pure.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    behaviour::{Behaviour, Ending, Writes},
    catalogue::Reply,
    template::{StreamTemplate, Template, Turn, frame, token_frame},
};

/// One step of a streamed answer. After the last one the body ends properly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One write.
    Send(Bytes),
    /// Silence.
    Wait(Duration),
    /// Silence until released, aborted or left.
    Hang,
    /// One token after the other, until aborted or left.
    Endless,
    /// The connection breaks.
    Cut,
}

/// The steps of a flow that runs as `behaviour` wants it.
pub(super) fn stream(
    template: &StreamTemplate,
    turn: &Turn,
    reply: &Reply,
    extra: Option<Bytes>,
    behaviour: &Behaviour,
) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let fill = |template: &Template| Step::Send(template.fill(turn));
    steps.extend(template.before.iter().map(fill));

    let tokens: &[String] = if template.has_tokens { &reply.tokens } else { &[] };
    let wrong = behaviour
        .ending
        .as_ref()
        .map(|(after, ending)| ((*after).min(tokens.len()), ending));
    for (index, token) in tokens.iter().enumerate() {
        if let Some((_, ending)) = wrong.filter(|(after, _)| *after == index)
            && end(&mut steps, ending)
        {
            return cut_into_writes(steps, behaviour.writes.as_ref());
        }
        if reply.token_delay_ms > 0 {
            steps.push_back(Step::Wait(Duration::from_millis(reply.token_delay_ms)));
        }
        steps.push_back(Step::Send(token_frame(token)));
    }
    if let Some((_, ending)) = wrong.filter(|(after, _)| *after == tokens.len())
        && end(&mut steps, ending)
    {
        return cut_into_writes(steps, behaviour.writes.as_ref());
    }

    steps.extend(extra.map(Step::Send));
    steps.extend(template.after.iter().map(fill));
    cut_into_writes(steps, behaviour.writes.as_ref())
}

/// The steps of a stream that fails before the flow runs: an `error` event inside a 200.
pub(super) fn failed_stream(message: &str) -> VecDeque<Step> {
    error_frames(message).into_iter().map(Step::Send).collect()
}

fn error_frames(message: &str) -> [Bytes; 2] {
    [
        frame("error", &serde_json::Value::from(message).to_string()),
        frame("end", "\"[DONE]\""),
    ]
}

/// Appends what goes wrong; says whether nothing comes after it.
fn end(steps: &mut VecDeque<Step>, ending: &Ending) -> bool {
    match ending {
        // The pause lets what was sent before leave; a broken connection takes what it still holds with it.
        Ending::Cut => steps.extend([Step::Wait(Duration::ZERO), Step::Cut]),
        Ending::Stop => {}
        Ending::Error(message) => steps.extend(error_frames(message).map(Step::Send)),
        Ending::Hang => steps.push_back(Step::Hang),
        Ending::Endless => steps.push_back(Step::Endless),
        Ending::Oversized(bytes) => steps.push_back(Step::Send(token_frame(&"x".repeat(*bytes)))),
        Ending::Raw(text) => steps.push_back(Step::Send(Bytes::from(text.clone()))),
    }
    matches!(
        ending,
        Ending::Cut | Ending::Stop | Ending::Error(_) | Ending::Endless
    )
}

/// Joins the writes that follow each other without a pause, and cuts them anew.
fn cut_into_writes(steps: VecDeque<Step>, writes: Option<&Writes>) -> VecDeque<Step> {
    let Some(writes) = writes else { return steps };
    let mut sizes = Sizes::new(writes);
    let mut cut = VecDeque::new();
    let mut pending = BytesMut::new();
    let mut flush = |pending: &mut BytesMut, cut: &mut VecDeque<Step>| {
        while !pending.is_empty() {
            let size = sizes.next_size().min(pending.len());
            cut.push_back(Step::Send(pending.split_to(size).freeze()));
            // A pause of no length: lets the write leave before the next one joins it.
            cut.push_back(Step::Wait(Duration::ZERO));
        }
    };
    for step in steps {
        match step {
            Step::Send(bytes) => pending.extend_from_slice(&bytes),
            Step::Wait(_) | Step::Hang | Step::Endless | Step::Cut => {
                flush(&mut pending, &mut cut);
                cut.push_back(step);
            }
        }
    }
    flush(&mut pending, &mut cut);
    cut
}

struct Sizes<'a> {
    writes: &'a Writes,
    index: usize,
    state: u64,
}

impl<'a> Sizes<'a> {
    fn new(writes: &'a Writes) -> Self {
        let state = match writes {
            // Xorshift stays at zero for ever when it starts there.
            Writes::Seeded { seed, .. } => seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            Writes::Sizes(_) => 0,
        };
        Self {
            writes,
            index: 0,
            state,
        }
    }

    fn next_size(&mut self) -> usize {
        let size = match self.writes {
            Writes::Sizes(sizes) => {
                let size = sizes.get(self.index % sizes.len().max(1)).copied();
                self.index += 1;
                size.unwrap_or(usize::MAX)
            }
            Writes::Seeded { max, .. } => {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                let max = u64::try_from(*max).unwrap_or(u64::MAX).max(1);
                usize::try_from(self.state % max + 1).unwrap_or(usize::MAX)
            }
        };
        size.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<'a>(steps: &'a VecDeque<Step>) -> Vec<&'a [u8]> {
        let bytes = |step: &'a Step| match step {
            Step::Send(bytes) => Some(&bytes[..]),
            Step::Wait(_) | Step::Hang | Step::Endless | Step::Cut => None,
        };
        steps.iter().filter_map(bytes).collect()
    }

    fn three_writes() -> VecDeque<Step> {
        ["äb", "cde", "f"]
            .map(|text| Step::Send(Bytes::from(text)))
            .into()
    }

    #[test]
    fn given_sizes_cut_anywhere_and_lose_nothing() {
        let cut = cut_into_writes(three_writes(), Some(&Writes::Sizes(vec![1, 4])));
        assert_eq!(sent(&cut), [&b"\xc3"[..], b"\xa4bcd", b"e", b"f"]);
    }

    #[test]
    fn a_seed_gives_the_same_sizes_again_and_loses_nothing() {
        let writes = Writes::Seeded { seed: 7, max: 3 };
        let (one, two) = (
            cut_into_writes(three_writes(), Some(&writes)),
            cut_into_writes(three_writes(), Some(&writes)),
        );
        assert_eq!(one, two);
        assert_eq!(sent(&one).concat(), "äbcdef".as_bytes());
        assert!(sent(&one).iter().all(|write| (1..=3).contains(&write.len())));
    }

    #[test]
    fn a_pause_is_not_joined_over() {
        let steps = [
            Step::Send(Bytes::from("ab")),
            Step::Hang,
            Step::Send(Bytes::from("cd")),
        ]
        .into();
        let cut = cut_into_writes(steps, Some(&Writes::Sizes(vec![100])));
        assert_eq!(sent(&cut), [b"ab", b"cd"]);
        assert_eq!(cut.iter().filter(|step| **step == Step::Hang).count(), 1);
    }
}

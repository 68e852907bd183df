//! Server-sent events as they arrive: cut anywhere, in any line ending, never larger than a limit.
//!
//! Only the data of an event is kept. Flowise writes a bare `message:` line, which is a field without a meaning, and
//! names the event inside the data.

/// An event is larger than the limit; nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than the limit")]
pub struct TooLarge;

/// Reads a stream piece by piece. Bytes are only joined, never decoded, so a cut inside a character is harmless.
#[derive(Debug)]
pub struct Parser {
    /// The line that has begun.
    line: Vec<u8>,
    /// The data lines of the event that has begun.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: a LF that follows belongs to it.
    after_cr: bool,
    first_line: bool,
    event_bytes_max: usize,
}

impl Parser {
    /// A parser that holds at most `event_bytes_max` bytes.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            first_line: true,
            event_bytes_max,
        }
    }

    /// Reads the next piece and hands the data of each event that ends in it to `on_event`.
    pub fn push(&mut self, mut piece: &[u8], mut on_event: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        if self.after_cr && !piece.is_empty() {
            self.after_cr = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = piece.split_at(end);
            self.end_line(line, &mut on_event)?;
            piece = match rest {
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        if self.line.len() + self.data.len() + piece.len() > self.event_bytes_max {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn end_line(&mut self, tail: &[u8], on_event: &mut impl FnMut(&[u8])) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() + tail.len() > self.event_bytes_max {
            return Err(TooLarge);
        }
        if self.line.is_empty() {
            self.read_line(tail, on_event);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(tail);
            self.read_line(&line, on_event);
            line.clear();
            self.line = line;
        }
        Ok(())
    }

    fn read_line(&mut self, mut line: &[u8], on_event: &mut impl FnMut(&[u8])) {
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                on_event(&self.data);
            }
            self.data.clear();
            return;
        }
        // `data` alone is an empty data line; comments and all other fields say nothing to us.
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            Some([]) => &[],
            _ => return,
        };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            let read = parser.push(piece, |data| {
                events.push(String::from_utf8(data.to_vec()).unwrap());
            });
            read.unwrap();
        }
        events
    }

    #[test]
    fn fields_comments_and_line_endings_are_read_as_the_standard_says() {
        let stream = b"\xEF\xBB\xBFmessage:\ndata:one\n\n: ping\n\nmessage\r\ndata: two\r\ndata:  three\r\rid: 4\n\ndata\n\ndata:cut off";
        assert_eq!(events(&[stream]), ["one", "two\n three", ""]);
    }

    #[test]
    fn an_event_beyond_the_limit_is_refused_whether_or_not_its_line_ends() {
        let line = [b"data:".as_slice(), &[b'x'; 64], b"\n\n"].concat();
        for piece in [&line[..], &line[..60]] {
            assert_eq!(Parser::new(50).push(piece, |_| {}), Err(TooLarge));
        }
        let lines = b"data:0123456789\n".repeat(8);
        assert_eq!(
            Parser::new(50).push(&lines, |_| {}),
            Err(TooLarge),
            "many short lines"
        );
        assert_eq!(Parser::new(80).push(&line, |_| {}), Ok(()));
    }

    /// Every recorded stream, and one with each line ending and characters of two, three and four bytes.
    fn streams() -> Vec<(String, Vec<u8>)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/recordings/flowise");
        let mut streams = vec![(
            "line endings".to_owned(),
            "data:a\r\rdata: é\r\ndata:你好\r\n\r\n:c\ndata:😀\n\ndata:x\r\n\n"
                .as_bytes()
                .to_vec(),
        )];
        for case in std::fs::read_dir(folder).unwrap() {
            let case = case.unwrap();
            let head = std::fs::read(case.path().join("response.http")).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..head.len().min(1_024)]).into_owned();
            if head.contains("text/event-stream") {
                let body = std::fs::read(case.path().join("body")).unwrap();
                streams.push((case.file_name().to_string_lossy().into_owned(), body));
            }
        }
        assert!(streams.len() > 10, "the recordings are missing");
        streams
    }

    #[test]
    fn every_recorded_stream_cut_at_every_byte_gives_the_same_events() {
        for (name, stream) in streams() {
            let whole = events(&[&stream]);
            assert!(!whole.is_empty(), "{name}");
            // The long one repeats itself; there every eighth byte will do.
            for cut in (0..=stream.len()).step_by(1 + stream.len() / 4_096) {
                let (head, tail) = stream.split_at(cut);
                assert_eq!(events(&[head, tail]), whole, "{name} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(events(&bytes), whole, "{name} byte by byte");
        }
    }

    proptest! {
        #[test]
        fn random_cuts_give_the_same_events(cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..12)) {
            for (name, stream) in streams() {
                let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
                at.sort_unstable();
                let mut pieces = Vec::new();
                let mut from = 0;
                for to in at {
                    pieces.push(&stream[from..to]);
                    from = to;
                }
                pieces.push(&stream[from..]);
                prop_assert_eq!(events(&pieces), events(&[&stream]), "{}", name);
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_hold_more_than_its_limit(pieces in prop::collection::vec(prop::collection::vec(prop::sample::select(b"data:\r\n \xF0\x9F".to_vec()), 0..40), 0..20)) {
            let mut parser = Parser::new(100);
            for piece in &pieces {
                if parser.push(piece, |_| {}).is_err() {
                    break;
                }
                prop_assert!(parser.line.len() + parser.data.len() <= 101);
            }
        }
    }
}

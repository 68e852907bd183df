//! What an n8n workflow answers, read as it arrives: cut anywhere, in any of the forms that workflows use.
//!
//! Nothing in the head of an answer tells its form: n8n streams JSON lines under the type of a plain JSON answer, and a
//! `Respond to Webhook` node sends plain text as a web page. So the first line decides. What comes out is always the same: text
//! between a beginning and an end, as often as nodes of the workflow speak.

mod document;
mod line;
mod speech;

use self::{
    document::{Told, tell},
    line::Line,
    speech::Speech,
};
use super::{
    failure::Failure,
    sse::{self, TooLarge},
};

/// What n8n sends as the last data of an answer in server-sent events.
const DONE: &[u8] = b"[DONE]";

/// How web pages begin, in lower case.
const PAGES: [&[u8]; 2] = [b"<!doctype html", b"<html"];

/// A part of an answer. Between a `Begin` and the next one there is always an `End`, and no `Item` stands outside; a reader
/// who joins the texts of several nodes sets them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A node begins to speak.
    Begin,
    /// Text to add; never empty, but perhaps a space.
    Item(String),
    /// It has spoken. Others may follow: only the end of the body is the end of the answer.
    End,
    /// Something in the workflow failed. Even after this a workflow may go on.
    Failed,
}

/// What the head of an answer says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON lines, one JSON document, or none of both.
    Json,
    /// Server-sent events.
    Events,
    /// Text, or anything, from authors who did not set the type.
    Text,
}

impl Media {
    /// What a `Content-Type` means; `None` for what cannot be text. An answer may have no type at all.
    pub fn of(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        match &*media_type {
            "text/event-stream" => Some(Self::Events),
            "" => Some(Self::Text),
            text if text.starts_with("text/") => Some(Self::Text),
            json if json.starts_with("application/") && json.contains("json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Reads one answer.
#[derive(Debug)]
pub struct Parser {
    media: Media,
    form: Form,
    /// What has come of the line, the document or the character that has begun.
    pending: Vec<u8>,
    speech: Speech,
    /// Nodes whose text is wanted; empty for all.
    shown_nodes: Vec<String>,
    bytes_max: usize,
    unread: u64,
    last_was_error: bool,
}

/// How an answer is written.
#[derive(Debug)]
enum Form {
    /// The first line has not come yet.
    Unknown,
    /// JSON lines of nodes that stream.
    Lines,
    /// Server-sent events.
    Events(sse::Parser),
    /// JSON that is read when it is whole.
    Document,
    /// Text that is passed on as it comes.
    Text,
    /// A web page, which is no answer.
    Page,
}

impl Parser {
    /// A parser that holds at most `bytes_max` bytes of what is not yet whole. Of a stream only the nodes named in
    /// `shown_nodes` are read, or all when there are none.
    pub fn new(media: Media, shown_nodes: &[String], bytes_max: usize) -> Self {
        let form = match media {
            Media::Events => Form::Events(sse::Parser::new(bytes_max)),
            Media::Json | Media::Text => Form::Unknown,
        };
        Self {
            media,
            form,
            pending: Vec::new(),
            speech: Speech::new(bytes_max),
            shown_nodes: shown_nodes.to_vec(),
            bytes_max,
            unread: 0,
            last_was_error: false,
        }
    }

    /// Reads the next bytes of the body and hands on what they complete.
    pub fn push(&mut self, bytes: &[u8], mut on_piece: impl FnMut(Piece)) -> Result<(), TooLarge> {
        self.take_in(bytes, &mut on_piece)
    }

    /// The body has come to its end: what is left is whole now.
    pub fn finish(&mut self, mut on_piece: impl FnMut(Piece)) {
        let on_piece = &mut on_piece;
        if let Form::Unknown = self.form {
            self.form = self.form_without_a_line_end();
            let begun = std::mem::take(&mut self.pending);
            // It was within the limit before.
            let _ = self.take_in(without_mark(&begun), on_piece);
        }
        let rest = std::mem::take(&mut self.pending);
        match &mut self.form {
            Form::Lines => self.read_line(&rest, "", on_piece),
            Form::Events(_) => {
                // An event without the empty line behind it is as good.
                let _ = self.take_in(b"\n\n", on_piece);
            }
            Form::Document => self.read_document(&rest, on_piece),
            Form::Text => self.speech.say(&String::from_utf8_lossy(&rest), on_piece),
            Form::Unknown | Form::Page => {}
        }
        self.speech.finish(on_piece);
    }

    /// Whether the answer is whole, once its body has ended.
    pub fn verdict(&self) -> Result<(), Failure> {
        if matches!(self.form, Form::Page) {
            return Err(Failure::NotAnAnswer);
        }
        self.speech.verdict()
    }

    /// Whether it comes in lines as nodes speak: n8n sends the head of such an answer at once.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Lines)
    }

    /// Whether an error was the last that was heard: n8n may never end such a stream.
    pub fn last_was_error(&self) -> bool {
        self.last_was_error
    }

    /// Lines that could not be read and were left out.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn take_in(&mut self, bytes: &[u8], on_piece: &mut impl FnMut(Piece)) -> Result<(), TooLarge> {
        match &mut self.form {
            Form::Page => Ok(()),
            Form::Text => {
                self.pass_on(bytes, on_piece);
                Ok(())
            }
            Form::Document => self.keep(bytes),
            Form::Lines => self.split_lines(bytes, on_piece),
            Form::Events(parser) => {
                let mut events = Vec::new();
                let read = parser.push(bytes, |data| events.push(data.to_vec()));
                for data in events {
                    self.read_event(&data, on_piece);
                }
                read
            }
            Form::Unknown => {
                self.keep(bytes)?;
                let Some(form) = self.form_of_first_line() else {
                    return Ok(());
                };
                self.form = form;
                let begun = std::mem::take(&mut self.pending);
                self.take_in(without_mark(&begun), on_piece)
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.pending.len() + bytes.len() > self.bytes_max {
            return Err(TooLarge);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The first line that has something in it, and whether it is whole.
    fn first_line(&self) -> (&[u8], bool) {
        let begun = without_mark(&self.pending).trim_ascii_start();
        match begun.iter().position(|byte| *byte == b'\n') {
            Some(end) => (begun.get(..end).unwrap_or_default(), true),
            None => (begun, false),
        }
    }

    /// The form, as soon as enough has come to tell.
    fn form_of_first_line(&self) -> Option<Form> {
        let (line, is_whole) = self.first_line();
        // Whether the line may become what begins like this; whole lines are what they are.
        let may_become = |start: &[u8]| !is_whole && line.len() < start.len() && starts_alike(start, line);
        match line.first()? {
            b'{' | b'd' if !is_whole && (line.starts_with(b"{") || line.starts_with(b"data:")) => None,
            b'{' => Some(if Line::parse(line).is_some() {
                Form::Lines
            } else {
                Form::Document
            }),
            b'[' | b'"' => Some(Form::Document),
            b'd' if may_become(b"data:") => None,
            b'<' if PAGES.iter().any(|page| may_become(page)) => None,
            // A byte order mark that was cut.
            0xEF if !is_whole && line.len() < 3 => None,
            _ => Some(self.form_of_text(line)),
        }
    }

    /// The form of a body that ended within its first line.
    fn form_without_a_line_end(&self) -> Form {
        let (line, _) = self.first_line();
        match line.first() {
            Some(b'{') if Line::parse(line).is_some() => Form::Lines,
            Some(b'{' | b'[' | b'"') => Form::Document,
            _ => self.form_of_text(line),
        }
    }

    fn form_of_text(&self, line: &[u8]) -> Form {
        let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
        if data.is_some_and(|data| data == DONE || data.starts_with(b"{")) {
            Form::Events(sse::Parser::new(self.bytes_max))
        } else if PAGES.iter().any(|page| starts_alike(line, page)) {
            Form::Page
        } else if self.media == Media::Json {
            Form::Document
        } else {
            Form::Text
        }
    }

    /// Splits at line feeds and nothing else: inside texts n8n leaves U+2028 as it is.
    fn split_lines(&mut self, mut bytes: &[u8], on_piece: &mut impl FnMut(Piece)) -> Result<(), TooLarge> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (tail, rest) = bytes.split_at(end);
            self.keep(tail)?;
            let line = std::mem::take(&mut self.pending);
            self.read_line(&line, "\n", on_piece);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes)
    }

    fn read_line(&mut self, line: &[u8], line_end: &str, on_piece: &mut impl FnMut(Piece)) {
        let trimmed = line.trim_ascii();
        if trimmed.starts_with(b"{") {
            self.read_json(trimmed, on_piece);
        } else if !trimmed.is_empty() && trimmed != DONE {
            self.last_was_error = false;
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            self.speech.say(&format!("{text}{line_end}"), on_piece);
        }
    }

    fn read_event(&mut self, data: &[u8], on_piece: &mut impl FnMut(Piece)) {
        if data == DONE {
            return;
        }
        if data.trim_ascii_start().starts_with(b"{") {
            self.read_json(data, on_piece);
        } else {
            self.last_was_error = false;
            self.speech.say(&String::from_utf8_lossy(data), on_piece);
        }
    }

    /// One JSON object out of several.
    fn read_json(&mut self, json: &[u8], on_piece: &mut impl FnMut(Piece)) {
        if let Some(line) = Line::parse(json) {
            self.hear(line, on_piece);
            return;
        }
        match serde_json::from_slice(json).map(|value| tell(&value)) {
            Ok(Told::Nothing) | Err(_) => self.unread += 1,
            Ok(told) => self.accept(told, on_piece),
        }
    }

    fn hear(&mut self, line: Line, on_piece: &mut impl FnMut(Piece)) {
        self.last_was_error = line == Line::Error;
        if !line.is_of(&self.shown_nodes) {
            return;
        }
        match line {
            Line::Begin { .. } => self.speech.begin(on_piece),
            Line::Item { content, .. } => self.speech.say_item(&content, on_piece),
            Line::End { .. } => self.speech.end(on_piece),
            Line::Error => self.speech.fail(on_piece),
        }
    }

    fn accept(&mut self, told: Told, on_piece: &mut impl FnMut(Piece)) {
        self.last_was_error = told == Told::Error;
        match told {
            Told::Text(text) => self.speech.say(&text, on_piece),
            Told::Error => self.speech.fail(on_piece),
            Told::Nothing => {}
        }
    }

    fn read_document(&mut self, body: &[u8], on_piece: &mut impl FnMut(Piece)) {
        if let Ok(value) = serde_json::from_slice(body) {
            let told = tell(&value);
            return self.accept(told, on_piece);
        }
        let lines = || body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        if lines().any(|line| Line::parse(line).is_some() || is_json_object(line)) {
            // Several documents, or a stream whose first line is broken.
            for line in lines() {
                self.read_line(line, "\n", on_piece);
            }
        } else if self.media == Media::Json && body.trim_ascii_start().starts_with(b"{") {
            self.unread += 1;
        } else {
            self.speech.say(&String::from_utf8_lossy(body), on_piece);
        }
    }

    /// Hands text on up to the last whole character.
    fn pass_on(&mut self, bytes: &[u8], on_piece: &mut impl FnMut(Piece)) {
        self.pending.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(_) => self.pending.len(),
            // `None`: the bytes end inside of a character; else something in them is no text and never will be.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.pending.len() - begun_character(&self.pending),
        };
        let rest = self.pending.split_off(whole);
        let text = std::mem::replace(&mut self.pending, rest);
        self.speech.say(&String::from_utf8_lossy(&text), on_piece);
    }
}

/// Without a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Whether `text` begins with `start`, letters of either case.
fn starts_alike(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn is_json_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// How many of the last bytes belong to a character that is not whole.
fn begun_character(bytes: &[u8]) -> usize {
    let ends = 1..=bytes.len().min(3);
    let begins = |count: &usize| {
        let tail = bytes.get(bytes.len() - count..).unwrap_or_default();
        std::str::from_utf8(tail).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    ends.rev().find(begins).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! What is said, in order: beginnings and ends that match, and nothing twice.

use super::{Piece, document::answer_in};
use crate::domain::failure::Failure;

/// What has been said of an answer so far.
#[derive(Debug)]
pub(super) struct Speech {
    /// Nodes that have begun and not ended.
    open: usize,
    /// All of the text, until it is too long to be compared with.
    said: Option<String>,
    /// Where in it the text begins of the node that speaks now.
    node_from: usize,
    /// The same of the last node that has said something.
    last_from: usize,
    has_said: bool,
    failed: bool,
    said_since_failure: bool,
    bytes_max: usize,
}

impl Speech {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            open: 0,
            said: Some(String::new()),
            node_from: 0,
            last_from: 0,
            has_said: false,
            failed: false,
            said_since_failure: false,
            bytes_max,
        }
    }

    /// Parallel nodes count as one that speaks.
    pub(super) fn begin(&mut self, on_piece: &mut impl FnMut(Piece)) {
        if self.open == 0 {
            self.node_from = self.said_bytes();
            on_piece(Piece::Begin);
        }
        self.open += 1;
    }

    /// What a node of a stream says. A node that sends a whole JSON body means the answer in it; after an agent that is what
    /// the agent has said already.
    pub(super) fn say_item(&mut self, content: &str, on_piece: &mut impl FnMut(Piece)) {
        match answer_in(content) {
            Some(answer) if self.is_repeated(&answer) => {}
            Some(answer) => self.say(&answer, on_piece),
            None => self.say(content, on_piece),
        }
    }

    pub(super) fn say(&mut self, text: &str, on_piece: &mut impl FnMut(Piece)) {
        if text.is_empty() {
            return;
        }
        if self.open == 0 {
            self.begin(on_piece);
        }
        self.remember(text);
        if !text.trim().is_empty() {
            self.has_said = true;
            self.said_since_failure = true;
        }
        on_piece(Piece::Item(text.to_owned()));
    }

    pub(super) fn end(&mut self, on_piece: &mut impl FnMut(Piece)) {
        match self.open {
            0 => {}
            1 => {
                self.close(on_piece);
                // The workflow has gone on after the error, and answered.
                self.failed &= !self.said_since_failure;
            }
            _ => self.open -= 1,
        }
    }

    /// The node that failed does not end by itself.
    pub(super) fn fail(&mut self, on_piece: &mut impl FnMut(Piece)) {
        if self.open > 0 {
            self.close(on_piece);
        }
        self.failed = true;
        self.said_since_failure = false;
        on_piece(Piece::Failed);
    }

    pub(super) fn finish(&mut self, on_piece: &mut impl FnMut(Piece)) {
        if self.open > 0 {
            self.close(on_piece);
        }
    }

    /// An answer is whole when something was said and nothing failed for good. n8n's way to say that a workflow failed
    /// before its answer is an empty one.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.failed {
            Err(Failure::Reported)
        } else if self.has_said {
            Ok(())
        } else {
            Err(Failure::Empty)
        }
    }

    fn close(&mut self, on_piece: &mut impl FnMut(Piece)) {
        self.open = 0;
        if self.said_bytes() > self.node_from {
            self.last_from = self.node_from;
        }
        on_piece(Piece::End);
    }

    fn said_bytes(&self) -> usize {
        self.said.as_ref().map_or(0, String::len)
    }

    fn remember(&mut self, text: &str) {
        let fits = self.said_bytes() + text.len() <= self.bytes_max;
        match &mut self.said {
            Some(said) if fits => said.push_str(text),
            _ => self.said = None,
        }
    }

    fn is_repeated(&self, answer: &str) -> bool {
        let Some(said) = &self.said else {
            return false;
        };
        let of_last = said.get(self.last_from..).unwrap_or_default();
        let answer = answer.trim();
        !answer.is_empty() && [said, of_last].iter().any(|said| said.trim() == answer)
    }
}

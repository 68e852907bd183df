//! Stop sequences: an answer ends, for its reader, where the first of them begins. Chatflows do not know them, so they are
//! looked for in what has come.

use serde::Deserialize;

use super::{Invalid, text_or_list::TextOrList};

/// Stop sequences of one request, as the API's reference has it.
const SEQUENCES_MAX: usize = 4;

/// Bytes of one of them: so much of an answer may be held back.
const SEQUENCE_BYTES_MAX: usize = 256;

/// Where answers end: one sequence, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "TextOrList<String>")]
pub struct Stop(Vec<String>);

/// Lets text through until a stop sequence comes.
#[derive(Debug, Default)]
pub struct Stopper {
    sequences: Vec<String>,
    /// What may be the beginning of one.
    held: String,
    has_stopped: bool,
}

impl From<TextOrList<String>> for Stop {
    fn from(stop: TextOrList<String>) -> Self {
        Self(match stop {
            TextOrList::Text(one) => vec![one],
            TextOrList::List(several) => several,
        })
    }
}

impl Stop {
    /// Checks them.
    pub fn stopper(self) -> Result<Stopper, Invalid> {
        if self.0.len() > SEQUENCES_MAX {
            let message = format!("may have at most {SEQUENCES_MAX} sequences");
            return Err(Invalid::new("stop", message));
        }
        if self
            .0
            .iter()
            .any(|one| one.is_empty() || one.len() > SEQUENCE_BYTES_MAX)
        {
            let message = format!("has sequences of 1 to {SEQUENCE_BYTES_MAX} bytes");
            return Err(Invalid::new("stop", message));
        }
        Ok(Stopper {
            sequences: self.0,
            ..Stopper::default()
        })
    }
}

impl Stopper {
    /// Takes in a piece and gives what may be shown.
    pub fn pass(&mut self, text: &str) -> String {
        if self.has_stopped {
            return String::new();
        }
        if self.sequences.is_empty() {
            return text.to_owned();
        }
        self.held.push_str(text);
        let found = self
            .sequences
            .iter()
            .filter_map(|one| self.held.find(one.as_str()));
        if let Some(at) = found.min() {
            self.has_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = self.held.split_off(self.safe());
        std::mem::replace(&mut self.held, kept)
    }

    /// What was held back in vain, when the answer is over.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// All of a whole text that may be shown.
    pub fn cut(mut self, text: &str) -> String {
        let mut shown = self.pass(text);
        shown.push_str(&self.rest());
        shown
    }

    /// How much of what is held cannot be a part of a sequence any more.
    fn safe(&self) -> usize {
        let longest = self.sequences.iter().map(String::len).max().unwrap_or_default();
        let from = self.held.len().saturating_sub(longest.saturating_sub(1));
        let begins = |at: &usize| {
            let tail = self.held.get(*at..);
            tail.is_some_and(|tail| self.sequences.iter().any(|one| one.starts_with(tail)))
        };
        (from..self.held.len()).find(begins).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stopper(sequences: &[&str]) -> Stopper {
        let stop: Stop = serde_json::from_value(json!(sequences)).unwrap();
        stop.stopper().unwrap()
    }

    #[test]
    fn a_sequence_stops_wherever_it_is_cut() {
        let mut stop = stopper(&["END", "\n\n"]);
        let shown: Vec<_> = ["one E", "N", "E two E", "ND three"]
            .map(|text| stop.pass(text))
            .into();
        assert_eq!(shown, ["one ", "", "ENE two ", ""]);
        assert_eq!((stop.pass("four"), stop.rest()), (String::new(), String::new()));
    }

    #[test]
    fn what_was_held_back_in_vain_comes_at_the_end() {
        let mut stop = stopper(&["END"]);
        assert_eq!(stop.pass("the EN"), "the ");
        assert_eq!(stop.rest(), "EN");
        assert_eq!(stopper(&["生日"]).cut("今天是生日快樂"), "今天是");
        assert_eq!(stopper(&[]).cut("as it is"), "as it is");
    }

    #[test]
    fn sequences_are_few_and_short() {
        let check = |value: serde_json::Value| serde_json::from_value::<Stop>(value).unwrap().stopper();
        assert!(check(json!("one")).is_ok());
        for bad in [
            json!(["", "a"]),
            json!(["a", "b", "c", "d", "e"]),
            json!("x".repeat(257)),
        ] {
            assert_eq!(check(bad).unwrap_err().param, "stop");
        }
        assert!(serde_json::from_value::<Stop>(json!(7)).is_err());
    }

    proptest! {
        /// However a text is cut into pieces, nothing of a sequence is shown, and all of a text without one.
        #[test]
        fn no_sequence_is_shown_and_nothing_else_is_lost(pieces in prop::collection::vec("[ab你]{0,3}", 0..12)) {
            let sequences = ["aab", "你a", "bb"];
            let mut stop = stopper(&sequences);
            let mut shown: String = pieces.iter().map(|piece| stop.pass(piece)).collect();
            shown.push_str(&stop.rest());
            let text = pieces.concat();
            prop_assert!(text.starts_with(&shown));
            for one in sequences {
                prop_assert!(!shown.contains(one));
            }
            let has_any = sequences.iter().any(|one| text.contains(one));
            prop_assert_eq!(shown.len() < text.len(), has_any);
        }
    }
}

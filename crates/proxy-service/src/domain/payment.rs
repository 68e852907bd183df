//! What a turn costs: the payment table of the design, line by line.

/// How a turn for which credits were held came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is whole.
    Completed,
    /// It failed, was cut off or was aborted.
    Broken,
}

/// What becomes of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// There is no hold: the turn is free, or was refused.
    Nothing,
    /// The credits go back.
    Void,
    /// So many credits are paid; the rest of the hold goes back.
    Capture(i64),
}

/// Settles a hold of `held` credits. `delivered` says whether content reached the reader's side of the gateway,
/// `actual` what the turn really cost, where that is known. A capture is never above the hold.
pub fn settle(ending: Ending, delivered: bool, actual: Option<i64>, held: i64) -> Settlement {
    if held <= 0 {
        return Settlement::Nothing;
    }
    match (ending, delivered) {
        (Ending::Completed, _) | (Ending::Broken, true) => {
            Settlement::Capture(actual.unwrap_or(held).clamp(0, held))
        }
        (Ending::Broken, false) => Settlement::Void,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_payment_table() {
        use Ending::{Broken, Completed};
        use Settlement::{Capture, Nothing, Void};

        let table = [
            (
                "refused before Flowise was asked, or a free chatflow",
                Broken,
                false,
                None,
                0,
                Nothing,
            ),
            ("a free chatflow, answered", Completed, true, Some(3), 0, Nothing),
            (
                "unreachable, error or time-out before content",
                Broken,
                false,
                None,
                5,
                Void,
            ),
            (
                "the same, although some usage is known",
                Broken,
                false,
                Some(2),
                5,
                Void,
            ),
            ("answered completely", Completed, true, Some(2), 5, Capture(2)),
            (
                "answered completely without any text",
                Completed,
                false,
                Some(2),
                5,
                Capture(2),
            ),
            (
                "answered completely, dearer than the hold",
                Completed,
                true,
                Some(9),
                5,
                Capture(5),
            ),
            (
                "answered completely, cost unknown",
                Completed,
                true,
                None,
                5,
                Capture(5),
            ),
            (
                "broken after content, usage known",
                Broken,
                true,
                Some(2),
                5,
                Capture(2),
            ),
            (
                "broken after content, usage above the hold",
                Broken,
                true,
                Some(9),
                5,
                Capture(5),
            ),
            (
                "broken after content, usage unknown",
                Broken,
                true,
                None,
                5,
                Capture(5),
            ),
            (
                "a cost below zero is none",
                Completed,
                true,
                Some(-1),
                5,
                Capture(0),
            ),
        ];
        for (what, ending, delivered, actual, held, expected) in table {
            assert_eq!(settle(ending, delivered, actual, held), expected, "{what}");
        }
    }
}

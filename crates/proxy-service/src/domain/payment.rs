//! What a turn costs: the payment table of the design, line by line.

/// The most tokens a turn is charged for: as many as accounting-service reads.
pub const TOKENS_MAX: i64 = 1_000_000_000;

/// How a turn for which credits were held came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is whole.
    Completed,
    /// It failed, was cut off or was aborted.
    Broken,
}

/// What a turn is paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// There is none: the turn is free.
    None,
    /// A flat price: what is held is what the turn costs.
    Flat(i64),
    /// A price by usage: an estimate is held, and the turn costs what its tokens cost.
    ByUsage {
        /// What is held. 0 as long as accounting-service has not said how much that is.
        credits: i64,
        /// For how many tokens it is held.
        estimated_tokens: i64,
    },
}

impl Hold {
    /// The hold for a flat price; there is none for nothing.
    pub const fn flat(credits: i64) -> Self {
        if credits > 0 {
            Self::Flat(credits)
        } else {
            Self::None
        }
    }

    /// What is held, as far as it is known.
    pub const fn credits(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Flat(credits) | Self::ByUsage { credits, .. } => credits,
        }
    }
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
    /// What so many tokens cost is paid, at the price of the hold and never more than is held; the rest goes back.
    /// Only accounting-service can say how much that is.
    CaptureTokens(i64),
}

impl Settlement {
    /// Credits paid, where that is known before accounting-service says it.
    pub const fn cost(self) -> Option<i64> {
        match self {
            Self::Nothing | Self::Void => Some(0),
            Self::Capture(credits) => Some(credits),
            Self::CaptureTokens(_) => None,
        }
    }

    /// Whether the turn is paid for.
    pub const fn is_capture(self) -> bool {
        matches!(self, Self::Capture(_) | Self::CaptureTokens(_))
    }
}

/// Settles a hold. `delivered` says whether content reached the reader's side of the gateway, `tokens` how many the run
/// took, where Flowise told. No run takes none: a count of 0 comes from models that are not counted, and is no count.
///
/// A whole answer whose tokens nobody counted costs the estimate; a broken one costs what is held, since nobody can say
/// how far the run came.
pub fn settle(ending: Ending, delivered: bool, tokens: Option<i64>, hold: Hold) -> Settlement {
    match (hold, ending, delivered) {
        (Hold::None, _, _) => Settlement::Nothing,
        (_, Ending::Broken, false) => Settlement::Void,
        (Hold::Flat(credits), _, _) => Settlement::Capture(credits),
        (
            Hold::ByUsage {
                credits,
                estimated_tokens,
            },
            ending,
            _,
        ) => match (tokens.filter(|tokens| *tokens > 0), ending) {
            (Some(tokens), _) => Settlement::CaptureTokens(tokens.min(TOKENS_MAX)),
            (None, Ending::Broken) if credits > 0 => Settlement::Capture(credits),
            (None, _) => Settlement::CaptureTokens(estimated_tokens),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Ending::{Broken, Completed},
        Settlement::{Capture, CaptureTokens, Nothing, Void},
        *,
    };

    /// What happened: how it ended, whether content had gone out, the tokens, and what becomes of the hold.
    type Line = (&'static str, Ending, bool, Option<i64>, Settlement);

    fn check(hold: Hold, table: &[Line]) {
        for (what, ending, delivered, tokens, expected) in table {
            assert_eq!(settle(*ending, *delivered, *tokens, hold), *expected, "{what}");
        }
    }

    #[test]
    fn every_line_of_the_payment_table_at_a_flat_price() {
        let table = [
            ("before content", Broken, false, None, Void),
            ("before content, tokens known", Broken, false, Some(2), Void),
            ("answered", Completed, true, Some(2), Capture(5)),
            ("answered without any text", Completed, false, None, Capture(5)),
            ("after content", Broken, true, None, Capture(5)),
            ("after content, tokens known", Broken, true, Some(9), Capture(5)),
        ];
        check(Hold::flat(5), &table);
        for free in [Hold::flat(0), Hold::flat(-1)] {
            check(free, &table.map(|line| (line.0, line.1, line.2, line.3, Nothing)));
        }
    }

    #[test]
    fn every_line_of_the_payment_table_at_a_price_by_usage() {
        let hold = |credits| Hold::ByUsage {
            credits,
            estimated_tokens: 4_000,
        };
        let table = [
            ("before content", Broken, false, None, Void),
            ("before content, tokens known", Broken, false, Some(2), Void),
            ("answered", Completed, true, Some(77), CaptureTokens(77)),
            (
                "answered without text",
                Completed,
                false,
                Some(77),
                CaptureTokens(77),
            ),
            ("answered, uncounted", Completed, true, None, CaptureTokens(4_000)),
            (
                "answered, counted as 0",
                Completed,
                true,
                Some(0),
                CaptureTokens(4_000),
            ),
            (
                "after content, tokens known",
                Broken,
                true,
                Some(77),
                CaptureTokens(77),
            ),
            ("after content, uncounted", Broken, true, None, Capture(12)),
            ("after content, counted as 0", Broken, true, Some(0), Capture(12)),
        ];
        check(hold(12), &table);
        let before_accounting_answered = [
            ("before content", Broken, false, None, Void),
            ("after content", Broken, true, None, CaptureTokens(4_000)),
        ];
        check(hold(0), &before_accounting_answered);
    }

    fn endings() -> impl Strategy<Value = Ending> {
        prop_oneof![Just(Ending::Completed), Just(Ending::Broken)]
    }

    fn holds() -> impl Strategy<Value = Hold> {
        prop_oneof![
            any::<i64>().prop_map(Hold::flat),
            (0..=i64::MAX, 1..=TOKENS_MAX).prop_map(|(credits, estimated_tokens)| Hold::ByUsage {
                credits,
                estimated_tokens
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_a_turn_is_settled_by_the_table(
            ending in endings(),
            delivered: bool,
            tokens: Option<i64>,
            hold in holds(),
        ) {
            let settlement = settle(ending, delivered, tokens, hold);
            let counted = tokens.is_some_and(|tokens| tokens > 0);

            prop_assert_eq!(settlement == Settlement::Nothing, hold == Hold::None, "only what is free has no hold");
            if hold != Hold::None {
                let nothing_came = ending == Ending::Broken && !delivered;
                prop_assert_eq!(settlement == Settlement::Void, nothing_came);
                prop_assert_eq!(settlement.is_capture(), !nothing_came);
            }
            match (settlement, hold) {
                (Settlement::Capture(credits), _) => {
                    prop_assert_eq!(credits, hold.credits(), "a capture of credits is the hold, never more");
                    prop_assert!(credits > 0);
                }
                (Settlement::CaptureTokens(charged), Hold::ByUsage { estimated_tokens, .. }) => {
                    prop_assert!((1..=TOKENS_MAX).contains(&charged), "accounting-service can read it");
                    let expected = tokens.filter(|_| counted).unwrap_or(estimated_tokens).min(TOKENS_MAX);
                    prop_assert_eq!(charged, expected);
                }
                (Settlement::CaptureTokens(_), _) => prop_assert!(false, "a flat price does not count tokens"),
                (Settlement::Nothing | Settlement::Void, _) => {}
            }
        }
    }
}

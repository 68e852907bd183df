//! What tokens of a model cost.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::credits::{Amount, Credits, integer};

/// More tokens than any model reads or writes in one turn; keeps every product below far from overflow.
const TOKENS_MAX: i64 = 1_000_000_000;

/// A number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Tokens(i64);

impl Tokens {
    /// None.
    pub const ZERO: Self = Self(0);

    /// A number of tokens, unless it is negative or absurd.
    pub fn new(tokens: i64) -> Option<Self> {
        (0..=TOKENS_MAX).contains(&tokens).then_some(Self(tokens))
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 0, TOKENS_MAX).map(Self)
    }
}

/// At least one token: an estimate that holds credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct EstimatedTokens(Tokens);

impl EstimatedTokens {
    /// The number of tokens.
    pub const fn tokens(self) -> Tokens {
        self.0
    }
}

impl<'de> Deserialize<'de> for EstimatedTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 1, TOKENS_MAX).map(|tokens| Self(Tokens(tokens)))
    }
}

/// The highest rate.
const RATE_MAX: i64 = 1_000_000_000;

/// Thousandths of a credit per 1,000 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(i64);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 0, RATE_MAX).map(Self)
    }
}

/// What a model costs, in thousandths of a credit per 1,000 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// For tokens read.
    pub input_rate: i64,
    /// For tokens written.
    pub output_rate: i64,
}

impl Price {
    /// A price, unless it is nothing: what is free holds no credits, and nobody could tell a mistake from a gift.
    pub fn new(input: Rate, output: Rate) -> Option<Self> {
        (input.0 + output.0 > 0).then_some(Self {
            input_rate: input.0,
            output_rate: output.0,
        })
    }

    /// The cost of `tokens`, half of them at each rate, rounded up: `ceil(tokens × (in + out) / 2000)` with rates in
    /// credits, in exact integers.
    pub fn cost(self, tokens: Tokens) -> Credits {
        let thousandths = i128::from(self.input_rate) + i128::from(self.output_rate);
        let cost = div_ceil(i128::from(tokens.0) * thousandths, 2_000_000);
        Credits::new(i64::try_from(cost).unwrap_or(i64::MAX)).unwrap_or_default()
    }

    /// What is held for an estimate: its cost and a fifth on top, rounded up. `None` when it is more than one command
    /// may move, or nothing.
    pub fn hold(self, estimate: Credits) -> Option<Amount> {
        let fifths = i128::from(estimate.get()) * 6;
        Amount::new(i64::try_from(div_ceil(fifths, 5)).ok()?)
    }
}

/// `dividend / divisor`, rounded up; neither is negative.
const fn div_ceil(dividend: i128, divisor: i128) -> i128 {
    (dividend + divisor - 1) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Price = Price {
        input_rate: 200,
        output_rate: 500,
    };
    const NOVA_LITE: Price = Price {
        input_rate: 250,
        output_rate: 800,
    };

    #[test]
    fn costs_are_those_of_the_documented_table() {
        let cost = |price: Price, tokens| price.cost(Tokens::new(tokens).unwrap()).get();
        assert_eq!(cost(DEFAULT, 0), 0);
        assert_eq!(cost(DEFAULT, 1), 1);
        assert_eq!(cost(DEFAULT, 1_000), 1);
        assert_eq!(cost(DEFAULT, 10_000), 4);
        assert_eq!(cost(NOVA_LITE, 10_000), 6);
        assert_eq!(cost(DEFAULT, 2_000_000), 700, "an exact multiple is not rounded");
        assert_eq!(cost(DEFAULT, TOKENS_MAX), 350_000);
    }

    #[test]
    fn a_hold_is_a_fifth_more_than_the_estimate_rounded_up() {
        let hold = |credits| DEFAULT.hold(Credits::new(credits).unwrap()).map(Amount::get);
        assert_eq!(hold(0), None);
        assert_eq!(hold(1), Some(2));
        assert_eq!(hold(4), Some(5));
        assert_eq!(hold(5), Some(6));
        assert_eq!(hold(10), Some(12));
        for estimate in 1..10_000 {
            assert_eq!(hold(estimate), Some((6 * estimate + 4) / 5));
        }
    }
}

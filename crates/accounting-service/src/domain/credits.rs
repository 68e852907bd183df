//! Whole credits. There are no fractions and no floats anywhere in the service.

use std::{fmt, iter::Sum};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The most credits one command may move.
const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// A balance that an allocation would lift above this is refused. Far from `i64`'s end, so that no sum of what one
/// account can own (this, and a hundred holds) ever reaches it, and exact in the doubles that JavaScript reads.
const BALANCE_MAX: i64 = 1_000_000_000_000_000;

/// A number of credits that somebody has, holds or has used: zero or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Credits(i64);

impl Credits {
    /// None.
    pub const ZERO: Self = Self(0);

    /// The highest balance an allocation may lead to.
    pub const BALANCE_MAX: Self = Self(BALANCE_MAX);

    /// A number of credits, unless it is negative.
    pub fn new(credits: i64) -> Option<Self> {
        (credits >= 0).then_some(Self(credits))
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum. It stays at `i64::MAX` instead of wrapping; `BALANCE_MAX` keeps every real sum far below.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after `other` was taken; nothing when `other` is more.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

impl Sum for Credits {
    fn sum<I: Iterator<Item = Self>>(credits: I) -> Self {
        credits.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Amount> for Credits {
    fn from(amount: Amount) -> Self {
        Self(amount.0)
    }
}

/// From a JSON integer between zero and the most one command may move.
impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 0, AMOUNT_MAX).map(Self)
    }
}

/// What one command moves: at least one credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// An amount, unless it is less than one or more than one command may move.
    pub fn new(credits: i64) -> Option<Self> {
        (1..=AMOUNT_MAX).contains(&credits).then_some(Self(credits))
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From a JSON integer; fractions, texts, negatives, zero and what is too large are refused.
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 1, AMOUNT_MAX).map(Self)
    }
}

/// What an adjustment changes a balance by, up or down; never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Difference(i64);

impl Difference {
    /// A difference, unless it is zero or more than one command may move.
    pub fn new(credits: i64) -> Option<Self> {
        (credits != 0 && (-AMOUNT_MAX..=AMOUNT_MAX).contains(&credits)).then_some(Self(credits))
    }

    /// How much, whichever way.
    pub fn amount(self) -> Amount {
        Amount(self.0.abs())
    }

    /// Whether credits are added.
    pub fn is_raise(self) -> bool {
        self.0 > 0
    }
}

/// From a JSON integer; zero is refused with the rest.
impl<'de> Deserialize<'de> for Difference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let credits = integer(deserializer, -AMOUNT_MAX, AMOUNT_MAX)?;
        Self::new(credits).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Signed(credits), &"a whole number other than zero")
        })
    }
}

/// Reads a JSON integer within `min..=max`, with one sentence for everything else.
pub(crate) fn integer<'de, D: Deserializer<'de>>(
    deserializer: D,
    min: i64,
    max: i64,
) -> Result<i64, D::Error> {
    struct Whole {
        min: i64,
        max: i64,
    }

    impl Whole {
        fn check<E: de::Error>(&self, number: Option<i64>) -> Result<i64, E> {
            number
                .filter(|number| (self.min..=self.max).contains(number))
                .ok_or_else(|| E::invalid_value(de::Unexpected::Other("number"), self))
        }
    }

    impl de::Visitor<'_> for Whole {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {} to {}", self.min, self.max)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            self.check(Some(number))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            self.check(i64::try_from(number).ok())
        }
    }

    deserializer.deserialize_i64(Whole { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_from_one_are_amounts() {
        assert_eq!(serde_json::from_str::<Amount>("10").unwrap().get(), 10);
        assert_eq!(
            serde_json::from_str::<Amount>("1000000000000").unwrap().get(),
            AMOUNT_MAX
        );
        let refused = [
            "0",
            "-1",
            "1.5",
            "1.0",
            "1e3",
            "\"10\"",
            "true",
            "null",
            "[1]",
            "{}",
            "1000000000001",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "1e308",
        ];
        for text in refused {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_not_what_was_sent() {
        let error = serde_json::from_str::<Amount>("-77").unwrap_err().to_string();
        assert!(
            error.contains("expected a whole number from 1 to 1000000000000"),
            "{error}"
        );
        assert!(!error.contains("77"), "{error}");
    }

    #[test]
    fn taking_more_than_there_is_leaves_nothing() {
        let (three, five) = (Credits(3), Credits(5));
        assert_eq!(five.less(three), Credits(2));
        assert_eq!(three.less(five), Credits::ZERO);
        assert_eq!(Credits(i64::MAX).plus(five), Credits(i64::MAX));
        assert_eq!([three, five].into_iter().sum::<Credits>(), Credits(8));
    }
}

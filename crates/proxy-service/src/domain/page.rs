//! Long lists in pages: where a page ended, as a text that clients hand back.

use std::{fmt, str::FromStr};

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};

/// The last item of a page in a list that is ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its time.
    pub at: DateTime<Utc>,
    /// Tells it from others of the same millisecond.
    pub id: ObjectId,
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.timestamp_millis(), self.id.to_hex())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (at, id) = text.rsplit_once('-').ok_or(NoCursor)?;
        let at = DateTime::from_timestamp_millis(at.parse().or(Err(NoCursor))?);
        Ok(Self {
            at: at.ok_or(NoCursor)?,
            id: ObjectId::parse_str(id).or(Err(NoCursor))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_to_the_client_and_back() {
        proptest::proptest!(|(at in -62_135_596_800_000_i64..253_402_300_799_999, id: [u8; 12])| {
            let cursor = Cursor {
                at: DateTime::from_timestamp_millis(at).unwrap(),
                id: ObjectId::from_bytes(id),
            };
            proptest::prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        });
        for text in [
            "",
            "1",
            "x-65f0c0ffee65f0c0ffee65f0",
            "1-65f0",
            "99999999999999999999-65f0c0ffee65f0c0ffee65f0",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}

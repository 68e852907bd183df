//! Reads which page of a list is asked for.

use serde::Deserialize;

use crate::{
    domain::{
        keyset::{Cursor, LIMIT_DEFAULT, LIMIT_MAX},
        user::UserId,
    },
    error::{Error, Result},
};

/// `?limit=<1 to 200>&cursor=<nextCursor of the page before>`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    limit: Option<String>,
    cursor: Option<String>,
}

impl Paging {
    /// What the two were sent as.
    pub(crate) fn new(limit: Option<String>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many entries, and behind which.
    pub(crate) fn read(&self) -> Result<(u32, Option<Cursor>)> {
        let limit = match present(self.limit.as_deref()) {
            None => LIMIT_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| Error::invalid("limit", "must be from 1 to 200"))?,
        };
        let cursor = present(self.cursor.as_deref())
            .map(|text| Cursor::parse(text).ok_or_else(|| Error::invalid("cursor", "is not one of ours")))
            .transpose()?;
        Ok((limit, cursor))
    }
}

/// An empty parameter counts as none.
pub(crate) fn present(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// A parameter that names a user.
pub(crate) fn user_id(field: &str, text: Option<&str>) -> Result<Option<UserId>> {
    present(text)
        .map(|text| UserId::parse(text).ok_or_else(|| Error::invalid(field, "must be 24 hex digits")))
        .transpose()
}

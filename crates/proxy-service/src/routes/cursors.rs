//! `limit` and `cursor`, the parameters of every list that may be long.

use serde::Deserialize;

use crate::{
    domain::page::Cursor,
    error::{Error, Result},
};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// The parameters as they came.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The page that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) limit: i64,
    pub(super) after: Option<Cursor>,
}

impl PageQuery {
    /// Of parameters that stand beside others.
    pub(super) fn new(limit: Option<i64>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// Whether a page is wanted at all; lists without parameters are whole, as they were documented.
    pub(super) fn is_given(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }

    /// The page.
    pub(super) fn page(&self) -> Result<Page> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be from 1 to {LIMIT_MAX}")));
        }
        let parse = |text: &String| {
            let cursor = text.parse();
            cursor.or(Err(Error::invalid("cursor", "must be one that this list gave")))
        };
        let after = self.cursor.as_ref().map(parse).transpose()?;
        Ok(Page { limit, after })
    }
}

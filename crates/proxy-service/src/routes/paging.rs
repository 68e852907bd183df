//! Reads which page of a list is asked for. A list without `limit` and `cursor` is whole, in its documented shape; a
//! page has the same shape, and where the next one begins stands in the header `Link` (RFC 8288).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderValue, LINK},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::{
    domain::page::{TimedPage, one_more},
    error::{Error, Result},
};

/// Rows on one page, at most and when nothing is said.
pub(crate) const LIMIT_MAX: usize = 500;
/// See [`LIMIT_MAX`].
const LIMIT_DEFAULT: usize = 50;

/// A cursor holds a name and an id.
const CURSOR_BYTES_MAX: usize = 2_000;

/// `?limit=<1 to 500>&cursor=<from the page before>`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    limit: Option<String>,
    cursor: Option<String>,
}

/// A page: so many rows behind the one with these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) limit: usize,
    pub(crate) after: Option<Vec<String>>,
}

impl Paging {
    /// What the two were sent as.
    pub(crate) fn new(limit: Option<String>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// Whether a page is asked for, not the whole list.
    pub(crate) fn is_given(&self) -> bool {
        present(self.limit.as_deref()).is_some() || present(self.cursor.as_deref()).is_some()
    }

    /// The page that is asked for, in a list sorted by `keys` keys; `None` when the whole list is.
    pub(crate) fn read(&self, keys: usize) -> Result<Option<PageRequest>> {
        self.is_given().then(|| self.read_always(keys)).transpose()
    }

    /// The same for a list that is never whole.
    pub(crate) fn read_always(&self, keys: usize) -> Result<PageRequest> {
        Ok(PageRequest {
            limit: self.limit()?,
            after: self.place(|cursor| keys_of(cursor, keys))?,
        })
    }

    /// The page of a list that is ordered by time.
    pub(crate) fn read_timed(&self) -> Result<TimedPage> {
        Ok(TimedPage {
            limit: self.limit()?,
            after: self.place(|cursor| cursor.parse().ok())?,
        })
    }

    fn limit(&self) -> Result<usize> {
        let Some(text) = present(self.limit.as_deref()) else {
            return Ok(LIMIT_DEFAULT);
        };
        text.parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Error::invalid("limit", format!("must be from 1 to {LIMIT_MAX}")))
    }

    fn place<P>(&self, read: impl FnOnce(&str) -> Option<P>) -> Result<Option<P>> {
        let refused = || Error::invalid("cursor", "is not one of this list");
        present(self.cursor.as_deref())
            .map(|cursor| read(cursor).ok_or_else(refused))
            .transpose()
    }
}

impl PageRequest {
    /// What to ask a store for: one row more than the page has says whether there is another page.
    pub(crate) fn one_more(&self) -> i64 {
        one_more(self.limit)
    }

    /// The first of the keys that the page lies behind.
    pub(crate) fn first_key(&self) -> Option<&str> {
        self.after.as_ref()?.first().map(String::as_str)
    }

    /// The first two of them.
    pub(crate) fn two_keys(&self) -> Option<(&str, &str)> {
        match self.after.as_deref()? {
            [one, other, ..] => Some((one, other)),
            _ => None,
        }
    }

    /// Answers with the rows of the page, of which one too many was read where there is another page.
    pub(crate) fn answer<T, B: Serialize>(
        &self,
        request: &HttpRequest,
        mut rows: Vec<T>,
        keys_of: impl Fn(&T) -> Vec<String>,
        show: impl Fn(T) -> B,
    ) -> HttpResponse {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows
            .last()
            .filter(|_| has_more)
            .map(|row| cursor_of(&keys_of(row)));
        let mut response = HttpResponse::Ok();
        if let Some(link) = next.and_then(|next| HeaderValue::try_from(next_link(request, &next)).ok()) {
            response.insert_header((LINK, link));
        }
        response.json(rows.into_iter().map(show).collect::<Vec<_>>())
    }
}

/// Where a list goes on behind these keys, as clients carry it.
pub(crate) fn cursor_of(keys: &[String]) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(keys).unwrap_or_default())
}

fn keys_of(cursor: &str, count: usize) -> Option<Vec<String>> {
    if cursor.len() > CURSOR_BYTES_MAX {
        return None;
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let keys: Vec<String> = serde_json::from_slice(&json).ok()?;
    (keys.len() == count).then_some(keys)
}

/// The same address with another cursor.
fn next_link(request: &HttpRequest, cursor: &str) -> String {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.filter(|(name, _)| name != "cursor"))
        .append_pair("cursor", cursor)
        .finish();
    format!("<{}?{query}>; rel=\"next\"", request.path())
}

/// An empty parameter counts as none.
pub(crate) fn present(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(limit: &str, cursor: &str) -> Paging {
        Paging {
            limit: Some(limit.to_owned()),
            cursor: Some(cursor.to_owned()),
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_keys() {
        let keys = vec!["Ödön".to_owned(), "673d".to_owned()];
        let request = paging("7", &cursor_of(&keys)).read(2).unwrap().unwrap();
        assert_eq!((request.limit, request.two_keys()), (7, Some(("Ödön", "673d"))));
        assert_eq!(paging("", "").read(2).unwrap(), None);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let one = cursor_of(&["a".to_owned()]);
        assert!(paging("", &one).read_timed().is_err(), "a cursor of another list");
        let operator = URL_SAFE_NO_PAD.encode(r#"[{"$gt":""}]"#);
        for (limit, cursor) in [
            ("0", ""),
            ("501", ""),
            ("-1", ""),
            ("ten", ""),
            ("", "%%%"),
            ("", &one),
            ("", &operator),
            ("", &"A".repeat(2_001)),
        ] {
            assert!(paging(limit, cursor).read(2).is_err(), "{limit} {cursor}");
        }
    }
}

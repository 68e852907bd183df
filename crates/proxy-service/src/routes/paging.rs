//! Reads which page of a list is asked for. A list without `limit` and `cursor` is whole, in its documented shape; a
//! page has the same shape, and where the next one begins stands in the header `Link` (RFC 8288).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderValue, LINK},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::error::{Error, Result};

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

    /// The page that is asked for, in a list sorted by `keys` keys; `None` when the whole list is.
    pub(crate) fn read(&self, keys: usize) -> Result<Option<PageRequest>> {
        let (limit, cursor) = (present(self.limit.as_deref()), present(self.cursor.as_deref()));
        if limit.is_none() && cursor.is_none() {
            return Ok(None);
        }
        self.read_always(keys).map(Some)
    }

    /// The same for a list that is never whole.
    pub(crate) fn read_always(&self, keys: usize) -> Result<PageRequest> {
        let limit = match present(self.limit.as_deref()) {
            None => LIMIT_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| Error::invalid("limit", format!("must be from 1 to {LIMIT_MAX}")))?,
        };
        let after = present(self.cursor.as_deref())
            .map(|cursor| {
                keys_of(cursor, keys).ok_or_else(|| Error::invalid("cursor", "is not one of this list"))
            })
            .transpose()?;
        Ok(PageRequest { limit, after })
    }
}

impl PageRequest {
    /// What to ask a store for: one row more than the page has says whether there is another page.
    pub(crate) fn one_more(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
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

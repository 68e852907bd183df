//! Reads the list of chatflows from Flowise.
//!
//! Newer versions answer pages, older ones the whole list at once; both may answer a web page with status 200 when
//! something is wrong. What is read says whether it is the *whole* list, since only then a missing chatflow is gone.

mod reading;

use std::{collections::HashSet, time::Duration};

use common_http::RequestContext;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub(crate) use self::reading::Unreadable;
use self::reading::{Page, read_page};
use crate::{
    config::Upstream,
    domain::chatflow::ListedChatflow,
    upstream::{Failure, read_json_bytes},
};

/// Chatflows a page may have. Each weighs up to a few hundred kilobytes.
const PAGE_CHATFLOWS: usize = 50;

/// Pages read at most: 20,000 chatflows.
const PAGES_MAX: usize = 400;

/// One page, or the whole list of a Flowise without pages.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// How long a page may take; Flowise checks the key on the thread that answers everybody.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Lists Flowise's chatflows.
#[derive(Clone, Debug)]
pub(crate) struct CatalogSource {
    http: reqwest::Client,
    url: Url,
    api_key: Option<SecretString>,
}

/// What Flowise listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The chatflows, each once.
    pub(crate) chatflows: Vec<ListedChatflow>,
    /// Entries that are no chatflow we can read.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Whether this is all there is.
    pub(crate) complete: bool,
}

impl CatalogSource {
    /// A reader of this Flowise.
    pub(crate) fn new(http: reqwest::Client, flowise: &Upstream) -> Self {
        let mut url = flowise.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1", "chatflows"]);
        }
        Self {
            http,
            url,
            api_key: flowise.api_key.clone(),
        }
    }

    /// Everything Flowise lists.
    pub(crate) async fn list(&self) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let (mut seen, mut totals) = (HashSet::new(), HashSet::new());
        for number in 1..=PAGES_MAX {
            let Page { entries, total } = self.page(number).await?;
            let (read, seen_before) = (entries.len(), seen.len());
            for entry in entries {
                match entry {
                    Ok(chatflow) if seen.insert(chatflow.flowise_id.clone()) => {
                        listing.chatflows.push(chatflow);
                    }
                    // The list moved while its pages were read.
                    Ok(_) => {}
                    Err(unreadable) => {
                        // Without an id nobody knows which chatflow is not missing.
                        let id = unreadable.flowise_id.clone();
                        let placeholder = || format!("unreadable {number}.{}", listing.unreadable.len());
                        seen.insert(id.unwrap_or_else(placeholder));
                        listing.unreadable.push(unreadable);
                    }
                }
            }
            totals.insert(total);
            let is_last = total.is_none_or(|total| seen.len() >= total);
            if is_last || read == 0 || seen.len() == seen_before {
                let all_named = listing.unreadable.iter().all(|entry| entry.flowise_id.is_some());
                // A total that moved says that entries moved between the pages, perhaps past us.
                listing.complete = is_last && all_named && totals.len() == 1;
                return Ok(listing);
            }
        }
        Ok(listing)
    }

    async fn page(&self, number: usize) -> Result<Page, Failure> {
        let query = [("page", number), ("limit", PAGE_CHATFLOWS)];
        let mut request = self
            .http
            .get(self.url.clone())
            .query(&query)
            .timeout(PAGE_TIMEOUT);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = RequestContext::current().propagate(request).send().await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let bytes = read_json_bytes(response, PAGE_BYTES_MAX).await?;
        // Tens of megabytes take long enough to make others wait.
        let page = tokio::task::spawn_blocking(move || read_page(&bytes)).await;
        page.unwrap_or_else(|_| Err(Failure::NotJson))
    }
}

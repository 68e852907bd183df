//! Who everybody is, and who is in a group: proxy-service keeps groups, their people are ours.

use std::collections::HashMap;

use common_http::CurrentUser;
use serde::Deserialize;
use url::form_urlencoded;

use super::{Error, Neighbours, NotDone, Refusal, Result, UserStore};
use crate::{
    domain::{
        user::{User, UserId},
        user_list::{UserFilter, UserState},
    },
    pages::neighbours::{Neighbour, Rows},
};

/// The word for everybody who can sign in.
const EVERYBODY: &str = "everybody";

/// Before the id of a group.
const GROUP: &str = "group:";

/// Groups that the form offers.
const GROUPS_MAX: usize = 2_000;

/// Rows that proxy-service gives at once.
const ROWS_MAX: usize = 500;

/// A group, as proxy-service names it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
struct InGroup {
    user_id: String,
}

/// Who gets something.
#[derive(Clone, Debug)]
pub(super) enum Crowd {
    Everybody,
    Group(Group),
}

/// Somebody who gets something.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) name: String,
}

/// Some of a crowd.
pub(super) struct Batch {
    pub(super) members: Vec<Member>,
    /// Where the others begin.
    pub(super) next: Option<String>,
}

/// Finds the people of a crowd.
pub(super) struct Members<'a> {
    pub(super) users: &'a UserStore,
    pub(super) neighbours: &'a Neighbours,
    pub(super) admin: &'a CurrentUser,
}

impl Group {
    /// How the form names it.
    pub(super) fn word(&self) -> String {
        format!("{GROUP}{}", self.id)
    }
}

impl Crowd {
    /// How the form names it.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Everybody => EVERYBODY.to_owned(),
            Self::Group(group) => group.word(),
        }
    }
}

/// The groups there are; `None` where proxy-service is away.
pub(super) async fn groups(neighbours: &Neighbours, admin: &CurrentUser) -> Option<Vec<Group>> {
    let (mut groups, mut cursor) = (Vec::new(), None);
    loop {
        let path = path("/api/v1/admin/groups", ROWS_MAX, cursor.as_deref());
        let page = neighbours.list::<Group>(Neighbour::Proxy, &path, admin);
        let Rows { rows, next } = page.await.ok()?;
        groups.extend(rows);
        cursor = next;
        if cursor.is_none() || groups.len() >= GROUPS_MAX {
            return Some(groups);
        }
    }
}

fn path(list: &str, limit: usize, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(format!("{list}?limit={limit}"));
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    query.finish()
}

impl Members<'_> {
    /// The crowd that the form names.
    pub(super) async fn crowd(&self, word: &str) -> std::result::Result<Crowd, NotDone> {
        if word == EVERYBODY {
            return Ok(Crowd::Everybody);
        }
        let id = word.strip_prefix(GROUP).filter(|id| is_id(id));
        let id = id.ok_or_else(|| Error::invalid("whom", "is required"))?;
        let path = format!("/api/v1/admin/groups/{id}");
        let asked = self
            .neighbours
            .ask(reqwest::Method::GET, Neighbour::Proxy, &path, self.admin, None);
        match asked.await {
            Ok(group) => Ok(Crowd::Group(group)),
            Err(Refusal::Said(said)) if said.code == "group_not_found" => {
                Err(Error::invalid("whom", "group_not_found").into())
            }
            Err(refusal) => Err(NotDone::Unread(refusal)),
        }
    }

    /// How many there are.
    pub(super) async fn count(&self, crowd: &Crowd) -> std::result::Result<u64, NotDone> {
        if matches!(crowd, Crowd::Everybody) {
            return Ok(self.users.count_active().await?);
        }
        let (mut count, mut place) = (0, None);
        loop {
            let batch = self.page(crowd, place.as_deref(), ROWS_MAX).await?;
            count += u64::try_from(batch.members.len()).unwrap_or(0);
            place = batch.next;
            if place.is_none() {
                return Ok(count);
            }
        }
    }

    /// At most `limit` of them from a place on. Ids order them, so nobody comes twice, whoever joins meanwhile.
    pub(super) async fn page(
        &self,
        crowd: &Crowd,
        place: Option<&str>,
        limit: usize,
    ) -> std::result::Result<Batch, NotDone> {
        match crowd {
            Crowd::Everybody => Ok(self.everybody(place, limit).await?),
            Crowd::Group(group) => self.group(&group.id, place, limit.min(ROWS_MAX)).await,
        }
    }

    async fn everybody(&self, place: Option<&str>, limit: usize) -> Result<Batch> {
        let filter = UserFilter {
            state: Some(UserState::Active),
            ..UserFilter::default()
        };
        let after = place.map(|place| filter.position(place).ok_or(Error::InvalidCursor));
        let page = self
            .users
            .page(&filter, after.transpose()?.as_ref(), limit)
            .await?;
        Ok(Batch {
            members: page.users.into_iter().map(Member::from).collect(),
            next: page.next.map(|next| filter.cursor(&next)),
        })
    }

    /// Whose account is shut or gone gets nothing.
    async fn group(
        &self,
        id: &str,
        place: Option<&str>,
        limit: usize,
    ) -> std::result::Result<Batch, NotDone> {
        let path = path(&format!("/api/v1/admin/groups/{id}/members"), limit, place);
        let page = self
            .neighbours
            .list::<InGroup>(Neighbour::Proxy, &path, self.admin);
        let Rows { rows, next } = page.await.map_err(NotDone::Unread)?;
        let ids: Vec<UserId> = rows
            .iter()
            .filter_map(|row| UserId::parse(&row.user_id))
            .collect();
        let known = self.users.list_by_ids(&ids).await?;
        let mut known: HashMap<UserId, User> = known
            .into_iter()
            .filter(|user| !user.is_disabled)
            .map(|user| (user.id, user))
            .collect();
        let members = ids.iter().filter_map(|id| known.remove(id)).map(Member::from);
        Ok(Batch {
            members: members.collect(),
            next,
        })
    }
}

impl From<User> for Member {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.username,
        }
    }
}

/// Ids of groups are made of letters, digits and hyphens, so they are whole parts of a path.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_no_part_of_a_path() {
        assert!(is_id("01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6"));
        for text in ["", "..", "a/b", "a%2fb", "a?b", &"a".repeat(65)] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn a_cursor_is_encoded() {
        assert_eq!(
            path("/api/v1/admin/groups", 5, Some("a&b=c")),
            "/api/v1/admin/groups?limit=5&cursor=a%26b%3Dc"
        );
    }
}

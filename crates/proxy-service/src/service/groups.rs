//! Groups of people: who is in them and which chatflows they are given.

use std::collections::HashMap;

use bson::oid::ObjectId;
use common_http::{Caller, Clock};
use uuid::Uuid;

use super::{access::Access, assignments::name_of};
use crate::{
    domain::{
        chatflow::Chatflow,
        group::{Group, GroupGrant, Membership, Part},
        person::Person,
        window::Window,
    },
    error::{Error, Result},
    store::{
        chatflows::ChatflowStore,
        groups::{GroupChange, GroupStore, NameTaken},
        people::PersonStore,
    },
};

/// Keeps groups.
#[derive(Clone)]
pub(crate) struct Groups {
    store: GroupStore,
    people: PersonStore,
    chatflows: ChatflowStore,
    access: Access,
    clock: Clock,
}

/// A group and how much is in it.
#[derive(Debug)]
pub(crate) struct CountedGroup {
    pub(crate) group: Group,
    pub(crate) members: u64,
    pub(crate) leads: u64,
    pub(crate) chatflows: usize,
}

impl Groups {
    /// Groups in these stores.
    pub(crate) fn new(
        store: GroupStore,
        people: PersonStore,
        chatflows: ChatflowStore,
        access: Access,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            people,
            chatflows,
            access,
            clock,
        }
    }

    /// Makes a group.
    pub(crate) async fn create(&self, name: String, description: Option<String>) -> Result<Group> {
        let now = self.clock.now();
        let group = Group {
            id: Uuid::now_v7().to_string(),
            name,
            description,
            created_at: now,
            updated_at: now,
        };
        match self.store.insert(&group).await? {
            Ok(()) => Ok(group),
            Err(NameTaken) => Err(Error::GroupNameTaken),
        }
    }

    /// Renames or describes a group.
    pub(crate) async fn update(&self, id: &str, change: GroupChange) -> Result<Group> {
        match self.store.update(id, change, self.clock.now()).await? {
            Ok(group) => group.ok_or(Error::GroupNotFound),
            Err(NameTaken) => Err(Error::GroupNameTaken),
        }
    }

    /// Removes a group; what its members had by it they have no longer.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        let was_there = self.store.delete(id).await?;
        self.access.forget();
        if was_there {
            Ok(())
        } else {
            Err(Error::GroupNotFound)
        }
    }

    /// Groups by name, behind `after`.
    pub(crate) async fn list(&self, after: Option<&str>, limit: Option<i64>) -> Result<Vec<Group>> {
        Ok(self.store.list(after, limit).await?)
    }

    /// One group.
    pub(crate) async fn find(&self, id: &str) -> Result<Group> {
        self.store.find(id).await?.ok_or(Error::GroupNotFound)
    }

    /// One group and how much is in it.
    pub(crate) async fn counted(&self, id: &str) -> Result<CountedGroup> {
        let group = self.find(id).await?;
        let ((members, leads), grants) =
            futures_util::try_join!(self.store.count_people(id), self.store.list_grants(id))?;
        Ok(CountedGroup {
            group,
            members,
            leads,
            chatflows: grants.len(),
        })
    }

    /// Puts somebody into a group; says whether that is new. That there is such a group was checked.
    pub(super) async fn join(&self, admin: &Caller, id: &str, user_id: &str, part: Part) -> Result<bool> {
        let (by, now) = (name_of(admin), self.clock.now());
        let is_new = self.store.add_member(id, user_id, part, &by, now).await?;
        self.access.forget();
        Ok(is_new)
    }

    /// Takes somebody out of a group, as `part` or altogether.
    pub(crate) async fn leave(&self, id: &str, user_id: &str, part: Option<Part>) -> Result<()> {
        self.find(id).await?;
        let was_in = self.store.remove_member(id, user_id, part).await?;
        self.access.forget();
        if was_in {
            Ok(())
        } else {
            Err(Error::MemberNotFound)
        }
    }

    /// The people of a group by their ids, behind `after`.
    pub(crate) async fn people(
        &self,
        id: &str,
        part: Option<Part>,
        after: Option<(&str, &str)>,
        limit: Option<i64>,
    ) -> Result<Vec<(Membership, Option<Person>)>> {
        self.find(id).await?;
        let memberships = self.store.list_members(id, part, after, limit).await?;
        let ids: Vec<_> = memberships.iter().map(|one| one.user_id.as_str()).collect();
        let people = self.people.list_by_external_ids(&ids).await?;
        let people: HashMap<_, _> = people
            .into_iter()
            .map(|person| (person.known.external_id.clone(), person))
            .collect();
        let with_person = |one: Membership| {
            let person = people.get(&one.user_id).cloned();
            (one, person)
        };
        Ok(memberships.into_iter().map(with_person).collect())
    }

    /// Gives a group a chatflow within `window`, or changes the window.
    pub(crate) async fn grant(
        &self,
        admin: &Caller,
        id: &str,
        flowise_id: &str,
        window: Window,
    ) -> Result<Chatflow> {
        let now = self.clock.now();
        let window = window
            .check(now)
            .map_err(|empty| Error::invalid("ends_at", empty.reason()))?;
        self.find(id).await?;
        let chatflow = self.chatflow(flowise_id).await?;
        self.store
            .grant(id, chatflow.id, window, &name_of(admin), now)
            .await?;
        self.access.forget();
        Ok(chatflow)
    }

    /// Takes a chatflow from a group.
    pub(crate) async fn revoke(&self, id: &str, flowise_id: &str) -> Result<()> {
        self.find(id).await?;
        let chatflow = self.chatflow(flowise_id).await?;
        let had = self.store.revoke_grant(id, chatflow.id).await?;
        self.access.forget();
        if had { Ok(()) } else { Err(Error::GrantNotFound) }
    }

    /// What a group is given. A chatflow that is gone gives nothing and is left out.
    pub(crate) async fn grants(&self, id: &str) -> Result<Vec<(GroupGrant, Chatflow)>> {
        self.find(id).await?;
        let grants = self.store.list_grants(id).await?;
        let ids: Vec<_> = grants
            .iter()
            .filter_map(|grant| ObjectId::parse_str(&grant.chatflow_id).ok())
            .collect();
        let chatflows = self.chatflows.list_by_ids(&ids).await?;
        let chatflows: HashMap<_, _> = chatflows
            .into_iter()
            .map(|chatflow| (chatflow.id.to_hex(), chatflow))
            .collect();
        let with_chatflow = |grant: GroupGrant| {
            let chatflow = chatflows.get(&grant.chatflow_id)?.clone();
            Some((grant, chatflow))
        };
        Ok(grants.into_iter().filter_map(with_chatflow).collect())
    }

    /// Which groups are given a chatflow.
    pub(crate) async fn groups_of_chatflow(&self, flowise_id: &str) -> Result<Vec<(GroupGrant, Group)>> {
        let chatflow = self.chatflow(flowise_id).await?;
        let grants = self.store.list_grants_of_chatflow(chatflow.id).await?;
        let ids: Vec<_> = grants.iter().map(|grant| grant.group_id.clone()).collect();
        let groups = self.store.list_by_ids(&ids).await?;
        let groups: HashMap<_, _> = groups
            .into_iter()
            .map(|group| (group.id.clone(), group))
            .collect();
        let with_group = |grant: GroupGrant| {
            let group = groups.get(&grant.group_id)?.clone();
            Some((grant, group))
        };
        Ok(grants.into_iter().filter_map(with_group).collect())
    }

    /// What somebody may use by their groups at this moment.
    pub(crate) async fn given_to(&self, user_id: &str) -> Result<Vec<(GroupGrant, Group, Chatflow)>> {
        let grants = self.store.list_given(user_id, self.clock.now()).await?;
        let group_ids: Vec<_> = grants.iter().map(|grant| grant.group_id.clone()).collect();
        let ids: Vec<_> = grants
            .iter()
            .filter_map(|grant| ObjectId::parse_str(&grant.chatflow_id).ok())
            .collect();
        let (groups, chatflows) = futures_util::try_join!(
            self.store.list_by_ids(&group_ids),
            self.chatflows.list_by_ids(&ids),
        )?;
        let groups: HashMap<_, _> = groups
            .into_iter()
            .map(|group| (group.id.clone(), group))
            .collect();
        let chatflows: HashMap<_, _> = chatflows
            .into_iter()
            .map(|chatflow| (chatflow.id.to_hex(), chatflow))
            .collect();
        let whole = |grant: GroupGrant| {
            let group = groups.get(&grant.group_id)?.clone();
            let chatflow = chatflows.get(&grant.chatflow_id)?.clone();
            Some((grant, group, chatflow))
        };
        Ok(grants.into_iter().filter_map(whole).collect())
    }

    async fn chatflow(&self, flowise_id: &str) -> Result<Chatflow> {
        let chatflow = self.chatflows.find(flowise_id).await?;
        chatflow.ok_or(Error::ChatflowNotFound)
    }
}

//! Sees to it that people who were made many at once get what was promised: an invitation, credits, chatflows. It never
//! gives up, and gives nothing twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration as StdDuration,
};

use chrono::{DateTime, Duration, Utc};
use common_http::{Clock, RequestContext};
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::user::{User, UserId},
    error::Result,
    gifts::{Gifts, Given, PEOPLE_MAX},
    mailer::Mailer,
    metrics::AuthMetrics,
    service::resets::Resets,
    store::{
        onboarding::{GiftState, Onboarding, OnboardingStore},
        users::UserStore,
    },
};

/// Whoever began with something and did not finish is not waited for any longer.
const LEASE: Duration = Duration::minutes(2);

/// How often it is looked for what is due.
const LOOK_EVERY: StdDuration = StdDuration::from_secs(2);

/// How often the backlog is counted.
const COUNT_EVERY: u32 = 5;

/// People whose gifts are taken up at once, and of whom credits are given at the same time.
const GIFTS_AT_ONCE: usize = 200;
const CREDITS_AT_ONCE: usize = 8;

/// Invitations taken up at once.
const INVITATIONS_AT_ONCE: i64 = 100;

/// The longest wait between two tries.
const BACK_OFF_MAX: Duration = Duration::minutes(15);

/// Accounting-service remembers idempotency keys for 24 hours. A gift that may have been made longer ago than this is
/// not sent again.
const UNCLEAR_AFTER: Duration = Duration::hours(20);

/// A note about somebody who does not exist is forgotten after this: their account was never made, or is deleted.
const ORPHANED_AFTER: Duration = Duration::minutes(10);

/// Keeps promises.
#[derive(Clone, Debug)]
pub(crate) struct OnboardingDesk {
    store: OnboardingStore,
    users: UserStore,
    gifts: Gifts,
    metrics: AuthMetrics,
    wake: Arc<Notify>,
    clock: Clock,
}

impl OnboardingDesk {
    /// Keeps the promises in `store`.
    pub(crate) fn new(
        store: OnboardingStore,
        users: UserStore,
        gifts: Gifts,
        metrics: AuthMetrics,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            users,
            gifts,
            metrics,
            wake: Arc::default(),
            clock,
        }
    }

    /// Whether credits, and whether chatflows, can ever be given.
    pub(crate) fn can_give(&self) -> (bool, bool) {
        (self.gifts.knows_accounting(), self.gifts.knows_proxy())
    }

    /// Notes down what people will get, before they are made. For a while nobody else begins with it.
    pub(crate) async fn promise(&self, all: &[Onboarding]) -> Result<()> {
        self.store.insert_many(all, self.clock.now() + LEASE).await
    }

    /// Takes back what was noted down for people who were not made.
    pub(crate) async fn withdraw(&self, ids: &[UserId]) -> Result<()> {
        self.store.delete_many(ids).await
    }

    /// The people exist: invites them, and gives them what it can give now. Says how far that went.
    pub(crate) async fn welcome(&self, all: Vec<Onboarding>) -> Result<HashMap<UserId, GiftState>> {
        let ids: Vec<_> = all
            .iter()
            .filter(|one| one.is_invited)
            .map(|one| one.user_id)
            .collect();
        self.store.release_invitations(&ids, self.clock.now()).await?;
        self.wake.notify_one();
        let given: Vec<_> = all.into_iter().filter(|one| !one.gift.is_empty()).collect();
        let ids: Vec<_> = given.iter().map(|one| one.user_id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.give(given).await?;
        self.store.gift_states(&ids).await
    }

    /// How far the gifts of people are who were made earlier.
    pub(crate) async fn gift_states(&self, ids: &[UserId]) -> Result<HashMap<UserId, GiftState>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.store.gift_states(ids).await
    }

    /// Gives what is still to be given, until `stop`.
    pub(crate) async fn keep_giving(self, stop: CancellationToken) {
        let mut looks = 0_u32;
        loop {
            if looks.is_multiple_of(COUNT_EVERY) {
                self.count().await;
            }
            looks = looks.wrapping_add(1);
            let look = RequestContext::background().scope(self.give_due());
            match look.await {
                Ok(true) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(?error, "gifts cannot be looked for; trying on"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Gives what is due; says whether there may be more that can be given now.
    async fn give_due(&self) -> Result<bool> {
        // Where neither neighbour is known nothing can be given; a replica that knows them must not find it claimed.
        if !self.gifts.knows_accounting() && !self.gifts.knows_proxy() {
            return Ok(false);
        }
        let now = self.clock.now();
        let max = i64::try_from(GIFTS_AT_ONCE).unwrap_or(i64::MAX);
        let due = self.store.claim_gifts(max, now, now + LEASE).await?;
        let may_be_more = due.len() == GIFTS_AT_ONCE;
        let (due, _) = self.existing(due, now).await?;
        let was_given = self.give(due).await?;
        Ok(may_be_more && was_given)
    }

    /// Those whose accounts exist. Notes about others wait, because they may be about to be made, or are forgotten.
    async fn existing(
        &self,
        all: Vec<Onboarding>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Onboarding>, HashMap<UserId, User>)> {
        let ids: Vec<_> = all.iter().map(|one| one.user_id).collect();
        let users = self.users.list_by_ids(&ids).await?;
        let users: HashMap<_, _> = users.into_iter().map(|user| (user.id, user)).collect();
        let (here, gone): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| users.contains_key(&one.user_id));
        let gone = gone.iter().filter(|one| one.created_at + ORPHANED_AFTER < now);
        let gone: Vec<_> = gone.map(|one| one.user_id).collect();
        self.store.delete_many(&gone).await?;
        Ok((here, users))
    }

    /// Tries to give all of it, and notes what is left. Says whether anything was given.
    async fn give(&self, mut all: Vec<Onboarding>) -> Result<bool> {
        let now = self.clock.now();
        let wanted: Vec<_> = all.iter().map(|one| one.gift.clone()).collect();
        self.give_credits(&mut all, now).await?;
        self.give_chatflows(&mut all, now).await;
        for one in &all {
            self.store.gifts_left(one, now + back_off(one.tries)).await?;
        }
        Ok(all.iter().zip(&wanted).any(|(one, wanted)| one.gift != *wanted))
    }

    async fn give_credits(&self, all: &mut [Onboarding], now: DateTime<Utc>) -> Result<()> {
        for one in all.iter_mut().filter(|one| one.gift.credits > 0) {
            if one.unclear_since.is_some_and(|since| since + UNCLEAR_AFTER < now) {
                tracing::error!(user.id = %one.user_id, "nobody knows whether credits were given; they are not given again");
                self.store.credits_are_unclear(one.user_id).await?;
                one.gift.credits = 0;
            }
        }
        let wanted: Vec<_> = all
            .iter()
            .filter(|one| one.gift.credits > 0)
            .map(|one| one.user_id)
            .collect();
        if wanted.is_empty() || !self.gifts.knows_accounting() {
            return Ok(());
        }
        self.store.credits_are_being_given(&wanted, now).await?;
        let mut giving = JoinSet::new();
        for place in 0..all.len() {
            if let Some(one) = all.get_mut(place).filter(|one| one.gift.credits > 0) {
                let (gifts, id, credits, before) = (
                    self.gifts.clone(),
                    one.user_id,
                    one.gift.credits,
                    one.unclear_since,
                );
                // Until the answer says otherwise.
                one.unclear_since = before.or(Some(now));
                let give = async move {
                    let given = gifts.give_credits(id, credits, now).await;
                    Attempt { place, before, given }
                };
                giving.spawn(RequestContext::current().scope(give));
            }
            if giving.len() == CREDITS_AT_ONCE {
                note_given(all, giving.join_next().await.as_ref());
            }
        }
        while let Some(given) = giving.join_next().await {
            note_given(all, Some(&given));
        }
        Ok(())
    }

    /// One request gives one chatflow to many.
    async fn give_chatflows(&self, all: &mut [Onboarding], now: DateTime<Utc>) {
        let mut wanted: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for one in all.iter() {
            for chatflow in &one.gift.chatflows {
                wanted.entry(chatflow.clone()).or_default().push(&one.email);
            }
        }
        let mut missing: HashMap<String, HashSet<String>> = HashMap::new();
        for (chatflow, emails) in wanted {
            let mut without = HashSet::new();
            for emails in emails.chunks(PEOPLE_MAX) {
                without.extend(self.gifts.give_chatflow(&chatflow, emails, now).await);
            }
            missing.insert(chatflow, without);
        }
        for one in all {
            let email = one.email.as_str();
            one.gift.chatflows.retain(|chatflow| {
                missing
                    .get(chatflow)
                    .is_none_or(|without| without.contains(email))
            });
        }
    }

    /// Invites whoever is still to be invited, until `stop`; never faster than mails go out.
    pub(crate) async fn keep_inviting(self, resets: Resets, mailer: Mailer, stop: CancellationToken) {
        loop {
            let invite = RequestContext::background().scope(self.invite_due(&resets, &mailer, &stop));
            match invite.await {
                Ok(true) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(?error, "people cannot be invited; trying on"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Invites who is due; says whether there was anybody.
    async fn invite_due(&self, resets: &Resets, mailer: &Mailer, stop: &CancellationToken) -> Result<bool> {
        let now = self.clock.now();
        let due = self
            .store
            .claim_invitations(INVITATIONS_AT_ONCE, now, now + LEASE)
            .await?;
        let (due, users) = self.existing(due, now).await?;
        for one in &due {
            tokio::select! {
                () = mailer.has_room() => {}
                () = stop.cancelled() => return Ok(false),
            }
            // Somebody who has chosen a password meanwhile needs no invitation.
            let waits = |user: &&User| !user.is_disabled && !user.has_password();
            if let Some(user) = users.get(&one.user_id).filter(waits) {
                resets.invite(user, one.actor, None).await?;
            }
            self.store.invited(one.user_id).await?;
        }
        Ok(!due.is_empty())
    }

    async fn count(&self) {
        match self.store.backlog().await {
            Ok(backlog) => {
                let age = backlog
                    .oldest
                    .map_or(0, |oldest| (self.clock.now() - oldest).num_seconds());
                self.metrics.bulk.oldest.set(age);
                for (what, count) in [
                    ("gifts", backlog.gifts),
                    ("invitations", backlog.invitations),
                    ("unclear", backlog.unclear),
                ] {
                    let count = i64::try_from(count).unwrap_or(i64::MAX);
                    self.metrics.bulk.open.with_label_values(&[what]).set(count);
                }
            }
            Err(error) => tracing::warn!(?error, "the backlog of onboarding cannot be counted"),
        }
    }
}

/// What came of giving credits once.
struct Attempt {
    place: usize,
    /// Since when it was unclear whether they had been given, before this attempt.
    before: Option<DateTime<Utc>>,
    given: Given,
}

/// A task that was lost leaves things as unclear as a lost answer.
fn note_given(all: &mut [Onboarding], attempt: Option<&Result<Attempt, JoinError>>) {
    let Some(Ok(attempt)) = attempt else { return };
    let Some(one) = all.get_mut(attempt.place) else {
        return;
    };
    match attempt.given {
        Given::Made => (one.gift.credits, one.unclear_since) = (0, None),
        Given::NotMade => one.unclear_since = attempt.before,
        Given::Unknown => {}
    }
}

/// Doubles with each try.
fn back_off(tries: i32) -> Duration {
    let secs = 2_i64
        .checked_pow(u32::try_from(tries.clamp(1, 20)).unwrap_or(1))
        .unwrap_or(i64::MAX);
    Duration::seconds(secs.min(BACK_OFF_MAX.num_seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let waits: Vec<_> = [0, 1, 2, 3, 9, 10, 100]
            .map(|tries| back_off(tries).num_seconds())
            .into();
        assert_eq!(waits, [2, 2, 4, 8, 512, 900, 900]);
    }
}

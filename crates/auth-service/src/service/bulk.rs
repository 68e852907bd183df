//! Makes people many at a time, each for themselves: what is wrong with one does not keep another from being made.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
};

use common_http::Clock;
use common_jwt::Role;

use crate::{
    domain::{
        import::{Candidate, Row, RowResult, RowStatus},
        origin::Origin,
        user::{NO_PASSWORD, User, UserId},
    },
    error::{Error, Result},
    metrics::AuthMetrics,
    service::{
        accounts::Verification, onboarding::OnboardingDesk, passwords::Passwords, settings::RuntimeSettings,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        onboarding::{GiftState, Onboarding},
        users::{
            UserStore,
            bulk::{Holder, NewUser},
        },
    },
};

/// Why a gift in the row of somebody who exists is not given.
const GIFTS_ARE_FOR_NEW: &str =
    "the account was there before; credits and chatflows are given only with a new one";

/// Makes people.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    users: UserStore,
    desk: OnboardingDesk,
    passwords: Passwords,
    audit: AuditStore,
    metrics: AuthMetrics,
    clock: Clock,
    settings: RuntimeSettings,
}

/// How rows are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Treatment {
    /// Look at everything, change nothing.
    pub(crate) dry_run: bool,
    /// Invite those without a password.
    pub(crate) invite: bool,
    /// How their accounts begin.
    pub(crate) verification: Verification,
}

/// On whose behalf.
#[derive(Clone, Debug)]
pub(crate) struct OnBehalf {
    /// The administrator; nobody when the service's program is run by hand.
    pub(crate) actor: Option<UserId>,
    /// From where.
    pub(crate) origin: Option<Origin>,
}

/// Names and addresses that stood in rows before, as hashes under a seed nobody knows: a hundred thousand take a few
/// megabytes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    names: HashMap<u64, u64>,
    addresses: HashMap<u64, u64>,
    seed: RandomState,
}

/// Who has the names and addresses of some rows already.
struct Holders {
    by_email: HashMap<String, Holder>,
    names: HashSet<String>,
}

/// What will happen to a row.
enum Verdict {
    Done(RowResult),
    Create(Box<Candidate>),
}

impl Bulk {
    /// Makes people in these stores.
    pub(crate) fn new(
        users: UserStore,
        desk: OnboardingDesk,
        passwords: Passwords,
        audit: AuditStore,
        metrics: AuthMetrics,
        clock: Clock,
        settings: RuntimeSettings,
    ) -> Self {
        Self {
            users,
            desk,
            passwords,
            audit,
            metrics,
            clock,
            settings,
        }
    }

    /// What `apply` hands gifts and invitations to.
    pub(crate) fn desk(&self) -> &OnboardingDesk {
        &self.desk
    }

    /// Treats some rows of a table; the results are in the order of the rows.
    pub(crate) async fn apply(
        &self,
        rows: &[Row],
        treatment: Treatment,
        behalf: &OnBehalf,
        seen: &mut Seen,
    ) -> Result<Vec<RowResult>> {
        let holders = self.holders(rows).await?;
        let judge = |row| self.judge_password(row, seen.judge(row, &holders));
        let mut verdicts: Vec<_> = rows.iter().map(judge).collect();
        self.tell_gifts(rows, &mut verdicts).await?;
        let made = if treatment.dry_run {
            HashMap::new()
        } else {
            self.make(&verdicts, treatment, behalf).await?
        };
        let results = rows
            .iter()
            .zip(verdicts)
            .enumerate()
            .map(|(place, (row, verdict))| match verdict {
                Verdict::Done(result) => result,
                Verdict::Create(_) if treatment.dry_run => row.result(RowStatus::Valid, None),
                Verdict::Create(_) => match made.get(&place) {
                    Some(Ok(made)) => RowResult {
                        user_id: Some(made.id),
                        invited: made.is_invited,
                        credits: made.gifts.and_then(|gifts| gifts.credits),
                        chatflows: made.gifts.and_then(|gifts| gifts.chatflows),
                        ..row.result(RowStatus::Created, None)
                    },
                    Some(Err(message)) => row.failed(message.clone()),
                    None => row.failed("was not carried out"),
                },
            });
        let results: Vec<RowResult> = results.collect();
        self.count(&results);
        Ok(results)
    }

    /// Passwords of rows are as long as all others.
    fn judge_password(&self, row: &Row, verdict: Verdict) -> Verdict {
        let Verdict::Create(person) = &verdict else {
            return verdict;
        };
        let checked = person
            .password
            .as_ref()
            .map(|password| self.settings.accept_password(password));
        match checked {
            Some(Err(message)) => Verdict::Done(row.failed(format!("password: {message}"))),
            Some(Ok(())) | None => verdict,
        }
    }

    async fn holders(&self, rows: &[Row]) -> Result<Holders> {
        let people: Vec<_> = rows.iter().filter_map(|row| row.content.as_ref().ok()).collect();
        let emails: Vec<_> = people.iter().map(|person| person.email.as_str()).collect();
        let usernames: Vec<_> = people.iter().map(|person| person.username.as_str()).collect();
        let holders = if emails.is_empty() {
            Vec::new()
        } else {
            self.users.list_holders(&emails, &usernames).await?
        };
        Ok(Holders {
            names: holders.iter().map(|holder| holder.username.clone()).collect(),
            by_email: holders
                .into_iter()
                .map(|holder| (holder.email.clone(), holder))
                .collect(),
        })
    }

    /// Says of people who exist how far their gifts are, where their rows name some.
    async fn tell_gifts(&self, rows: &[Row], verdicts: &mut [Verdict]) -> Result<()> {
        let with_gift = rows
            .iter()
            .zip(verdicts.iter())
            .filter(|(row, _)| names_gift(row));
        let ids: Vec<_> = with_gift.filter_map(|(_, verdict)| verdict.unchanged()).collect();
        let states = self.desk.gift_states(&ids).await?;
        for (row, verdict) in rows.iter().zip(verdicts) {
            let Some(id) = verdict.unchanged().filter(|_| names_gift(row)) else {
                continue;
            };
            let Verdict::Done(result) = verdict else { continue };
            match states.get(&id) {
                Some(state) => (result.credits, result.chatflows) = (state.credits, state.chatflows),
                None => result.message = Some(GIFTS_ARE_FOR_NEW.to_owned()),
            }
        }
        Ok(())
    }

    /// Makes those who are to be made; tells what became of each by their place.
    async fn make(
        &self,
        verdicts: &[Verdict],
        treatment: Treatment,
        behalf: &OnBehalf,
    ) -> Result<HashMap<usize, Result<Made, String>>> {
        let (mut places, mut users, mut promises) = (Vec::new(), Vec::new(), Vec::new());
        for (place, verdict) in verdicts.iter().enumerate() {
            let Verdict::Create(person) = verdict else {
                continue;
            };
            let user = self.user(person, treatment.verification).await?;
            let promise = Onboarding {
                user_id: user.id,
                email: user.email.clone(),
                gift: person.gift.clone(),
                is_invited: treatment.invite && !user.has_password(),
                actor: behalf.actor,
                created_at: user.created_at,
                tries: 0,
                unclear_since: None,
            };
            if promise.is_invited || !promise.gift.is_empty() {
                promises.push(promise);
            }
            users.push(NewUser {
                user,
                role_word: person.role_word.clone(),
            });
            places.push(place);
        }
        self.desk.promise(&promises).await?;
        let refused: HashMap<usize, Error> = self.users.insert_many(&users).await?.into_iter().collect();
        let not_made: Vec<_> = refused
            .keys()
            .filter_map(|index| Some(users.get(*index)?.user.id))
            .collect();
        self.desk.withdraw(&not_made).await?;
        promises.retain(|promise| !not_made.contains(&promise.user_id));
        let invited: Vec<_> = promises
            .iter()
            .filter(|one| one.is_invited)
            .map(|one| one.user_id)
            .collect();
        let made: Vec<_> = users
            .iter()
            .map(|new| &new.user)
            .filter(|user| !not_made.contains(&user.id))
            .collect();
        self.record(&made, behalf).await;
        let gifts = self.desk.welcome(promises).await?;
        let outcome = |(index, (place, new)): (usize, (usize, NewUser))| {
            let id = new.user.id;
            let outcome = match refused.get(&index) {
                Some(error) => Err(error.to_string()),
                None => Ok(Made {
                    id,
                    is_invited: invited.contains(&id),
                    gifts: gifts.get(&id).copied(),
                }),
            };
            (place, outcome)
        };
        Ok(places.into_iter().zip(users).enumerate().map(outcome).collect())
    }

    async fn user(&self, person: &Candidate, verification: Verification) -> Result<User> {
        let password_hash = match &person.password {
            Some(password) => self.passwords.hash_in_background(password).await?,
            None => NO_PASSWORD.to_owned(),
        };
        let now = self.clock.now();
        Ok(User {
            id: UserId::generate(),
            username: person.username.as_str().to_owned(),
            email: person.email.as_str().to_owned(),
            password_hash,
            full_name: person.full_name.clone(),
            is_verified: verification == Verification::Vouched,
            is_disabled: false,
            is_service_account: false,
            awaits_approval: false,
            must_change_password: false,
            password_version: 0,
            role: person.role,
            created_at: now,
            updated_at: now,
            version: 0,
            identities: Vec::new(),
        })
    }

    async fn record(&self, made: &[&User], behalf: &OnBehalf) {
        let events: Vec<_> = made
            .iter()
            .map(|user| AuditEvent {
                action: "user_created",
                outcome: user.role.as_str(),
                actor: behalf.actor,
                subject: Some(user.id),
                session_id: None,
                origin: behalf.origin.as_ref(),
            })
            .collect();
        self.audit.record_all(&events, self.clock.now()).await;
    }

    fn count(&self, results: &[RowResult]) {
        for result in results {
            self.metrics
                .bulk
                .rows
                .with_label_values(&[result.status.as_str()])
                .inc();
        }
    }
}

impl Verdict {
    /// Whose account was there before, if one was.
    fn unchanged(&self) -> Option<UserId> {
        match self {
            Self::Done(result) if result.status == RowStatus::Unchanged => result.user_id,
            Self::Done(_) | Self::Create(_) => None,
        }
    }
}

fn names_gift(row: &Row) -> bool {
    row.content.as_ref().is_ok_and(|person| !person.gift.is_empty())
}

/// Somebody who was made.
struct Made {
    id: UserId,
    is_invited: bool,
    gifts: Option<GiftState>,
}

impl Seen {
    /// What will happen to a row, as far as that is known before it is tried.
    fn judge(&mut self, row: &Row, holders: &Holders) -> Verdict {
        let person = match &row.content {
            Ok(person) => person,
            Err(message) => return Verdict::Done(row.failed(message.clone())),
        };
        let (username, email) = (person.username.as_str(), person.email.as_str());
        if let Some(line) = first_line(&mut self.addresses, self.seed.hash_one(email), row.line) {
            return Verdict::Done(row.failed(format!("the address stands in line {line} already")));
        }
        if let Some(holder) = holders.by_email.get(email) {
            let called =
                (holder.username != username).then(|| format!("the account is called {}", holder.username));
            return Verdict::Done(RowResult {
                user_id: Some(holder.id),
                ..row.result(RowStatus::Unchanged, called)
            });
        }
        if let Some(line) = first_line(&mut self.names, self.seed.hash_one(username), row.line) {
            return Verdict::Done(row.failed(format!("the name stands in line {line} already")));
        }
        if holders.names.contains(username) {
            return Verdict::Done(row.failed(Error::UsernameTaken.to_string()));
        }
        if person.role == Role::Admin {
            return Verdict::Done(row.failed(Error::AdminNotCreatable.to_string()));
        }
        Verdict::Create(Box::new(person.clone()))
    }
}

/// Where this stood first, unless it is here.
fn first_line(lines: &mut HashMap<u64, u64>, hash: u64, line: u64) -> Option<u64> {
    match lines.entry(hash) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(entry) => {
            entry.insert(line);
            None
        }
    }
}

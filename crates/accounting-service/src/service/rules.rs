//! Rules by which credits are granted by themselves: what administrators say of them, and the grants they lead to.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use common_http::{Clock, RequestContext};
use common_jwt::Role;
use futures_util::future::join_all;
use moka::future::Cache;
use uuid::Uuid;

use super::ledger::{Instruction, Ledger, Origin};
use crate::{
    config::RuleSeed,
    domain::{
        ids::{Actor, UserId},
        ledger::{Command, Grant},
        rules::{Rule, RuleClaim, Terms},
    },
    error::{Error, Result},
    metrics::RuleMetrics,
    store::{Arrival, RuleStore},
};

/// How long rules that were read are used for new accounts. Whom a newer rule would have greeted, the sweep does.
const FRESH: Duration = Duration::from_secs(2);

/// Whether a grant was made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It was.
    Now,
    /// It was made before.
    Before,
    /// The ledger refuses it and will again, such as one that makes a balance too large.
    Never,
}

/// Rules, and what they grant.
#[derive(Clone)]
pub struct Rules {
    store: RuleStore,
    ledger: Ledger,
    clock: Clock,
    metrics: RuleMetrics,
    fresh: Cache<(), Arc<Vec<Rule>>>,
}

impl Rules {
    /// Rules in `store` that grant through `ledger`.
    pub fn new(store: RuleStore, ledger: Ledger, clock: Clock, metrics: RuleMetrics) -> Self {
        let fresh = Cache::builder().max_capacity(1).time_to_live(FRESH).build();
        Self {
            store,
            ledger,
            clock,
            metrics,
            fresh,
        }
    }

    /// Makes a rule.
    pub async fn create(&self, terms: Terms, by: &Actor) -> Result<Rule> {
        let rule = self.new_rule(terms);
        self.store.insert(&rule, by).await?;
        self.fresh.invalidate_all();
        Ok(rule)
    }

    /// Changes a rule. When it comes to grant at other times or to others, it begins anew: what was due before is not
    /// granted.
    pub async fn change(&self, id: Uuid, terms: Terms) -> Result<Rule> {
        let known = self.store.find(id).await?.ok_or(Error::RuleNotFound)?;
        let now = self.clock.now();
        let begins_anew = known.terms.grants_otherwise(&terms);
        let rule = Rule {
            active_since: if begins_anew { now } else { known.active_since },
            updated_at: now,
            terms,
            ..known
        };
        if !self.store.update(&rule).await? {
            return Err(Error::RuleNotFound);
        }
        self.fresh.invalidate_all();
        Ok(rule)
    }

    /// Ends a rule; what it granted stays.
    pub async fn delete(&self, id: Uuid) -> Result<()> {
        if !self.store.delete(id, self.clock.now()).await? {
            return Err(Error::RuleNotFound);
        }
        self.fresh.invalidate_all();
        Ok(())
    }

    /// Makes the rules that the configuration asks for, each once in the life of the database.
    pub async fn seed(&self, seeds: &[RuleSeed]) -> Result<()> {
        for seed in seeds {
            let rule = self.new_rule(seed.terms.clone());
            if self.store.seed(&rule, seed.variable).await? {
                tracing::info!(variable = seed.variable, rule.id = %rule.id, "a rule for new accounts was made");
            }
        }
        Ok(())
    }

    /// Gives somebody who has just become known what there is for new accounts. What fails here is made up for by the
    /// sweep, so nobody is refused for it.
    pub async fn welcome(&self, user_id: &UserId, role: Role) {
        let arrival = Arrival {
            user_id: user_id.clone(),
            role,
            known_since: self.clock.now(),
        };
        let welcome = async {
            let rules = self.fresh.try_get_with((), self.read()).await;
            let rules = rules.map_err(|shared: Arc<Error>| {
                tracing::debug!(error = %shared, "rules could not be read");
                Error::Unavailable
            })?;
            let is_for = |rule: &Rule| rule.welcome(arrival.role, arrival.known_since).is_some();
            // For whom there is nothing, the sweep notes it, many at a time.
            if rules.iter().any(is_for) {
                self.greet(&rules, &arrival).await?;
                self.store.welcomed(&[user_id.as_str()], self.clock.now()).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = welcome.await {
            tracing::warn!(%error, user.id = %user_id, "a new account waits for its credits");
        }
    }

    /// Grants everything that is for an arrival.
    pub(super) async fn greet(&self, rules: &[Rule], arrival: &Arrival) -> Result<()> {
        let grants = rules.iter().filter_map(|rule| {
            let claim = rule.welcome(arrival.role, arrival.known_since)?;
            Some(self.grant(rule, claim, &arrival.user_id))
        });
        let granted = join_all(grants).await;
        granted.into_iter().collect::<Result<Vec<_>>>().map(|_| ())
    }

    /// Grants what a rule says, once.
    pub(super) async fn grant(&self, rule: &Rule, claim: RuleClaim, user_id: &UserId) -> Result<Granted> {
        let instruction = Instruction {
            user_id: user_id.clone(),
            command: Command::AllocateByRule {
                grant: self.allocation(rule)?,
                claim,
            },
            description: Some(format!("automatic: {}", rule.terms.name)),
            origin: Origin {
                actor: Actor::system(),
                request_id: RequestContext::current().request_id().to_owned(),
                idempotency: None,
            },
            status: 201,
            render: Box::new(|_| Ok(String::new())),
        };
        let granted = match self.ledger.submit(instruction).await {
            Ok(answer) if answer.replayed => Ok(Granted::Before),
            Ok(_) => Ok(Granted::Now),
            Err(Error::Refused(refusal)) => {
                tracing::warn!(%refusal, rule.id = %rule.id, user.id = %user_id, "a rule's grant was refused");
                Ok(Granted::Never)
            }
            Err(error) => Err(error),
        };
        self.metrics
            .granted(rule.terms.occasion.as_str(), label(&granted));
        granted
    }

    fn allocation(&self, rule: &Rule) -> Result<Grant> {
        let span = TimeDelta::try_days(rule.terms.expiry_days.get());
        let expires_at = span.and_then(|span| self.clock.now().checked_add_signed(span));
        Ok(Grant {
            id: Uuid::now_v7(),
            credits: rule.terms.amount,
            expires_at: expires_at.ok_or(Error::Unreadable("credit_rules.expiry_days"))?,
            allocated_by: Actor::system().as_str().to_owned(),
            notes: Some(rule.terms.name.to_string()),
        })
    }

    async fn read(&self) -> Result<Arc<Vec<Rule>>> {
        Ok(Arc::new(self.store.list().await?))
    }

    fn new_rule(&self, terms: Terms) -> Rule {
        let now = self.clock.now();
        Rule {
            id: Uuid::now_v7(),
            terms,
            active_since: now,
            created_at: now,
            updated_at: now,
        }
    }
}

const fn label(granted: &Result<Granted>) -> &'static str {
    match granted {
        Ok(Granted::Now) => "granted",
        Ok(Granted::Before) => "repeated",
        Ok(Granted::Never) => "refused",
        Err(_) => "failed",
    }
}

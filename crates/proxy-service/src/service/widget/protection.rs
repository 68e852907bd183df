//! What keeps a widget from being worn out: limits of addresses, sites, sessions and embeds, blocks of those who do not
//! stop, and a look at whether a message looks like a machine's.
//!
//! Everything is kept where other limits are: in Redis for all replicas, else in this process.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use common_http::{Clock, Metrics};
use moka::future::Cache;
use prometheus::{IntCounterVec, Opts};

use crate::{
    config::{ProtectionConfig, ThreatResponse},
    domain::{
        embed::MessageLimits,
        pace::Rate,
        threat::{RISK_END_ABOVE, SessionSigns, Signs, Threat},
    },
    error::{Error, Result},
    service::limits::{Draw, Limit, Limits, Told, customer},
};

const MINUTE_SECS: u32 = 60;
const HOUR_SECS: u32 = 3_600;
const DAY_SECS: u32 = 86_400;

/// How long an address is kept out that goes on at one and a half times its limit.
const SPREE_BLOCK_SECS: u32 = 300;

/// How long one is kept out that was over its limit in too many minutes of an hour.
const OFFENDER_BLOCK_SECS: u32 = 1_800;

/// So many minutes of an hour.
const VIOLATIONS_MAX: u32 = 10;

/// How long a session is kept out after it was ended for looking like somebody else's.
const SESSION_BLOCK_SECS: u32 = 3_600;

/// Sessions of an address in an hour; more are a sign. Schools show it, too.
const SESSIONS_PER_HOUR: u32 = 5;

/// How much longer a message takes that looks wrong.
const SLOWED_BY: Duration = Duration::from_secs(3);

/// Sessions whose first address is remembered, and for how long. It is only a sign.
const ADDRESSES_MAX: u64 = 50_000;
const ADDRESS_TTL: Duration = Duration::from_hours(48);

/// Who sends a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) address: IpAddr,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) session_id: &'a str,
    /// When the session began.
    pub(crate) since: DateTime<Utc>,
    /// Messages of the session so far.
    pub(crate) messages: u64,
    /// Whether the browser says something else of itself than when the session began.
    pub(crate) browser_changed: bool,
    /// The site, where it was not counted at the door.
    pub(crate) site: Option<&'a str>,
    pub(crate) embed_id: &'a str,
    pub(crate) limits: MessageLimits,
}

/// What somebody may do, and what they are told about their limits.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ruling {
    pub(crate) told: Vec<Told>,
    pub(crate) outcome: Result<()>,
}

/// Limits of visitors.
#[derive(Clone)]
pub(crate) struct Protection {
    config: ProtectionConfig,
    limits: Limits,
    /// The address a session was first used from.
    addresses: Cache<String, IpAddr>,
    clock: Clock,
    blocks: IntCounterVec,
    threats: IntCounterVec,
}

impl Protection {
    /// Limits as the configuration wants them, counted where `limits` are.
    pub(crate) fn new(
        config: ProtectionConfig,
        limits: Limits,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let ours = Self {
            config,
            limits,
            addresses: Cache::builder()
                .max_capacity(ADDRESSES_MAX)
                .time_to_idle(ADDRESS_TTL)
                .build(),
            clock,
            blocks: counters(
                "widget_blocks_total",
                "Addresses and sessions that were kept out for a while.",
                "of",
            )?,
            threats: counters(
                "widget_threats_total",
                "Messages and sessions that looked wrong.",
                "kind",
            )?,
        };
        for kind in ["spree", "offender", "session"] {
            ours.blocks.with_label_values(&[kind]).inc_by(0);
        }
        for kind in ["bot", "spam", "session"] {
            ours.threats.with_label_values(&[kind]).inc_by(0);
        }
        metrics.register(ours.blocks.clone())?;
        metrics.register(ours.threats.clone())?;
        Ok(ours)
    }

    /// Every request of a visitor, before anything else: their address, and the site they are on where that is known.
    pub(crate) async fn of_request(&self, address: IpAddr, site: Option<&str>) -> Ruling {
        let address = customer(address).to_string();
        let mut draws = vec![looking(spree_block(&address)), looking(offender_block(&address))];
        let tiers = [
            (
                Limit::WidgetAddressMinute,
                self.config.address_per_minute,
                MINUTE_SECS,
                Some(&*address),
            ),
            (
                Limit::WidgetAddressHour,
                self.config.address_per_hour,
                HOUR_SECS,
                Some(&*address),
            ),
            (
                Limit::WidgetDomain,
                self.config.domain_per_minute,
                MINUTE_SECS,
                site,
            ),
        ];
        draws.extend(tiers.into_iter().filter_map(|(limit, count, secs, whose)| {
            (count > 0).then(|| Some(Draw::new(limit, whose?, Rate::within(count, secs))))?
        }));
        let ruling = self.rule(&draws).await;
        if let Some(limit) = refused_by(&ruling.told)
            && matches!(limit, Limit::WidgetAddressMinute | Limit::WidgetAddressHour)
        {
            self.strike(&address).await;
        }
        ruling
    }

    /// A session that was begun: only counted, since everybody in a school begins one.
    pub(crate) async fn note_session(&self, address: IpAddr) {
        let address = customer(address).to_string();
        let _ = self.take(sessions_of(&address)).await;
    }

    /// A message of somebody who has a session.
    pub(crate) async fn of_message(&self, speaker: &Speaker<'_>, text: &str) -> Ruling {
        let MessageLimits {
            per_minute,
            per_hour,
            per_day,
        } = speaker.limits;
        let own = Some(self.config.session_per_minute).filter(|count| *count > 0);
        let of_site = Some(self.config.domain_per_minute).filter(|count| *count > 0);
        let embed = Some(speaker.embed_id);
        let tiers = [
            (Limit::WidgetSession, own, MINUTE_SECS, Some(speaker.session_id)),
            (Limit::WidgetDomain, of_site, MINUTE_SECS, speaker.site),
            (Limit::EmbedMinute, per_minute, MINUTE_SECS, embed),
            (Limit::EmbedHour, per_hour, HOUR_SECS, embed),
            (Limit::EmbedDay, per_day, DAY_SECS, embed),
        ];
        let mut draws = vec![looking(session_block(speaker.session_id))];
        draws.extend(tiers.into_iter().filter_map(|(limit, count, secs, whose)| {
            Some(Draw::new(limit, whose?, Rate::within(count?, secs)))
        }));
        let mut ruling = self.rule(&draws).await;
        if ruling.outcome.is_ok() {
            ruling.outcome = self.look_at(speaker, text).await;
        }
        ruling
    }

    /// Keeps a session out for an hour.
    async fn block_session(&self, session_id: &str) {
        self.blocks.with_label_values(&["session"]).inc();
        let _ = self.take(session_block(session_id)).await;
    }

    async fn look_at(&self, speaker: &Speaker<'_>, text: &str) -> Result<()> {
        let session = self.signs_of(speaker).await;
        let threat = Threat::of(&Signs {
            text,
            user_agent: speaker.user_agent,
            session,
        });
        if !threat.is_suspicious() {
            return Ok(());
        }
        for kind in threat.kinds() {
            self.threats.with_label_values(&[kind]).inc();
        }
        tracing::warn!(
            embed_id = speaker.embed_id,
            session_id = speaker.session_id,
            bot = threat.bot,
            spam = threat.spam,
            risk = threat.risk,
            "a message looks wrong"
        );
        match self.config.response {
            ThreatResponse::Slow => {
                tokio::time::sleep(SLOWED_BY).await;
                Ok(())
            }
            ThreatResponse::Block if threat.risk > RISK_END_ABOVE => {
                self.block_session(speaker.session_id).await;
                Err(Error::Blocked {
                    retry_after_secs: SESSION_BLOCK_SECS.into(),
                })
            }
            ThreatResponse::Block if threat.is_of_text() => Err(Error::MessageRefused),
            ThreatResponse::Log | ThreatResponse::Block => Ok(()),
        }
    }

    async fn signs_of(&self, speaker: &Speaker<'_>) -> SessionSigns {
        let address = customer(speaker.address);
        let first = self
            .addresses
            .get_with_by_ref(speaker.session_id, async { address })
            .await;
        let sessions = looking(sessions_of(&address.to_string()));
        let age = self.clock.now() - speaker.since;
        SessionSigns {
            address_changed: first != address,
            browser_changed: speaker.browser_changed,
            is_one_of_many: !self.take(sessions).await,
            messages: speaker.messages,
            age_secs: u64::try_from(age.num_seconds()).unwrap_or_default(),
        }
    }

    async fn rule(&self, draws: &[Draw]) -> Ruling {
        let mut told = self.limits.of_visitor(draws).await;
        let refused = told
            .iter()
            .find_map(|told| Some((told.limit, told.retry_after_secs?)));
        told.retain(|told| told.limit != Limit::Block);
        let outcome = match refused {
            None => Ok(()),
            Some((Limit::Block, retry_after_secs)) => Err(Error::Blocked { retry_after_secs }),
            Some((_, retry_after_secs)) => Err(Error::RateLimited { retry_after_secs }),
        };
        Ruling { told, outcome }
    }

    /// Notes that an address was over its limit, and keeps it out when it does not stop.
    async fn strike(&self, address: &str) {
        let half = (self.config.address_per_minute / 2).max(1);
        let spree = Draw::new(
            Limit::Block,
            &format!("spree:{address}"),
            Rate::within(half, MINUTE_SECS),
        );
        if !self.take(spree).await && self.take(spree_block(address)).await {
            self.note_block("spree");
        }
        // Over the limit for a whole minute is one violation, not sixty.
        let minute = Draw::new(
            Limit::Block,
            &format!("minute:{address}"),
            Rate::within(1, MINUTE_SECS),
        );
        let violations = Rate::within(VIOLATIONS_MAX, HOUR_SECS);
        let violation = Draw::new(Limit::Block, &format!("violation:{address}"), violations);
        if self.take(minute).await && !self.take(violation).await && self.take(offender_block(address)).await
        {
            self.note_block("offender");
        }
    }

    fn note_block(&self, of: &'static str) {
        self.blocks.with_label_values(&[of]).inc();
        tracing::warn!(of, "an address is kept out for a while");
    }

    /// Whether there was a token.
    async fn take(&self, draw: Draw) -> bool {
        let told = self.limits.of_visitor(&[draw]).await;
        refused_by(&told).is_none()
    }
}

fn refused_by(told: &[Told]) -> Option<Limit> {
    let refused = told.iter().find(|told| told.retry_after_secs.is_some());
    refused.map(|told| told.limit)
}

/// A block is a bucket of one token that takes as long to come back.
fn block(kind: &str, whose: &str, secs: u32) -> Draw {
    Draw::new(Limit::Block, &format!("{kind}:{whose}"), Rate::within(1, secs))
}

fn spree_block(address: &str) -> Draw {
    block("address", address, SPREE_BLOCK_SECS)
}

fn offender_block(address: &str) -> Draw {
    block("offender", address, OFFENDER_BLOCK_SECS)
}

fn session_block(session_id: &str) -> Draw {
    block("session", session_id, SESSION_BLOCK_SECS)
}

fn sessions_of(address: &str) -> Draw {
    let rate = Rate::within(SESSIONS_PER_HOUR, HOUR_SECS);
    Draw::new(Limit::Block, &format!("sessions:{address}"), rate)
}

/// Whether there is a token, which is left.
fn looking(draw: Draw) -> Draw {
    Draw {
        only_looks: true,
        ..draw
    }
}

#[cfg(test)]
mod tests;

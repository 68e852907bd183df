//! One chat turn: a question, the hold that pays for it, and how far it has come.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::payment::Settlement;

/// How long a settled turn is kept: idempotency keys are good for at least a day.
pub const KEPT: TimeDelta = TimeDelta::hours(25);

/// A settlement that fails is tried again at most this much later.
const RETRY_SECS_MAX: i64 = 60;

/// Characters of a question that become the topic of a session.
const TOPIC_CHARS: usize = 50;

/// Characters of the first question shown in the list of sessions.
const FIRST_MESSAGE_CHARS: usize = 500;

/// A turn's id. They sort by time, which keeps the database's index compact.
pub fn new_turn_id() -> String {
    Uuid::now_v7().to_string()
}

/// A session's id: 122 random bits, which nobody guesses.
pub fn new_session_id() -> String {
    Uuid::new_v4().to_string()
}

/// When a settlement that has failed `attempts` times is due again: after 1, 2, 4 ... seconds, for ever.
pub fn next_attempt(attempts: u32, now: DateTime<Utc>) -> DateTime<Utc> {
    let secs = 1_i64.checked_shl(attempts.min(6)).unwrap_or(RETRY_SECS_MAX);
    now + TimeDelta::seconds(secs.min(RETRY_SECS_MAX))
}

/// How long streams may go on after SIGTERM: the grace, less the time it takes to end and settle them.
pub fn streaming_grace(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 4).min(Duration::from_secs(5)))
}

/// What a session is called in lists.
pub fn topic_of(question: &str) -> String {
    let topic: String = question.chars().take(TOPIC_CHARS).collect();
    if topic.len() < question.len() {
        topic + "..."
    } else {
        topic
    }
}

/// How a session's first question is shown in lists.
pub fn first_message_of(question: &str) -> String {
    question.chars().take(FIRST_MESSAGE_CHARS).collect()
}

/// A finished turn that accounting-service may not know of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The turn.
    pub id: String,
    /// Who pays.
    pub user_id: String,
    /// The chatflow, by Flowise's id.
    pub chatflow_id: String,
    /// Credits held.
    pub held: i64,
    /// What becomes of them.
    pub settlement: Settlement,
    /// Whether the answer was whole.
    pub success: bool,
    /// The tokens it took, where they are known.
    pub total_tokens: Option<i64>,
    /// How often accounting-service has been told in vain.
    pub attempts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlements_are_retried_for_ever_at_growing_but_bounded_intervals() {
        let now = DateTime::UNIX_EPOCH;
        let secs = |attempts| (next_attempt(attempts, now) - now).num_seconds();
        assert_eq!([0, 1, 2, 5, 6, 7, u32::MAX].map(secs), [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn a_part_of_the_grace_is_left_for_settling() {
        let secs = |grace| streaming_grace(Duration::from_secs(grace)).as_secs();
        assert_eq!([0, 4, 30, 300].map(secs), [0, 3, 25, 295]);
    }

    #[test]
    fn a_topic_is_the_beginning_of_the_question() {
        assert_eq!(topic_of("hello"), "hello");
        assert_eq!(topic_of(&"你".repeat(50)), "你".repeat(50));
        assert_eq!(topic_of(&"a".repeat(51)), format!("{}...", "a".repeat(50)));
    }
}

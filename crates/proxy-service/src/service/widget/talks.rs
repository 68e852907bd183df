//! Messages of visitors: whose session, at whose expense, and what is said where the owner cannot pay.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Map, Value};

use super::visits::Visits;
use crate::{
    domain::{
        embed::{Embed, LANGUAGE_DEFAULT},
        visitor::Visitor,
    },
    error::{Error, Result},
    service::{
        people::People,
        turns::{Answered, Begun, Turns, VisitorTurn},
    },
};

/// The text of an embed for visitors whose messages nobody pays for.
const UNAVAILABLE: &str = "messages.unavailable";

/// The same where the embed has none.
const UNAVAILABLE_DEFAULT: &str =
    "Sorry, the assistant is not available at the moment. Please try again later.";

/// Has visitors' messages answered.
#[derive(Clone)]
pub(crate) struct Talks {
    turns: Turns,
    visits: Visits,
    people: People,
}

/// A message, as it was sent.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) conversation: Option<String>,
    pub(crate) page_url: Option<String>,
    pub(crate) context: Option<Map<String, Value>>,
    pub(crate) client_ip: IpAddr,
    pub(crate) user_agent: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) key: Option<String>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Its answer.
    Streaming(Begun),
    /// Nobody pays for an answer; this is said instead.
    Sorry(String),
}

impl Talks {
    /// Answers by these turns, for these sessions.
    pub(crate) fn new(turns: Turns, visits: Visits, people: People) -> Self {
        Self {
            turns,
            visits,
            people,
        }
    }

    /// Begins the answer to a message; says whether the session's cookie has to be renewed.
    pub(crate) async fn stream(&self, visitor: &mut Visitor, said: Said) -> Result<(Reply, bool)> {
        let embed = self.visits.embed_of(visitor).await?;
        let renewed = self.visits.prolong(visitor, 1).await?;
        let language = said.language.clone();
        let turn = self.turn_of(visitor, embed.clone(), said).await?;
        let reply = match self.turns.stream_for_visitor(turn).await {
            Ok(begun) => Reply::Streaming(begun),
            Err(Error::InsufficientCredits { .. } | Error::BudgetReached) => {
                Reply::Sorry(unavailable(&embed, language.as_deref()))
            }
            Err(error) => return Err(error),
        };
        Ok((reply, renewed))
    }

    /// Answers a message whole.
    pub(crate) async fn answer(&self, visitor: &mut Visitor, said: Said) -> Result<(Answered, bool)> {
        let embed = self.visits.embed_of(visitor).await?;
        let renewed = self.visits.prolong(visitor, 1).await?;
        let turn = self.turn_of(visitor, embed, said).await?;
        match self.turns.answer_visitor(turn).await {
            Ok(answered) => Ok((answered, renewed)),
            // What its owner has left is nothing to an embed's visitors.
            Err(Error::InsufficientCredits { .. }) => Err(Error::BudgetReached),
            Err(error) => Err(error),
        }
    }

    /// Ends one of the visitor's answers, that the next message need not wait for it. What was said is kept and paid for.
    pub(crate) async fn stop(&self, visitor: &Visitor, turn_id: &str) -> Result<()> {
        self.turns
            .stop_turn_of(&visitor.talker_id(), turn_id)
            .await
            .map(drop)
    }

    async fn turn_of(&self, visitor: &Visitor, embed: Arc<Embed>, said: Said) -> Result<VisitorTurn> {
        let payer = self.people.payer(&embed.owner_id).await?;
        Ok(VisitorTurn {
            conversation_id: visitor.conversation_id(said.conversation.as_deref()),
            visitor: visitor.clone(),
            payer: payer.ok_or(Error::EmbedNotFound)?,
            embed,
            text: said.text,
            page_url: said.page_url,
            client_ip: said.client_ip,
            user_agent: said.user_agent,
            context: said.context,
            key: said.key,
        })
    }
}

fn unavailable(embed: &Embed, language: Option<&str>) -> String {
    let texts = embed.texts_in(language.unwrap_or(LANGUAGE_DEFAULT));
    let text = texts.and_then(|texts| texts.get(UNAVAILABLE));
    text.map_or(UNAVAILABLE_DEFAULT, String::as_str).to_owned()
}

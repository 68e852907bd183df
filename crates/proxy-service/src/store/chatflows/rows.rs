//! How a chatflow is written down, readable for what older deployments wrote.

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::chatflow::{Chatflow, ChatflowRecord, ListedChatflow, Price, SyncStatus, UsagePrice};

#[derive(Deserialize)]
pub(super) struct ChatflowRow {
    #[serde(rename = "_id")]
    id: ObjectId,
    flowise_id: String,
    name: Option<String>,
    description: Option<String>,
    deployed: Option<bool>,
    is_public: Option<bool>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    api_key_id: Option<String>,
    flow_data: Option<Bson>,
    chatbot_config: Option<Bson>,
    api_config: Option<Bson>,
    analytic_config: Option<Bson>,
    speech_to_text_config: Option<Bson>,
    created_date: Option<bson::DateTime>,
    updated_date: Option<bson::DateTime>,
    synced_at: Option<bson::DateTime>,
    sync_status: Option<String>,
    sync_error: Option<String>,
    price: Option<i64>,
    usage_price: Option<UsagePriceRow>,
    override_config_allowed: Option<Vec<String>>,
    show_inner_events: Option<bool>,
    daily_turns_max: Option<i64>,
    daily_turns_per_user_max: Option<i64>,
}

#[derive(Deserialize)]
struct UsagePriceRow {
    model_id: String,
    estimated_tokens: i64,
}

impl ChatflowRow {
    pub(super) fn into_record(self, price_default: i64) -> ChatflowRecord {
        let time = |time: Option<bson::DateTime>| time.map(bson::DateTime::to_chrono);
        let name = self.name.unwrap_or_else(|| self.flowise_id.clone());
        let flat = || Price::Flat(self.price.unwrap_or(price_default));
        let by_usage = |row: UsagePriceRow| {
            Price::ByUsage(UsagePrice {
                model_id: row.model_id,
                estimated_tokens: row.estimated_tokens,
            })
        };
        let price = self.usage_price.map_or_else(flat, by_usage);
        ChatflowRecord {
            chatflow: Chatflow {
                id: self.id,
                flowise_id: self.flowise_id,
                name,
                description: self.description,
                category: self.category,
                kind: self.kind.unwrap_or_else(|| "CHATFLOW".to_owned()),
                deployed: self.deployed.unwrap_or_default(),
                is_public: self.is_public.unwrap_or_default(),
                created_date: time(self.created_date),
                updated_date: time(self.updated_date),
                sync_status: SyncStatus::from_stored(self.sync_status.as_deref().unwrap_or_default()),
                price,
                override_config_allowed: self.override_config_allowed.unwrap_or_default(),
                show_inner_events: self.show_inner_events.unwrap_or_default(),
                daily_turns_max: self.daily_turns_max,
                daily_turns_per_user_max: self.daily_turns_per_user_max,
            },
            api_key_id: self.api_key_id,
            flow_data: to_json(self.flow_data),
            chatbot_config: to_json(self.chatbot_config),
            api_config: to_json(self.api_config),
            analytic_config: to_json(self.analytic_config),
            speech_to_text_config: to_json(self.speech_to_text_config),
            synced_at: time(self.synced_at),
            sync_error: self.sync_error,
        }
    }
}

/// The statement that writes one listed chatflow; what administrators set on it stays.
pub(super) fn upsert(listed: &ListedChatflow, listed_at: DateTime<Utc>) -> Document {
    let time = |time: Option<DateTime<Utc>>| time.map(bson::DateTime::from_chrono);
    doc! {
        "q": { "flowise_id": &listed.flowise_id, "synced_at": not_after(listed_at) },
        "u": { "$set": {
            "name": &listed.name,
            "description": &listed.description,
            "deployed": listed.deployed,
            "is_public": listed.is_public,
            "category": &listed.category,
            "type": &listed.kind,
            "api_key_id": &listed.api_key_id,
            "flow_data": to_bson(listed.flow_data.as_ref()),
            "chatbot_config": to_bson(listed.chatbot_config.as_ref()),
            "api_config": to_bson(listed.api_config.as_ref()),
            "analytic_config": to_bson(listed.analytic_config.as_ref()),
            "speech_to_text_config": to_bson(listed.speech_to_text_config.as_ref()),
            "created_date": time(listed.created_date),
            "updated_date": time(listed.updated_date),
            "synced_at": bson::DateTime::from_chrono(listed_at),
            "sync_status": SyncStatus::Active.as_str(),
            "sync_error": Bson::Null,
        } },
        "upsert": true,
    }
}

/// Matches a time that is not later, also one that was never written.
pub(super) fn not_after(time: DateTime<Utc>) -> Document {
    doc! { "$not": { "$gt": bson::DateTime::from_chrono(time) } }
}

fn to_json(stored: Option<Bson>) -> Option<Value> {
    match stored {
        None | Some(Bson::Null) => None,
        Some(value) => serde_json::to_value(value).ok(),
    }
}

/// JSON as the database can hold it; null when a member's name could be read as an operator or as the end of a name.
fn to_bson(value: Option<&Value>) -> Bson {
    value.and_then(storable).unwrap_or(Bson::Null)
}

fn storable(value: &Value) -> Option<Bson> {
    Some(match value {
        Value::Null => Bson::Null,
        Value::Bool(flag) => Bson::Boolean(*flag),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| number.as_f64().map_or(Bson::Null, Bson::Double), Bson::Int64),
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(items) => Bson::Array(items.iter().map(storable).collect::<Option<_>>()?),
        Value::Object(members) => {
            let mut document = Document::new();
            for (name, value) in members {
                if name.starts_with('$') || name.contains('\0') {
                    return None;
                }
                document.insert(name.clone(), storable(value)?);
            }
            Bson::Document(document)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_went_in() {
        let config = json!({ "a.b": [1, 2.5, null, "x", { "deep": true }], "big": i64::MAX });
        assert_eq!(to_json(Some(to_bson(Some(&config)))), Some(config));
        assert_eq!(to_json(Some(to_bson(None))), None);
    }

    #[test]
    fn names_that_mean_something_to_the_database_are_not_stored() {
        for config in [json!({ "$where": "1" }), json!({ "a": [{ "b\0": 1 }] })] {
            assert_eq!(to_bson(Some(&config)), Bson::Null, "{config}");
        }
    }
}

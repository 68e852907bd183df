//! Bodies of the catalog, as documented.

use common_http::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::chatflow::{ChatflowRecord, Price, UsagePrice},
    service::catalog_sync::SyncReport,
};

/// A chatflow: the documented members in their order, then those of our own.
#[derive(Serialize)]
pub(super) struct ChatflowBody {
    #[serde(rename = "_id")]
    id: String,
    flowise_id: String,
    name: String,
    description: Option<String>,
    deployed: bool,
    is_public: bool,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    api_key_id: Option<String>,
    flow_data: Option<Value>,
    chatbot_config: Option<Value>,
    api_config: Option<Value>,
    analytic_config: Option<Value>,
    speech_to_text_config: Option<Value>,
    created_date: Option<Timestamp>,
    updated_date: Option<Timestamp>,
    synced_at: Option<Timestamp>,
    sync_status: &'static str,
    sync_error: Option<String>,
    /// The flat price; null where it is by usage.
    price: Option<i64>,
    usage_price: Option<UsagePriceBody>,
    override_config_allowed: Vec<String>,
    show_inner_events: bool,
    daily_turns_max: Option<i64>,
    daily_turns_per_user_max: Option<i64>,
}

#[derive(Serialize)]
struct UsagePriceBody {
    model_id: String,
    estimated_tokens: i64,
}

impl From<UsagePrice> for UsagePriceBody {
    fn from(price: UsagePrice) -> Self {
        Self {
            model_id: price.model_id,
            estimated_tokens: price.estimated_tokens,
        }
    }
}

impl From<ChatflowRecord> for ChatflowBody {
    fn from(record: ChatflowRecord) -> Self {
        let chatflow = record.chatflow;
        let (price, usage_price) = match chatflow.price {
            Price::Flat(credits) => (Some(credits), None),
            Price::ByUsage(price) => (None, Some(price.into())),
        };
        Self {
            id: chatflow.id.to_hex(),
            flowise_id: chatflow.flowise_id,
            name: chatflow.name,
            description: chatflow.description,
            deployed: chatflow.deployed,
            is_public: chatflow.is_public,
            category: chatflow.category,
            kind: chatflow.kind,
            api_key_id: record.api_key_id,
            flow_data: record.flow_data,
            chatbot_config: record.chatbot_config,
            api_config: record.api_config,
            analytic_config: record.analytic_config,
            speech_to_text_config: record.speech_to_text_config,
            created_date: chatflow.created_date.map(Timestamp),
            updated_date: chatflow.updated_date.map(Timestamp),
            synced_at: record.synced_at.map(Timestamp),
            sync_status: chatflow.sync_status.as_str(),
            sync_error: record.sync_error,
            price,
            usage_price,
            override_config_allowed: chatflow.override_config_allowed,
            show_inner_events: chatflow.show_inner_events,
            daily_turns_max: chatflow.daily_turns_max,
            daily_turns_per_user_max: chatflow.daily_turns_per_user_max,
        }
    }
}

/// What a synchronisation did.
#[derive(Serialize)]
pub(super) struct SyncBody {
    total_fetched: usize,
    created: u64,
    updated: u64,
    deleted: u64,
    errors: usize,
    error_details: Vec<SyncErrorBody>,
}

#[derive(Serialize)]
struct SyncErrorBody {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    chatflow_id: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl From<SyncReport> for SyncBody {
    fn from(report: SyncReport) -> Self {
        let details = report.errors.into_iter().map(|error| SyncErrorBody {
            error: error.error,
            chatflow_id: error.chatflow_id,
            kind: error.kind,
        });
        let error_details: Vec<_> = details.collect();
        Self {
            total_fetched: report.total_fetched,
            created: report.created,
            updated: report.updated,
            deleted: report.deleted,
            errors: error_details.len(),
            error_details,
        }
    }
}

//! Chatflows as Flowise's clients see them, of those the person may use: without prompts, credentials and addresses.

use actix_web::{HttpResponse, web};
use common_http::{CurrentUser, Path, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    error::Result,
    service::{chatflows::AssignedChatflow, chats::Chats},
};

/// The version of Flowise whose clients are at home here.
const VERSION: &str = "3.1.4";

/// The members of Flowise's settings of a chat window that say how it looks and what it offers. No others leave: some
/// hold prompts, code, or ids of credentials, and some offer what has no path here. A window that is told to ask for
/// `leads` lets nobody write who has not given theirs, and one with `isTTSEnabled` has a button that fails.
const SHOWN: [&str; 23] = [
    "welcomeMessage",
    "errorMessage",
    "title",
    "titleAvatarSrc",
    "showTitle",
    "showAgentMessages",
    "backgroundColor",
    "backgroundImage",
    "fontSize",
    "botMessage",
    "userMessage",
    "textInput",
    "footer",
    "feedback",
    "dateTimeToggle",
    "poweredByTextColor",
    "renderHTML",
    "sourceDocsTitle",
    "starterPrompts",
    "starterPromptFontSize",
    "chatFeedback",
    "chatHistory",
    "chatLinksInNewTab",
];

/// Of a setting that holds more than it may show, these members.
const SHOWN_OF: [(&str, &[&str]); 2] = [
    ("fullFileUpload", &["status", "allowedUploadFileTypes"]),
    ("followUpPrompts", &["status"]),
];

/// Of a node, what a chat window needs: whether the flow begins with a form, and which.
const SHOWN_OF_NODE: [&str; 4] = ["id", "name", "label", "version"];
const SHOWN_OF_START: [&str; 4] = ["startInputType", "formTitle", "formDescription", "formInputTypes"];

/// The node that agentflows begin with.
const START: &str = "startAgentflow";

/// `?page=&limit=` of Flowise's list.
#[derive(Debug, Default, Deserialize)]
pub(in crate::routes) struct Page {
    page: Option<String>,
    limit: Option<String>,
}

impl Page {
    /// The list as Flowise gives it: an array, or with both of them a page and the number of all.
    pub(in crate::routes) fn answer(&self, flows: Vec<ListedFlow>) -> Value {
        let number = |text: &Option<String>| text.as_deref()?.parse::<usize>().ok();
        match (number(&self.page), number(&self.limit)) {
            (Some(page @ 1..), Some(limit @ 1..)) => {
                let total = flows.len();
                let behind = (page - 1).saturating_mul(limit);
                let data: Vec<_> = flows.into_iter().skip(behind).take(limit).collect();
                json!({ "data": data, "total": total })
            }
            _ => json!(flows),
        }
    }

    /// Whether a page in Flowise's way is asked for.
    pub(in crate::routes) fn is_given(&self) -> bool {
        self.page.is_some()
    }
}

/// A chatflow in the list that both our own clients and Flowise's read.
#[derive(Debug, Serialize)]
pub(in crate::routes) struct ListedFlow {
    id: String,
    name: String,
    description: Option<String>,
    is_public: bool,
    #[serde(rename = "isPublic")]
    public: bool,
    deployed: bool,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "createdDate")]
    created: Option<Timestamp>,
    #[serde(rename = "updatedDate")]
    updated: Option<Timestamp>,
}

impl From<AssignedChatflow> for ListedFlow {
    fn from(AssignedChatflow { chatflow, .. }: AssignedChatflow) -> Self {
        Self {
            id: chatflow.flowise_id,
            name: chatflow.name,
            description: chatflow.description,
            is_public: chatflow.is_public,
            public: chatflow.is_public,
            deployed: chatflow.deployed,
            category: chatflow.category,
            kind: chatflow.kind,
            created: chatflow.created_date.map(Timestamp),
            updated: chatflow.updated_date.map(Timestamp),
        }
    }
}

/// `GET /api/v1/public-chatbotConfig/{flowise_id}`: how a chat window shows the chatflow.
#[tracing::instrument(skip_all)]
pub(super) async fn show_chatbot_config(
    user: CurrentUser,
    flowise_id: Path<String>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let (record, rules) = chats.settings(&user, &flowise_id).await?;
    let mut config = match record.chatbot_config {
        Some(Value::Object(config)) => shown(config),
        _ => Map::new(),
    };
    config.insert("uploads".to_owned(), json!(rules));
    config.insert(
        "flowData".to_owned(),
        graph(record.flow_data.as_ref()).to_string().into(),
    );
    Ok(HttpResponse::Ok().json(config))
}

/// `GET /api/v1/chatflows-streaming/{flowise_id}`: whether its answers can be streamed. Whoever does not say who they are hears
/// the same of every chatflow, there or not, and nobody is asked.
#[tracing::instrument(skip_all)]
pub(super) async fn show_whether_it_streams(
    user: Option<CurrentUser>,
    flowise_id: Path<String>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let streams = match user {
        Some(user) => chats.streams(&user, &flowise_id).await?,
        None => true,
    };
    Ok(HttpResponse::Ok().json(json!({ "isStreaming": streams })))
}

/// `GET /api/v1/chatflows-uploads/{flowise_id}`: what may be uploaded to it.
#[tracing::instrument(skip_all)]
pub(super) async fn show_uploads(
    user: CurrentUser,
    flowise_id: Path<String>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let rules = chats.upload_rules(&user, &flowise_id).await?;
    Ok(HttpResponse::Ok().json(rules))
}

/// `GET /api/v1/ping`.
pub(super) async fn ping() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body("pong")
}

/// `GET /api/v1/version`: of the Flowise whose API this is.
pub(super) async fn show_version() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "version": VERSION }))
}

fn shown(mut config: Map<String, Value>) -> Map<String, Value> {
    for (name, members) in SHOWN_OF {
        if let Some(Value::Object(setting)) = config.get_mut(name) {
            setting.retain(|member, _| members.contains(&member.as_str()));
        }
    }
    let is_reduced = |name: &str| SHOWN_OF.iter().any(|(reduced, _)| *reduced == name);
    config.retain(|name, value| SHOWN.contains(&name.as_str()) || (is_reduced(name) && value.is_object()));
    config
}

/// The graph, as far as a chat window reads it.
fn graph(flow_data: Option<&Value>) -> Value {
    let nodes = flow_data.and_then(|graph| graph["nodes"].as_array());
    let nodes: Vec<Value> = nodes.into_iter().flatten().map(node).collect();
    json!({ "nodes": nodes, "edges": [] })
}

fn node(node: &Value) -> Value {
    let data = &node["data"];
    let pick = |from: &Value, members: &[&str]| -> Map<String, Value> {
        let there = members.iter().filter(|member| !from[**member].is_null());
        there
            .map(|member| ((*member).to_owned(), from[*member].clone()))
            .collect()
    };
    let mut shown = pick(data, &SHOWN_OF_NODE);
    let inputs = if data["name"] == START {
        pick(&data["inputs"], &SHOWN_OF_START)
    } else {
        Map::new()
    };
    shown.insert("inputs".to_owned(), Value::Object(inputs));
    json!({ "id": node["id"], "data": shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_settings_only_what_a_window_shows_leaves() {
        let config = json!({
            "welcomeMessage": "Hi",
            "starterPrompts": { "0": { "prompt": "What is this?" } },
            "followUpPrompts": { "status": true, "chatOpenAI": { "credentialId": "c", "prompt": "secret" } },
            "fullFileUpload": { "status": true, "allowedUploadFileTypes": "text/plain", "pdfFile": { "x": 1 } },
            "postProcessing": { "customFunction": "secret" },
            "allowedOrigins": ["https://inside.example"],
            "leads": { "status": true, "title": "Who are you?" },
            "isTTSEnabled": true,
        });
        let expected = json!({
            "welcomeMessage": "Hi",
            "starterPrompts": { "0": { "prompt": "What is this?" } },
            "followUpPrompts": { "status": true },
            "fullFileUpload": { "status": true, "allowedUploadFileTypes": "text/plain" },
        });
        assert_eq!(
            Value::Object(shown(config.as_object().unwrap().clone())),
            expected
        );
    }

    #[test]
    fn of_the_graph_only_the_form_it_begins_with_leaves() {
        let flow = json!({ "nodes": [
            { "id": "s", "data": { "name": "startAgentflow", "credential": "c", "inputs": {
                "startInputType": "formInput", "formTitle": "Order", "startState": "secret" } } },
            { "id": "l", "data": { "name": "llmAgentflow", "label": "LLM", "inputs": {
                "llmMessages": "secret", "basepath": "http://inside" } } },
        ], "edges": [{ "id": "e" }] });
        let shown = graph(Some(&flow));
        assert_eq!(
            shown["nodes"][0]["data"]["inputs"],
            json!({ "startInputType": "formInput", "formTitle": "Order" })
        );
        assert_eq!(
            shown["nodes"][1]["data"],
            json!({ "name": "llmAgentflow", "label": "LLM", "inputs": {} })
        );
        let text = shown.to_string();
        assert!(
            !text.contains("secret") && !text.contains("inside") && !text.contains("credential"),
            "{text}"
        );
        assert_eq!(graph(None), json!({ "nodes": [], "edges": [] }));
    }

    #[test]
    fn a_page_is_given_only_where_both_numbers_are() {
        let page = |page: Option<usize>, limit: Option<usize>| {
            let text = |number: Option<usize>| number.map(|number| number.to_string());
            let (page, limit) = (text(page), text(limit));
            Page { page, limit }.answer(Vec::new())
        };
        assert_eq!(page(None, None), json!([]));
        assert_eq!(page(Some(1), None), json!([]));
        assert_eq!(page(Some(3), Some(2)), json!({ "data": [], "total": 0 }));
        assert_eq!(
            page(Some(usize::MAX), Some(usize::MAX)),
            json!({ "data": [], "total": 0 })
        );
    }
}

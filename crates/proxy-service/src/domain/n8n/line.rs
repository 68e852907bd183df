//! One line of a stream: which node says what.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::document::{Told, tell};

/// What a line of a streaming workflow says. `node` is the name that the workflow's author gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Begin {
        node: String,
    },
    Item {
        node: String,
        content: String,
    },
    End {
        node: String,
    },
    /// Its words, where there are any, are a provider's: they may name keys and accounts, and are not read.
    Error,
}

impl Line {
    /// Reads a line; `None` when it is not one of a stream.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            #[serde(default)]
            content: Value,
            #[serde(default, borrow)]
            metadata: Option<&'a RawValue>,
        }
        let raw: Raw = serde_json::from_slice(line).ok()?;
        let node = || raw.metadata.map(node_name).unwrap_or_default();
        Some(match &*raw.kind {
            "begin" => Self::Begin { node: node() },
            "item" => Self::Item {
                node: node(),
                content: if let Value::String(text) = raw.content {
                    text
                } else if let Told::Text(text) = tell(&raw.content) {
                    text
                } else {
                    String::new()
                },
            },
            "end" => Self::End { node: node() },
            "error" => Self::Error,
            _ => return None,
        })
    }

    /// Whether it comes from one of these nodes. Errors concern all; without names every node is wanted.
    pub(super) fn is_of(&self, nodes: &[String]) -> bool {
        match self {
            Self::Error => true,
            Self::Begin { node } | Self::Item { node, .. } | Self::End { node } => {
                nodes.is_empty() || nodes.contains(node)
            }
        }
    }
}

fn node_name(metadata: &RawValue) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        node_name: String,
    }
    serde_json::from_str::<Metadata>(metadata.get())
        .map(|metadata| metadata.node_name)
        .unwrap_or_default()
}

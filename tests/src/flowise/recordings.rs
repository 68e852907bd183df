//! The recorded exchanges with Flowise 3.1.4 that the stand-in answers from, compiled in.

/// One request to Flowise and what it answered, byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    /// The name of its folder.
    pub case: &'static str,
    /// What was sent.
    pub request: &'static str,
    /// What came back: the head, then the body in its chunks.
    pub response: &'static str,
    /// The body without chunk framing.
    pub body: &'static str,
}

impl Recording {
    /// The question of the request, when it had one.
    pub fn question(&self) -> Option<String> {
        let (_, body) = self.request.split_once("\r\n\r\n")?;
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(body.get("question")?.as_str()?.to_owned())
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        let code = self.response.split(' ').nth(1);
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// The headers of the answer, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let head = self.response.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().skip(1).filter_map(|line| line.split_once(": "))
    }

    /// One header of the answer.
    pub fn header(&self, name: &str) -> Option<&'static str> {
        self.headers()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

macro_rules! recordings {
    ($($name:ident = $case:literal;)*) => {
        $(pub(super) const $name: Recording = Recording {
            case: $case,
            request: include_str!(concat!("../../recordings/flowise/", $case, "/request.http")),
            response: include_str!(concat!("../../recordings/flowise/", $case, "/response.http")),
            body: include_str!(concat!("../../recordings/flowise/", $case, "/body")),
        };)*

        /// Every recording, in no meaningful order.
        pub const ALL: &[Recording] = &[$($name),*];
    };
}

recordings! {
    ABORT_CALL_CHAT = "abort-call-chat";
    ABORT_CALL_LLM = "abort-call-llm";
    ABORT_STREAM_CHAT = "abort-stream-chat";
    ABORT_STREAM_LLM = "abort-stream-llm";
    ATTACHMENT_OK = "attachment-ok";
    BAD_EMPTY_BODY = "bad-empty-body";
    BAD_JSON = "bad-json";
    BAD_JSON_ARRAY = "bad-json-array";
    BAD_METHOD_GET = "bad-method-get";
    BAD_NO_ID = "bad-no-id";
    BAD_TEXT_PLAIN = "bad-text-plain";
    BAD_TOO_LARGE = "bad-too-large";
    BAD_UNKNOWN_FLOW_JSON = "bad-unknown-flow-json";
    BAD_UUID_JSON = "bad-uuid-json";
    CHATFLOWS_BAD_KEY = "chatflows-bad-key";
    CHATFLOWS_BAD_PAGE = "chatflows-bad-page";
    CHATFLOWS_FULL_KEY = "chatflows-full-key";
    CHATFLOWS_NO_KEY = "chatflows-no-key";
    CHATFLOWS_STREAMING_CHAT = "chatflows-streaming-chat";
    CHATFLOWS_STREAMING_DIRECT = "chatflows-streaming-direct";
    CHATFLOWS_STREAMING_FUNCTION = "chatflows-streaming-function";
    CHATFLOWS_STREAMING_UNKNOWN = "chatflows-streaming-unknown";
    CHATFLOWS_UPLOADS = "chatflows-uploads-upload";
    CHATFLOW_GET = "chatflow-get";
    CHATFLOW_GET_BAD_UUID = "chatflow-get-bad-uuid";
    CHATFLOW_GET_NO_KEY = "chatflow-get-no-key";
    CHATFLOW_GET_UNKNOWN = "chatflow-get-unknown";
    CHATMESSAGE_ABORT_UNKNOWN = "chatmessage-abort-unknown";
    INTERNAL_HEADER_WITH_KEY = "internal-header-with-key";
    KEYED_NO_KEY_JSON = "keyed-no-key-json";
    KEYED_NO_KEY_STREAM = "keyed-no-key-stream";
    KEYED_RIGHT_KEY_JSON = "keyed-right-key-json";
    KEYED_RIGHT_KEY_STREAM = "keyed-right-key-stream";
    KEYED_WRONG_KEY_JSON = "keyed-wrong-key-json";
    LIMITED = "limited-3";
    MODEL_FAIL401_CHAT_JSON = "model-fail401-chat-json";
    MODEL_FAIL401_CHAT_STREAM = "model-fail401-chat-stream";
    MODEL_FAIL401_LLM_JSON = "model-fail401-llm-json";
    MODEL_FAIL401_LLM_STREAM = "model-fail401-llm-stream";
    MODEL_FAIL429_CHAT_JSON = "model-fail429-chat-json";
    MODEL_FAIL429_CHAT_STREAM = "model-fail429-chat-stream";
    MODEL_FAIL429_LLM_JSON = "model-fail429-llm-json";
    MODEL_FAIL429_LLM_STREAM = "model-fail429-llm-stream";
    MODEL_FAIL500_CHAT_JSON = "model-fail500-chat-json";
    MODEL_FAIL500_CHAT_STREAM = "model-fail500-chat-stream";
    MODEL_FAIL500_LLM_JSON = "model-fail500-llm-json";
    MODEL_FAIL500_LLM_STREAM = "model-fail500-llm-stream";
    PING = "ping";
    PREDICT_CHAT_JSON = "predict-chat-json";
    PREDICT_CHAT_STREAM = "predict-chat-stream";
    PREDICT_DIRECT_JSON = "predict-direct-json";
    PREDICT_DIRECT_STREAM = "predict-direct-stream";
    PREDICT_FUNCTION_JSON = "predict-function-json";
    PREDICT_FUNCTION_STREAM = "predict-function-stream";
    PREDICT_LLM_JSON = "predict-llm-json";
    PREDICT_LLM_STREAM = "predict-llm-stream";
    PREDICT_STREAM_FLAG_ONE = "predict-stream-flag-one";
    PREDICT_STREAM_FLAG_STRING = "predict-stream-flag-string";
    PREDICT_STREAM_LONG = "predict-stream-long";
    PREDICT_TOOL_JSON = "predict-tool-json";
    SESSION_CHATID_1 = "session-chatid-1";
    SESSION_CHATID_NOT_STRING = "session-chatid-not-string";
    SESSION_OVERRIDE_BOTH = "session-override-both";
    SESSION_OVERRIDE_SESSIONID = "session-override-sessionid";
    UNKNOWN_ROUTE_KEY = "unknown-route-key";
    UNKNOWN_ROUTE_NO_KEY = "unknown-route-no-key";
    VERSION = "version";
}

-- For `recent`: what ended lately.
CREATE INDEX streaming_sessions_settled ON streaming_sessions (settled_at) WHERE settled_at IS NOT NULL;

-- For receipts, and to go through the sessions of one account.
CREATE INDEX streaming_sessions_user ON streaming_sessions (user_id, session_id);

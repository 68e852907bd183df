ALTER TABLE streaming_sessions DROP COLUMN price_id;

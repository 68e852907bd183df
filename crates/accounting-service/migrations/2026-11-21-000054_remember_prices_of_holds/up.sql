-- The price a hold was made at, at which it is settled as well. What was valid when the hold began would nearly always do,
-- but a replica may have looked the price up a moment before it changed. Holds of credits have none, nor have those of the
-- version before this one. Without a foreign key: rows of `prices` are never deleted, and to check that at every hold would
-- lock the same few rows for all of them.
ALTER TABLE streaming_sessions ADD COLUMN price_id uuid;

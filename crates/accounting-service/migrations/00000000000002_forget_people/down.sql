DROP TABLE feed_cursors;
ALTER TABLE user_accounts DROP COLUMN removal_due;
ALTER TABLE user_accounts DROP COLUMN deleted_at;

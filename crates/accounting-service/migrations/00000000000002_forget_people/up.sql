-- An account whose owner auth-service has deleted: it names nobody any more, and its credits are to be removed. Holds
-- that are open settle first, so what is left of them is removed afterwards; until then it is due.
ALTER TABLE user_accounts ADD COLUMN deleted_at timestamptz;
ALTER TABLE user_accounts ADD COLUMN removal_due boolean NOT NULL DEFAULT false;

CREATE INDEX user_accounts_removal_due ON user_accounts (user_id) WHERE removal_due;

-- How far feeds of other services have been taken in.
CREATE TABLE feed_cursors (
    feed       text PRIMARY KEY,
    cursor     text NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Messages for the operator's webhook, written in the transaction in which their fact arises and kept until they have
-- been delivered, or as dead letters. The payload is kept as it is signed and sent.
CREATE TABLE webhook_messages (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('credit.low', 'allocation.expiring', 'hold.expired')),
    -- The user, allocation or hold it is about.
    subject    text NOT NULL,
    payload    text NOT NULL,
    status     text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts   integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at     timestamptz NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    CONSTRAINT webhook_messages_ended CHECK ((status = 'waiting') = (ended_at IS NULL))
);

CREATE INDEX webhook_messages_due ON webhook_messages (due_at, id) WHERE status = 'waiting';
CREATE INDEX webhook_messages_ended_at ON webhook_messages (status, ended_at, id) WHERE status <> 'waiting';

-- An allocation's end is told once, whoever looks for it.
CREATE UNIQUE INDEX webhook_messages_expiring ON webhook_messages (subject) WHERE kind = 'allocation.expiring';

-- Accounts of which it has been told that they run low, until they recover.
CREATE TABLE low_balances (
    user_id text PRIMARY KEY REFERENCES user_accounts (user_id),
    since   timestamptz NOT NULL
);

-- Finds what is about to expire. It names no column that spending changes. Another step may have made it.
CREATE INDEX IF NOT EXISTS credit_allocations_expiry ON credit_allocations (expires_at);

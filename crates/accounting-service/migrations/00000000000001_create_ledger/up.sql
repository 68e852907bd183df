-- Who owns credits. Filled from tokens; names, addresses and roles follow what auth-service last said. An address is
-- not unique: a person re-created in auth has a new id and the old address, and look-ups take the latest claim.
CREATE TABLE user_accounts (
    user_id       text PRIMARY KEY CHECK (user_id ~ '^[0-9a-f]{24}$'),
    username      text NOT NULL CHECK (username <> ''),
    -- In lower case.
    email         text,
    email_seen_at timestamptz,
    role          text NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);

CREATE INDEX user_accounts_email ON user_accounts (email, email_seen_at DESC);
CREATE INDEX user_accounts_username ON user_accounts (username);

-- Credits with an expiry. The index names no column that spending changes, so that spending rewrites no index, and
-- pages keep room for the new version of a busy row.
CREATE TABLE credit_allocations (
    id                uuid PRIMARY KEY,
    user_id           text NOT NULL REFERENCES user_accounts (user_id),
    total_credits     bigint NOT NULL CHECK (total_credits > 0),
    remaining_credits bigint NOT NULL CHECK (remaining_credits BETWEEN 0 AND total_credits),
    allocated_by      text NOT NULL,
    notes             text,
    allocated_at      timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX credit_allocations_user_expiry ON credit_allocations (user_id, expires_at, id);

-- Holds: credits set aside for one streaming session, ended exactly once. `owner` is who opened it and alone may
-- settle it, so session ids that clients choose cannot collide with anybody else's.
CREATE TABLE streaming_sessions (
    id                uuid PRIMARY KEY,
    owner             text NOT NULL CHECK (owner ~ '^(user|service):.'),
    session_id        text NOT NULL CHECK (char_length(session_id) BETWEEN 1 AND 100),
    user_id           text NOT NULL REFERENCES user_accounts (user_id),
    model_id          text NOT NULL,
    estimated_credits bigint NOT NULL CHECK (estimated_credits >= 0),
    held_credits      bigint NOT NULL CHECK (held_credits > 0),
    captured_credits  bigint NOT NULL DEFAULT 0 CHECK (captured_credits BETWEEN 0 AND held_credits),
    status            text NOT NULL CHECK (status IN ('open', 'captured', 'voided', 'expired')),
    succeeded         boolean,
    -- What was taken from which allocation, soonest expiry first: [{"allocation", "credits", "expiresAt"}].
    draws             jsonb NOT NULL,
    started_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    settled_at        timestamptz,
    CONSTRAINT streaming_sessions_owner_session UNIQUE (owner, session_id),
    CONSTRAINT streaming_sessions_settled CHECK ((status = 'open') = (settled_at IS NULL)),
    CONSTRAINT streaming_sessions_captured CHECK (status = 'captured' OR captured_credits = 0)
) WITH (fillfactor = 70);

CREATE INDEX streaming_sessions_open_user ON streaming_sessions (user_id) WHERE status = 'open';
CREATE INDEX streaming_sessions_open_expiry ON streaming_sessions (expires_at) WHERE status = 'open';

-- The ledger: one row a command that changed something, never touched again. `id` is the command's own, made before
-- anything was written, so that after a lost connection it can be looked up whether the command was carried out.
CREATE TABLE credit_transactions (
    id            uuid PRIMARY KEY,
    -- The order in which the commands of an account took effect.
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    user_id       text NOT NULL REFERENCES user_accounts (user_id),
    kind          text NOT NULL CHECK (kind IN ('allocate', 'deduct', 'hold', 'capture', 'void', 'set', 'adjust',
                                                'remove', 'expire')),
    amount        bigint NOT NULL,
    balance_after bigint NOT NULL CHECK (balance_after >= 0),
    description   text,
    actor         text NOT NULL,
    request_id    text NOT NULL,
    hold_id       uuid REFERENCES streaming_sessions (id),
    -- What went into (positive) or out of (negative) which allocation: [{"allocation", "credits"}].
    draws         jsonb NOT NULL,
    created_at    timestamptz NOT NULL,
    CONSTRAINT credit_transactions_hold CHECK ((kind IN ('hold', 'capture', 'void', 'expire')) = (hold_id IS NOT NULL))
);

CREATE INDEX credit_transactions_user ON credit_transactions (user_id, seq);
CREATE INDEX credit_transactions_hold ON credit_transactions (hold_id) WHERE hold_id IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER credit_transactions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Lets a statement of the writer fail, and its transaction with it, when it met other rows than it had read.
CREATE FUNCTION expect_rows(changed bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF changed <> expected THEN
        RAISE EXCEPTION '% rows changed where % had been read', changed, expected USING ERRCODE = 'restrict_violation';
    END IF;
END
$$;

CREATE TABLE usage_logs (
    id          uuid PRIMARY KEY,
    user_id     text NOT NULL REFERENCES user_accounts (user_id),
    service     text NOT NULL CHECK (char_length(service) BETWEEN 1 AND 50),
    operation   text NOT NULL CHECK (char_length(operation) BETWEEN 1 AND 100),
    credits     bigint NOT NULL CHECK (credits >= 0),
    metadata    jsonb NOT NULL,
    hold_id     uuid UNIQUE REFERENCES streaming_sessions (id),
    "timestamp" timestamptz NOT NULL
);

CREATE INDEX usage_logs_user ON usage_logs (user_id, "timestamp");

-- What a model costs, in thousandths of a credit per 1,000 tokens. `default` prices every model that has no row.
CREATE TABLE model_prices (
    model_id    text PRIMARY KEY CHECK (char_length(model_id) BETWEEN 1 AND 100),
    input_rate  bigint NOT NULL CHECK (input_rate BETWEEN 0 AND 1000000000),
    output_rate bigint NOT NULL CHECK (output_rate BETWEEN 0 AND 1000000000),
    updated_at  timestamptz NOT NULL,
    CONSTRAINT model_prices_not_free CHECK (input_rate + output_rate > 0)
);

INSERT INTO model_prices (model_id, input_rate, output_rate, updated_at) VALUES
    ('amazon.nova-micro-v1:0', 60, 60, now()),
    ('amazon.nova-lite-v1:0', 250, 800, now()),
    ('amazon.titan-text-express-v1', 200, 600, now()),
    ('meta.llama3-70b-instruct-v1:0', 265, 350, now()),
    ('default', 200, 500, now());

-- Answers that were given to requests with an Idempotency-Key, kept for a day.
CREATE TABLE idempotency_keys (
    scope       text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    status      smallint NOT NULL,
    body        text NOT NULL,
    -- The command whose effect the answer reports, where the ledger has one.
    command_id  uuid,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

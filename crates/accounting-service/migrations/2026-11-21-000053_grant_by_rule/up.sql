-- Since when more than the id of an account's owner is known, and what role they had then; and since when they have what
-- rules grant to new accounts. Accounts that are known already are not new.
ALTER TABLE user_accounts ADD COLUMN known_since timestamptz, ADD COLUMN first_role text, ADD COLUMN welcomed_at timestamptz;

UPDATE user_accounts SET known_since = created_at, first_role = role, welcomed_at = now()
WHERE email IS NOT NULL OR username <> user_id;

CREATE INDEX user_accounts_unwelcomed ON user_accounts (user_id)
    WHERE known_since IS NOT NULL AND welcomed_at IS NULL;

-- Who gets how many credits by themselves, and when. A rule that was deleted is kept for what it granted.
CREATE TABLE credit_rules (
    id           uuid PRIMARY KEY,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    kind         text NOT NULL CHECK (kind IN ('on_account_creation', 'monthly')),
    role         text CHECK (role IN ('enduser', 'supervisor', 'admin')),
    amount       bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    expiry_days  bigint NOT NULL CHECK (expiry_days BETWEEN 1 AND 36500),
    day_of_month smallint CHECK (day_of_month BETWEEN 1 AND 31),
    active       boolean NOT NULL,
    -- What was due before it was made, or changed in when and to whom it grants, is not granted.
    active_since timestamptz NOT NULL,
    -- The variable that it was made of.
    seed         text UNIQUE,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    deleted_at   timestamptz,
    CONSTRAINT credit_rules_day CHECK ((kind = 'monthly') = (day_of_month IS NOT NULL))
);

CREATE UNIQUE INDEX credit_rules_name ON credit_rules (lower(name)) WHERE deleted_at IS NULL;

-- What a rule has granted, written with the ledger's entry: once for each user and period.
CREATE TABLE credit_rule_grants (
    rule_id        uuid NOT NULL REFERENCES credit_rules (id),
    period         text NOT NULL,
    user_id        text NOT NULL REFERENCES user_accounts (user_id),
    transaction_id uuid NOT NULL,
    granted_at     timestamptz NOT NULL,
    PRIMARY KEY (rule_id, period, user_id)
);

-- Periods in which everybody has got what a rule grants.
CREATE TABLE credit_rule_periods (
    rule_id     uuid NOT NULL REFERENCES credit_rules (id),
    period      text NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (rule_id, period)
);

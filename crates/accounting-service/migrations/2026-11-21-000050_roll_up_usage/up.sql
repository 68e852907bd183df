-- What usage adds up to. A trigger keeps the sums in the transaction that writes the usage, so they are never behind and
-- no writer can forget them. They are derived: `accounting-service rebuild-rollups` makes them anew from `usage_logs`.

CREATE FUNCTION usage_day(at timestamptz) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT (at AT TIME ZONE 'UTC')::date $$;

-- What a chat ran on; other services have operations, not models.
CREATE FUNCTION usage_model(service text, operation text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT CASE WHEN service IN ('chat', 'chat-streaming', 'chat-streaming-aborted') THEN operation ELSE '' END $$;

-- The chatflow that a record names; the proxy names it as the operation of its chats.
CREATE FUNCTION usage_chatflow(service text, operation text, metadata jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT CASE WHEN jsonb_typeof(metadata -> 'chatflowId') = 'string'
                        AND char_length(metadata ->> 'chatflowId') BETWEEN 1 AND 100 THEN metadata ->> 'chatflowId'
                   WHEN service = 'chat' THEN operation ELSE '' END $$;

-- The usage log in the words of the sums.
CREATE VIEW usage_facts AS
    SELECT user_id, "timestamp", usage_day("timestamp") AS day, service, usage_model(service, operation) AS model,
           usage_chatflow(service, operation, metadata) AS chatflow, credits
    FROM usage_logs;

-- Sums are numeric: records are not checked against a balance, and no number of them may make a capture overflow.
-- Nothing refers to the accounts: the usage that is summed up does.
CREATE TABLE usage_daily (
    user_id  text NOT NULL,
    day      date NOT NULL,
    service  text NOT NULL,
    model    text NOT NULL,
    chatflow text NOT NULL,
    records  bigint NOT NULL,
    credits  numeric NOT NULL,
    PRIMARY KEY (user_id, day, service, model, chatflow)
) WITH (fillfactor = 80);

CREATE INDEX usage_daily_day ON usage_daily (day);

-- For ranking users: whole months, and the days at the ends of a period.
CREATE TABLE usage_user_days (
    day     date NOT NULL,
    user_id text NOT NULL,
    records bigint NOT NULL,
    credits numeric NOT NULL,
    PRIMARY KEY (day, user_id)
) WITH (fillfactor = 80);

CREATE TABLE usage_monthly (
    month   date NOT NULL CHECK (extract(day FROM month) = 1),
    user_id text NOT NULL,
    records bigint NOT NULL,
    credits numeric NOT NULL,
    PRIMARY KEY (month, user_id)
) WITH (fillfactor = 80);

-- Of all users together. Every connection adds to a shard of its own, as far as they go, so that writers of different
-- processes do not wait for each other's commits; a reader sums the shards.
CREATE TABLE usage_totals (
    day      date NOT NULL,
    service  text NOT NULL,
    model    text NOT NULL,
    chatflow text NOT NULL,
    shard    smallint NOT NULL,
    records  bigint NOT NULL,
    credits  numeric NOT NULL,
    PRIMARY KEY (day, service, model, chatflow, shard)
) WITH (fillfactor = 50);

-- Rows are locked table by table in this order, and within a table in the order of the key: whoever adds, waits in the
-- same order as everybody else, so nobody can wait in a circle.
CREATE FUNCTION roll_up_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_daily AS known (user_id, day, service, model, chatflow, records, credits)
    SELECT user_id, usage_day("timestamp"), service, usage_model(service, operation),
           usage_chatflow(service, operation, metadata), count(*), sum(credits)
    FROM added GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (user_id, day, service, model, chatflow)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits;

    INSERT INTO usage_user_days AS known (day, user_id, records, credits)
    SELECT usage_day("timestamp"), user_id, count(*), sum(credits) FROM added GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, user_id)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits;

    INSERT INTO usage_monthly AS known (month, user_id, records, credits)
    SELECT date_trunc('month', usage_day("timestamp"))::date, user_id, count(*), sum(credits)
    FROM added GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (month, user_id)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits;

    INSERT INTO usage_totals AS known (day, service, model, chatflow, shard, records, credits)
    SELECT usage_day("timestamp"), service, usage_model(service, operation),
           usage_chatflow(service, operation, metadata), pg_backend_pid() % 16, count(*), sum(credits)
    FROM added GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (day, service, model, chatflow, shard)
    DO UPDATE SET records = known.records + excluded.records, credits = known.credits + excluded.credits;
    RETURN NULL;
END
$$;

-- From here on nobody can add usage until this step is done, so the sums begin right.
CREATE TRIGGER usage_logs_roll_up AFTER INSERT ON usage_logs
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION roll_up_usage();

-- For the hours at the ends of a period. (A BRIN index would be smaller, but lures the planner away from the index by
-- user.)
CREATE INDEX usage_logs_time ON usage_logs ("timestamp");

INSERT INTO usage_daily (user_id, day, service, model, chatflow, records, credits)
SELECT user_id, day, service, model, chatflow, count(*), sum(credits) FROM usage_facts GROUP BY 1, 2, 3, 4, 5;

INSERT INTO usage_user_days (day, user_id, records, credits)
SELECT day, user_id, sum(records), sum(credits) FROM usage_daily GROUP BY 1, 2;

INSERT INTO usage_monthly (month, user_id, records, credits)
SELECT date_trunc('month', day)::date, user_id, sum(records), sum(credits) FROM usage_user_days GROUP BY 1, 2;

INSERT INTO usage_totals (day, service, model, chatflow, shard, records, credits)
SELECT day, service, model, chatflow, 0, sum(records), sum(credits) FROM usage_daily GROUP BY 1, 2, 3, 4;

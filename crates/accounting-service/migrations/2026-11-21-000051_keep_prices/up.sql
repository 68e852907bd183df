-- What models cost and have cost, in thousandths of a credit per 1,000 tokens. A row is never changed but for its end: a
-- turn is paid at the price that was valid when it began, and names that row. `default` prices every model that has no
-- row of its own. `model_prices` is read by the version before this one and is to be dropped by the next.
CREATE TABLE prices (
    id          uuid PRIMARY KEY,
    model_id    text NOT NULL CHECK (char_length(model_id) BETWEEN 1 AND 100),
    input_rate  bigint NOT NULL CHECK (input_rate BETWEEN 0 AND 1000000000),
    output_rate bigint NOT NULL CHECK (output_rate BETWEEN 0 AND 1000000000),
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz CHECK (valid_until >= valid_from),
    set_by      text NOT NULL,
    CONSTRAINT prices_not_free CHECK (input_rate + output_rate > 0)
);

CREATE UNIQUE INDEX prices_valid ON prices (model_id) WHERE valid_until IS NULL;
CREATE INDEX prices_history ON prices (model_id, valid_from);

INSERT INTO prices (id, model_id, input_rate, output_rate, valid_from, set_by)
SELECT gen_random_uuid(), model_id, input_rate, output_rate, '2000-01-01T00:00:00Z', 'system' FROM model_prices;

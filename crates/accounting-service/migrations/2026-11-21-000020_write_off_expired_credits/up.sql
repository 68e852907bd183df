-- Credits that expire are written off by an entry of their own, so that the amounts of an account add up to what can be
-- spent. A write-off may name the hold whose returned credits it concerns.
ALTER TABLE credit_transactions
    DROP CONSTRAINT credit_transactions_kind_check,
    DROP CONSTRAINT credit_transactions_hold,
    ADD CONSTRAINT credit_transactions_kind CHECK (kind IN ('allocate', 'deduct', 'hold', 'capture', 'void', 'set', 'adjust',
                                                            'remove', 'expire', 'write_off')) NOT VALID,
    ADD CONSTRAINT credit_transactions_hold CHECK (kind = 'write_off'
        OR (kind IN ('hold', 'capture', 'void', 'expire')) = (hold_id IS NOT NULL)) NOT VALID;

-- `lapsed_to`: what expired long before then has been written off and need not be looked at again.
-- `closed_at`: the owner is gone; what is known of them is blanked, the ledger stays.
ALTER TABLE user_accounts
    ADD COLUMN lapsed_to timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN closed_at timestamptz;

-- For the sweep, which looks for what has expired since it last looked.
CREATE INDEX credit_allocations_expiry ON credit_allocations (expires_at);

-- One row: how far the sweep has come, and from which entry on `balance_after` is the sum of the amounts.
CREATE TABLE ledger_state (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    lapsed_through timestamptz NOT NULL,
    chained_after  bigint NOT NULL
);

INSERT INTO ledger_state (lapsed_through, chained_after)
    SELECT 'epoch', coalesce(max(seq), 0) FROM credit_transactions;

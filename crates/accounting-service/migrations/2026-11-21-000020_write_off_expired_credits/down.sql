-- Entries that were written since stay as they are; the former rule is not enforced on them.
DROP TABLE ledger_state;
DROP INDEX credit_allocations_expiry;
ALTER TABLE user_accounts DROP COLUMN lapsed_to, DROP COLUMN closed_at;
ALTER TABLE credit_transactions
    DROP CONSTRAINT credit_transactions_kind,
    DROP CONSTRAINT credit_transactions_hold,
    ADD CONSTRAINT credit_transactions_kind_check CHECK (kind IN ('allocate', 'deduct', 'hold', 'capture', 'void', 'set',
                                                                  'adjust', 'remove', 'expire')) NOT VALID,
    ADD CONSTRAINT credit_transactions_hold CHECK ((kind IN ('hold', 'capture', 'void', 'expire')) = (hold_id IS NOT NULL))
        NOT VALID;

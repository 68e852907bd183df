DROP TABLE credit_rule_periods, credit_rule_grants, credit_rules;
DROP INDEX user_accounts_unwelcomed;
ALTER TABLE user_accounts DROP COLUMN known_since, DROP COLUMN first_role, DROP COLUMN welcomed_at;

DROP INDEX usage_logs_time;
DROP TRIGGER usage_logs_roll_up ON usage_logs;
DROP FUNCTION roll_up_usage();
DROP TABLE usage_totals, usage_monthly, usage_user_days, usage_daily;
DROP VIEW usage_facts;
DROP FUNCTION usage_chatflow(text, text, jsonb);
DROP FUNCTION usage_model(text, text);
DROP FUNCTION usage_day(timestamptz);

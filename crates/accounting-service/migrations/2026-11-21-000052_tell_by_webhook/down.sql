DROP TABLE low_balances, webhook_messages;

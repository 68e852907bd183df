DROP INDEX streaming_sessions_user;
DROP INDEX streaming_sessions_settled;

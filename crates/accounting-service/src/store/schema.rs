//! The tables, as `diesel print-schema` writes them.

diesel::table! {
    user_accounts (user_id) {
        user_id -> Text,
        username -> Text,
        email -> Nullable<Text>,
        email_seen_at -> Nullable<Timestamptz>,
        role -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        known_since -> Nullable<Timestamptz>,
        first_role -> Nullable<Text>,
        welcomed_at -> Nullable<Timestamptz>,
        lapsed_to -> Timestamptz,
        closed_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
        removal_due -> Bool,
    }
}

diesel::table! {
    feed_cursors (feed) {
        feed -> Text,
        cursor -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    credit_allocations (id) {
        id -> Uuid,
        user_id -> Text,
        total_credits -> BigInt,
        remaining_credits -> BigInt,
        allocated_by -> Text,
        notes -> Nullable<Text>,
        allocated_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    streaming_sessions (id) {
        id -> Uuid,
        owner -> Text,
        session_id -> Text,
        user_id -> Text,
        model_id -> Text,
        estimated_credits -> BigInt,
        held_credits -> BigInt,
        captured_credits -> BigInt,
        status -> Text,
        succeeded -> Nullable<Bool>,
        draws -> Jsonb,
        started_at -> Timestamptz,
        expires_at -> Timestamptz,
        settled_at -> Nullable<Timestamptz>,
        price_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    credit_transactions (id) {
        id -> Uuid,
        seq -> BigInt,
        user_id -> Text,
        kind -> Text,
        amount -> BigInt,
        balance_after -> BigInt,
        description -> Nullable<Text>,
        actor -> Text,
        request_id -> Text,
        hold_id -> Nullable<Uuid>,
        draws -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    usage_logs (id) {
        id -> Uuid,
        user_id -> Text,
        service -> Text,
        operation -> Text,
        credits -> BigInt,
        metadata -> Jsonb,
        hold_id -> Nullable<Uuid>,
        timestamp -> Timestamptz,
    }
}

diesel::table! {
    prices (id) {
        id -> Uuid,
        model_id -> Text,
        input_rate -> BigInt,
        output_rate -> BigInt,
        valid_from -> Timestamptz,
        valid_until -> Nullable<Timestamptz>,
        set_by -> Text,
    }
}

diesel::table! {
    idempotency_keys (scope, key) {
        scope -> Text,
        key -> Text,
        fingerprint -> Bytea,
        status -> SmallInt,
        body -> Text,
        command_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    credit_rules (id) {
        id -> Uuid,
        name -> Text,
        kind -> Text,
        role -> Nullable<Text>,
        amount -> BigInt,
        expiry_days -> BigInt,
        day_of_month -> Nullable<SmallInt>,
        active -> Bool,
        active_since -> Timestamptz,
        seed -> Nullable<Text>,
        created_by -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::joinable!(credit_allocations -> user_accounts (user_id));
diesel::joinable!(streaming_sessions -> user_accounts (user_id));
diesel::joinable!(usage_logs -> user_accounts (user_id));
diesel::allow_tables_to_appear_in_same_query!(
    user_accounts,
    credit_allocations,
    streaming_sessions,
    usage_logs
);

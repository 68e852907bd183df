//! Pure rules: no HTTP, no database, no clock.

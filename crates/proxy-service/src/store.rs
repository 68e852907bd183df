//! One struct per collection.

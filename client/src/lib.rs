//! The Rust client library of Handfast. (being written)

//! Where a listing goes on, and how long its answer is.

use super::errors::ServiceError;

/// Entries listed if the request names no limit, and at most.
const DEFAULT_ENTRIES: u32 = 100;
const MAX_ENTRIES: u32 = 1_000;

/// Where a listing goes on, as `read` finds it in what the request says; `None` begins.
pub(super) fn after<P>(
    text: &str,
    read: impl FnOnce(&str) -> Option<P>,
) -> Result<Option<P>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        let what = format!("{text:?} is not what an answer said as `next`");
        ServiceError::invalid("after", what)
    };
    read(text).ok_or_else(wrong).map(Some)
}

/// How many entries are listed if the request says so many.
pub(super) fn limit(said: u32) -> u32 {
    match said {
        0 => DEFAULT_ENTRIES,
        said => said.min(MAX_ENTRIES),
    }
}

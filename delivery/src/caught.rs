//! A panic in somebody else's code is an answer like any other: who waits for one gets one.
//!
//! In a process that is built to abort when something panics, nothing is caught: it ends, and whoever goes on
//! begins at the last mark.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::store::{StoreError, Stored};

/// Something panicked, with these words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {0}")]
pub(crate) struct Panicked(String);

impl Panicked {
    fn with(what: &(dyn Any + Send)) -> Self {
        let text = what.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| what.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "without a word".to_owned()))
    }
}

/// What a call comes to. Whatever it had half changed is its own: nobody here looks at that.
///
/// # Errors
/// [`Panicked`] if it panics.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|what| Panicked::with(&*what))
}

/// What a future comes to. Hand in an `async` block: what it holds is then let go where a panic is caught, too.
///
/// # Errors
/// [`Panicked`] if it panics.
pub(crate) async fn caught_later<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// What a store answers; one that panics has failed.
///
/// # Errors
/// [`StoreError`] if it did not answer.
pub(crate) async fn stored<'a, T>(ask: impl FnOnce() -> Stored<'a, T>) -> Result<T, StoreError> {
    match caught_later(async { ask().await }).await {
        Ok(answer) => answer,
        Err(panicked) => Err(StoreError(panicked.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_wherever_it_happens() {
        let before = caught_later(async { assert!(std::hint::black_box(false), "at once") });
        let told = before.await.expect_err("it panics").to_string();
        assert_eq!(told, "it panicked: at once");
        let after = caught_later(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7);
        });
        let told: Result<(), Panicked> = after.await;
        assert_eq!(told, Err(Panicked("without a word".to_owned())));
        assert_eq!(caught_later(async { 7 }).await, Ok(7));

        struct Loud;
        impl Drop for Loud {
            fn drop(&mut self) {
                panic!("{}", "when it was let go");
            }
        }
        let leaving = caught_later(async { drop(Loud) });
        let told = leaving.await.expect_err("it panics").to_string();
        assert_eq!(told, "it panicked: when it was let go");
        let asked: Result<u64, StoreError> = stored(|| panic!("before it answers")).await;
        let told = asked.expect_err("it panics").to_string();
        assert_eq!(told, "the store of deliveries: it panicked: before it answers");
    }
}

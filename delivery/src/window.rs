//! How many tries may be in flight: additive increase, multiplicative decrease, and a pause after an overload.
//!
//! ```text
//!  window                      size in doubt
//!    32 ┤            ╭╴overloaded ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶╮    ╭──
//!       │        ╭───╯│                      ╭───────────┴────╯
//!    16 ┤    ╭───╯    │              ╭───────╯ +1 a window, stays below
//!       │────╯        ╰ pause ╮  ╭───╯
//!     1 ┤                     ╰──╯ one try probes
//! ```

use crate::backoff::Draw;
use crate::config::WindowConfig;
use crate::latency::Latency;

/// What is known of a try when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Counts the tries of the engine.
    serial: u64,
    at_us: u64,
    /// How many were in flight then, itself included.
    beside: u32,
}

/// The window of one target.
#[derive(Debug)]
pub(crate) struct Window {
    config: WindowConfig,
    limit: u32,
    /// Deliveries that used the window since it changed.
    successes: u32,
    next_serial: u64,
    /// Tries before it were sent into a window that was found too large since.
    overloaded_before: u64,
    /// The same, for a window that was found too slow.
    slowed_before: u64,
    /// In a row.
    overloads: u32,
    /// Nothing is sent before it.
    paused_until_us: u64,
    /// Since an overload, no try has told that the target takes something again.
    probing: bool,
    /// The size that overloaded the target last, and until when it is not reached again.
    doubt: Option<(u32, u64)>,
    latency: Latency,
}

impl Window {
    pub(crate) fn new(mut config: WindowConfig) -> Self {
        config.ceiling = config.ceiling.max(1);
        config.kept_percent = config.kept_percent.clamp(1, 99);
        Self {
            config,
            limit: config.initial.clamp(1, config.ceiling),
            successes: 0,
            next_serial: 0,
            overloaded_before: 0,
            slowed_before: 0,
            overloads: 0,
            paused_until_us: 0,
            probing: false,
            doubt: None,
            latency: Latency::default(),
        }
    }

    /// The window, which is 1 while an overload is being probed.
    pub(crate) const fn limit(&self) -> u32 {
        if self.probing { 1 } else { self.limit }
    }

    /// Until when nothing is sent.
    pub(crate) const fn paused_until_us(&self) -> u64 {
        self.paused_until_us
    }

    /// A try is sent; `in_flight` counts it.
    pub(crate) const fn on_sent(&mut self, now_us: u64, in_flight: u32) -> Sent {
        let sent = Sent { serial: self.next_serial, at_us: now_us, beside: in_flight };
        self.next_serial += 1;
        sent
    }

    /// The target took it.
    pub(crate) fn on_delivered(&mut self, now_us: u64, sent: Sent) {
        if sent.serial < self.overloaded_before {
            return; // it tells nothing about the window as it is now
        }
        self.on_responded(sent);
        if let Some(config) = &self.config.latency
            && self.latency.is_slow(config, now_us.saturating_sub(sent.at_us))
        {
            self.slow_down(sent);
            return;
        }
        // Deliveries that left half of the window empty do not show that more would be taken.
        if sent.beside.saturating_mul(2) < self.limit {
            return;
        }
        self.successes += 1;
        if self.successes >= self.limit {
            self.successes = 0;
            self.limit = (self.limit + 1).min(self.most(now_us)).max(self.limit);
        }
    }

    /// The target answered for itself, whether it took it or not: it is not overloaded.
    pub(crate) const fn on_responded(&mut self, sent: Sent) {
        if sent.serial >= self.overloaded_before {
            self.probing = false;
            self.overloads = 0;
        }
    }

    /// The target is overloaded, and asks us to stay away for so long.
    pub(crate) fn on_overloaded(
        &mut self,
        now_us: u64,
        sent: Sent,
        retry_after_us: Option<u64>,
        draw: &mut Draw,
    ) {
        let asked_us = retry_after_us.unwrap_or(0).min(self.config.longest_retry_after_us);
        let mut pause_us = asked_us;
        // All that was in flight together is one overload.
        if sent.serial >= self.overloaded_before {
            self.overloads = self.overloads.saturating_add(1);
            // A probe that fails tells that the target has not recovered, not that one try is too many.
            if !self.probing {
                self.shrink(now_us, sent.beside.clamp(1, self.limit));
            }
            self.probing = true;
            self.overloaded_before = self.next_serial;
            pause_us = asked_us.max(self.config.pauses.after(self.overloads, draw));
        }
        self.paused_until_us = self.paused_until_us.max(now_us.saturating_add(pause_us));
    }

    fn shrink(&mut self, now_us: u64, size: u32) {
        // An overload that left half of the window empty does not show that so many are too many: the target is away.
        if size > 1 && size.saturating_mul(2) >= self.limit {
            self.doubt = Some((size, now_us.saturating_add(self.config.doubt_us)));
        }
        let kept = u64::from(size) * u64::from(self.config.kept_percent) / 100;
        self.limit = u32::try_from(kept).expect("a share of 32 bits").max(1);
        self.successes = 0;
    }

    fn slow_down(&mut self, sent: Sent) {
        self.successes = 0;
        if sent.serial >= self.slowed_before {
            self.limit = (self.limit - (self.limit / 10).max(1)).max(1);
            self.slowed_before = self.next_serial;
        }
    }

    /// The largest window for now.
    fn most(&self, now_us: u64) -> u32 {
        match self.doubt {
            Some((size, until_us)) if now_us < until_us => (size - 1).clamp(1, self.config.ceiling),
            Some(_) | None => self.config.ceiling,
        }
    }
}

#[cfg(test)]
mod tests;

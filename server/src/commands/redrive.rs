//! `handfast dead-letters redrive`: letters are chosen to be sent again, at once or at a pace, and waited for.
//! Choosing is what this program does; the servers that deliver send, in their own time.

use std::collections::BTreeMap;
use std::time::Duration;

use handfast_client::{Client, v1};
use serde_json::{Value as Json, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use super::deliveries::outlines;
use crate::cli::Global;
use crate::exit::Failure;
use crate::output;

/// How often letters are chosen in a second.
const TICKS: u64 = 10;
/// Letters that one request names: far fewer than a server takes, so that none takes long.
const NAMES: usize = 1_000;
/// How often it is said how far choosing is.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// The first pause between two looks whether letters are still on their way, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Letters that are to be sent again.
pub(super) struct Redrive<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) selection: v1::DeadLetterSelection,
}

/// What has come of choosing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Chosen {
    chosen: u64,
    /// Somebody interrupted it before these were.
    left: u64,
}

/// How many letters of a selection are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    dead: u64,
    redriving: u64,
}

/// What has come of those that were chosen, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// No dead letters any more: delivered, or discarded by somebody meanwhile.
    went: u64,
    /// Dead again.
    came_back: u64,
    /// On their way.
    left: u64,
}

impl Progress {
    /// From what there was before any were chosen, and what there is now.
    const fn new(before: Count, chosen: u64, now: Count) -> Self {
        let (all, left) = (before.dead + before.redriving, now.dead + now.redriving);
        let untouched = before.dead.saturating_sub(chosen);
        Self {
            went: all.saturating_sub(left),
            came_back: now.dead.saturating_sub(untouched),
            left: now.redriving,
        }
    }

    fn json(self, chosen: u64) -> Json {
        let Self { went, came_back, left } = self;
        json!({"chosen": chosen, "delivered": went, "dead": came_back, "redriving": left})
    }
}

/// Spreads letters evenly over the ticks of a second: in any second there are `rate` of them at most.
struct Pace {
    rate: u64,
    carry: u64,
}

impl Pace {
    const fn new(rate: u32) -> Self {
        Self { rate: rate as u64, carry: 0 }
    }

    /// How many letters the next tick has.
    fn tick(&mut self) -> usize {
        self.carry += self.rate;
        let some = self.carry / TICKS;
        self.carry %= TICKS;
        usize::try_from(some).unwrap_or(usize::MAX)
    }
}

/// The requests that choose letters, each with its target: one message may be a letter of several.
fn requests(letters: &[v1::DeadLetter]) -> Vec<v1::DeadLetterSelection> {
    let mut by_target: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for letter in letters {
        by_target.entry(&letter.target).or_default().push(&letter.name);
    }
    let of_target = by_target.iter().flat_map(|(target, names)| {
        names.chunks(NAMES).map(|some| v1::DeadLetterSelection {
            target: (*target).to_owned(),
            names: some.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        })
    });
    of_target.collect()
}

impl Redrive<'_> {
    /// Says how many would be chosen.
    pub(super) async fn dry_run(&self, global: &Global) -> Result<(), Failure> {
        let (count, _) = self.count().await?;
        output::one(global, json!({"chosen": 0, "would_be": count.dead}))
    }

    /// Chooses them, `rate` in a second at most, and waits for them for so long at most, if that is asked for.
    pub(super) async fn run(
        mut self,
        global: &Global,
        rate: Option<u32>,
        wait: Option<Duration>,
    ) -> Result<(), Failure> {
        if rate.is_none() && wait.is_none() {
            let chosen = self.choose(self.selection.clone()).await?;
            return output::one(global, json!({"chosen": chosen}));
        }
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::error)?;
        let (before, newest_ms) = self.count().await?;
        // What is given up from now on is another's concern.
        let until_ms = newest_ms.saturating_add(1);
        let before_ms = Some(self.selection.before_ms).filter(|ms| *ms > 0);
        self.selection.before_ms = before_ms.map_or(until_ms, |given| given.min(until_ms));
        let done = match rate {
            None => Chosen { chosen: self.choose(self.selection.clone()).await?, left: 0 },
            Some(rate) => self.choose_slowly(rate, &mut interrupt).await?,
        };
        let Chosen { chosen, left } = done;
        if left > 0 {
            output::one(global, json!({"chosen": chosen, "not_chosen": left}))?;
            return Err(Failure::try_again(format!(
                "interrupted: {chosen} were chosen and are sent again (`handfast dead-letters cancel` stops \
                 that), {left} were not chosen and stay as they are"
            )));
        }
        match wait {
            None => output::one(global, json!({"chosen": chosen})),
            Some(patience) => self.wait(global, (before, chosen), patience, interrupt).await,
        }
    }

    async fn choose(&self, selection: v1::DeadLetterSelection) -> Result<u64, Failure> {
        let (admin, wish) = (self.client.admin(), v1::DeadLetterWish::Redrive);
        Ok(admin.change_dead_letters(self.namespace, selection, wish).await?)
    }

    /// How many there are, and when the newest was given up.
    async fn count(&self) -> Result<(Count, u64), Failure> {
        let admin = self.client.admin();
        let found = admin.count_dead_letters(self.namespace, self.selection.clone()).await?;
        Ok((Count { dead: found.dead, redriving: found.redriving }, found.newest_ms))
    }

    /// Chooses each letter that is dead now once, evenly, with progress on stderr, until it is interrupted.
    async fn choose_slowly(&self, rate: u32, interrupt: &mut Signal) -> Result<Chosen, Failure> {
        let dead = v1::DeadLetterSelection { redriving: Some(false), ..self.selection.clone() };
        let letters = outlines(self.client, self.namespace, dead, None).await?;
        let all = letters.len();
        let mut every = tokio::time::interval(Duration::from_millis(1_000 / TICKS));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pace, mut said) = (Pace::new(rate), Instant::now());
        let (mut next, mut chosen) = (0, 0);
        while next < all {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break, // between two requests: what was asked for is known
                _ = every.tick() => {}
            }
            let end = next.saturating_add(pace.tick()).min(all);
            for request in requests(&letters[next..end]) {
                chosen += self.choose(request).await.map_err(|failure| Failure {
                    message: format!(
                        "{}; {chosen} of {all} were chosen to be sent again before that",
                        failure.message
                    ),
                    ..failure
                })?;
            }
            next = end;
            if said.elapsed() >= SAY_EVERY || next == all {
                said = Instant::now();
                eprintln!("{next} of {all} chosen to be sent again");
            }
        }
        Ok(Chosen { chosen, left: (all - next) as u64 })
    }

    /// Waits until nothing of what was chosen is on its way, with progress on stderr.
    async fn wait(
        &self,
        global: &Global,
        (before, chosen): (Count, u64),
        patience: Duration,
        mut interrupt: Signal,
    ) -> Result<(), Failure> {
        let end = Instant::now() + patience;
        let (mut pause, longest) = PAUSES;
        let mut told = None;
        loop {
            let (now, _) = self.count().await?;
            let progress = Progress::new(before, chosen, now);
            let Progress { went, came_back, left } = progress;
            if left == 0 {
                return output::one(global, progress.json(chosen));
            }
            if told != Some(progress) {
                eprintln!("{went} delivered, {came_back} dead again, {left} on their way");
                told = Some(progress);
            }
            let is_over = Instant::now() >= end;
            let interrupted = !is_over
                && tokio::select! {
                    _ = interrupt.recv() => true,
                    () = tokio::time::sleep_until(end.min(Instant::now() + pause)) => false,
                };
            if is_over || interrupted {
                output::one(global, progress.json(chosen))?;
                let why = if interrupted {
                    "interrupted".to_owned()
                } else {
                    format!("{patience:?} are over")
                };
                return Err(Failure::try_again(format!(
                    "{why}: {left} are still on their way, which goes on (`handfast dead-letters cancel` \
                     stops it)"
                )));
            }
            pause = (pause * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_spread_evenly_and_no_second_has_more_than_the_rate() {
        for rate in [1, 3, 9, 10, 11, 50, 99, 12_345, u32::MAX] {
            let mut pace = Pace::new(rate);
            let ticks: Vec<u64> = (0..1_000).map(|_| pace.tick() as u64).collect();
            let of = u64::from(rate);
            for second in ticks.windows(TICKS as usize) {
                assert_eq!(second.iter().sum::<u64>(), of, "at {rate}");
            }
            let even = of / TICKS..=of.div_ceil(TICKS);
            assert!(ticks.iter().all(|some| even.contains(some)), "at {rate}");
        }
    }

    #[test]
    fn requests_name_each_letter_of_its_target_once_and_not_too_many() {
        let letter = |number: usize, target: &str| v1::DeadLetter {
            name: format!("id-{number}/0"),
            target: target.to_owned(),
            ..Default::default()
        };
        let letters: Vec<_> =
            (0..2_500).flat_map(|it| [letter(it, "shop"), letter(it, "mail")]).collect();
        let requests = requests(&letters);
        assert!(requests.iter().all(|it| !it.target.is_empty() && it.names.len() <= NAMES));
        for target in ["shop", "mail"] {
            let of_it = requests.iter().filter(|it| it.target == target);
            let names: Vec<_> = of_it.flat_map(|it| it.names.clone()).collect();
            let expected: Vec<_> = (0..2_500).map(|it| format!("id-{it}/0")).collect();
            assert_eq!(names, expected, "of {target}");
        }
        assert!(super::requests(&[]).is_empty());
    }

    #[test]
    fn what_has_come_of_letters_is_told_from_what_is_left() {
        let count = |dead, redriving| Count { dead, redriving };
        let progress = |went, came_back, left| Progress { went, came_back, left };
        for (before, chosen, now, expected) in [
            (count(5, 0), 5, count(0, 5), progress(0, 0, 5)),
            (count(5, 0), 5, count(1, 2), progress(2, 1, 2)),
            (count(5, 0), 5, count(0, 0), progress(5, 0, 0)),
            (count(5, 0), 5, count(5, 0), progress(0, 5, 0)),
            // Some were on their way before, and some were not chosen.
            (count(5, 2), 5, count(1, 1), progress(5, 1, 1)),
            (count(5, 0), 2, count(3, 1), progress(1, 0, 1)),
            // Somebody discarded all.
            (count(5, 0), 2, count(0, 0), progress(5, 0, 0)),
        ] {
            assert_eq!(Progress::new(before, chosen, now), expected, "{before:?} {chosen} {now:?}");
        }
    }
}

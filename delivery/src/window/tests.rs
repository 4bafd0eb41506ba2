use super::*;
use crate::config::{LatencyConfig, Pauses};

const CONFIG: WindowConfig = WindowConfig {
    initial: 4,
    ceiling: 32,
    kept_percent: 50,
    pauses: Pauses { first_us: 1_000, longest_us: 64_000 },
    longest_retry_after_us: 1_000_000,
    doubt_us: 30_000_000,
    latency: None,
};

/// Sends as many tries together as the window allows.
fn fill(window: &mut Window, now_us: u64) -> Vec<Sent> {
    (1..=window.limit()).map(|in_flight| window.on_sent(now_us, in_flight)).collect()
}

/// So many whole windows are delivered.
fn deliver(window: &mut Window, now_us: u64, times: usize) {
    for _ in 0..times {
        for sent in fill(window, now_us) {
            window.on_delivered(now_us, sent);
        }
    }
}

#[test]
fn grows_by_one_a_window_up_to_the_ceiling() {
    let mut window = Window::new(CONFIG);
    // The first tries of a window were sent while less than half of it was in use.
    deliver(&mut window, 0, 2);
    assert_eq!(window.limit(), 5);
    deliver(&mut window, 0, 1_000);
    assert_eq!(window.limit(), CONFIG.ceiling);
}

#[test]
fn does_not_grow_unused() {
    let mut window = Window::new(CONFIG);
    for _ in 0..1_000 {
        let sent = window.on_sent(0, 1);
        window.on_delivered(0, sent);
    }
    assert_eq!(window.limit(), CONFIG.initial);
}

#[test]
fn an_overload_halves_it_once_pauses_and_probes() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    deliver(&mut window, 0, 1_000);
    for sent in fill(&mut window, 0).into_iter().rev() {
        window.on_overloaded(10, sent, None, &mut draw);
    }
    assert_eq!((window.limit(), window.limit), (1, 16));
    assert!((1_010..=2_010).contains(&window.paused_until_us()));
    let probe = window.on_sent(2_010, 1);
    window.on_delivered(2_020, probe);
    assert_eq!(window.limit(), 16);
}

#[test]
fn pauses_grow_while_probes_fail_and_the_window_is_kept() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    let mut now_us = 0;
    let mut longest_us = 0;
    for _ in 0..50 {
        let sent = window.on_sent(now_us, window.limit());
        window.on_overloaded(now_us, sent, None, &mut draw);
        longest_us = longest_us.max(window.paused_until_us() - now_us);
        now_us = window.paused_until_us();
    }
    assert!((32_000..=64_000).contains(&longest_us), "{longest_us}");
    let sent = window.on_sent(now_us, 1);
    window.on_delivered(now_us, sent);
    assert_eq!(window.limit(), 2);
    // What failed before is forgotten.
    let sent = window.on_sent(now_us, 2);
    window.on_overloaded(now_us, sent, None, &mut draw);
    assert!(window.paused_until_us() - now_us <= 2_000);
}

#[test]
fn stays_below_the_size_that_overloaded_until_the_doubt_is_over() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    deliver(&mut window, 0, 1_000);
    let last = fill(&mut window, 0).pop().expect("a window is never empty");
    window.on_overloaded(0, last, None, &mut draw);
    deliver(&mut window, 10_000_000, 1_000);
    assert_eq!(window.limit(), 31);
    deliver(&mut window, 30_000_000, 10);
    assert_eq!(window.limit(), 32);
}

#[test]
fn what_was_away_while_little_was_sent_gets_more_as_soon_as_it_is_back() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    deliver(&mut window, 0, 1_000);
    // One alone, then again one alone: that is no size that could be doubted.
    for now_us in 0..2 {
        let sent = window.on_sent(now_us, 1);
        window.on_overloaded(now_us, sent, None, &mut draw);
        let probe = window.on_sent(now_us, 1);
        window.on_delivered(now_us, probe);
    }
    deliver(&mut window, 10, 100);
    assert!(window.limit() > 10, "{}", window.limit());
}

#[test]
fn never_falls_below_one() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    for now_us in 0..100 {
        let sent = window.on_sent(now_us, window.limit());
        window.on_overloaded(now_us, sent, None, &mut draw);
        let sent = window.on_sent(now_us, 1);
        window.on_delivered(now_us, sent);
        assert!(window.limit() >= 1);
    }
    assert_eq!(window.limit(), 1);
    deliver(&mut window, 40_000_000, 2_000);
    assert_eq!(window.limit(), 32);
}

#[test]
fn a_target_may_ask_for_a_longer_pause_up_to_a_bound() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    let sent = fill(&mut window, 0);
    window.on_overloaded(0, sent[0], Some(500_000), &mut draw);
    assert_eq!(window.paused_until_us(), 500_000);
    window.on_overloaded(0, sent[1], Some(10), &mut draw);
    assert_eq!(window.paused_until_us(), 500_000);
    window.on_overloaded(0, sent[2], Some(u64::MAX), &mut draw);
    assert_eq!(window.paused_until_us(), 1_000_000);
}

#[test]
fn what_was_delivered_before_the_overload_does_not_end_the_probing() {
    let (mut window, mut draw) = (Window::new(CONFIG), Draw::new(7));
    let sent = fill(&mut window, 0);
    window.on_overloaded(0, sent[0], None, &mut draw);
    window.on_delivered(0, sent[1]);
    assert_eq!(window.limit(), 1);
}

#[test]
fn a_target_that_becomes_slow_gets_less_at_once_and_then_more_again() {
    let latency = Some(LatencyConfig { tolerance_percent: 200, ignore_below_us: 100 });
    let mut window = Window::new(WindowConfig { latency, ..CONFIG });
    let mut deliver = |latency_us: u64, times: usize| {
        for _ in 0..times {
            for sent in fill(&mut window, 0) {
                window.on_delivered(latency_us, sent);
            }
        }
        window.limit()
    };
    assert_eq!(deliver(1_000, 1_000), 32);
    assert!(deliver(20_000, 10) < 20);
    assert_eq!(deliver(20_000, 1_000), 32);
}

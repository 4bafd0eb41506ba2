//! What a server tells at `/metrics`.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::command::http_get;
use crate::server::Server;

/// How long a metric may take to say what is expected: gauges are set once a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// The sum of all series of a metric that have these labels; 0 if there is none.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (found, told) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| told.contains(&format!("{label}=\"{value}\""));
        if found == name && labels.iter().all(has) {
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}

impl Server {
    /// A metric now, summed over all series that have these labels; 0 if there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
        let (status, text) = http_get(self.http(), "/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        sum(&text, name, labels)
    }

    /// The same, once it is as wanted.
    pub async fn until_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        is_wanted: impl Fn(f64) -> bool,
    ) -> anyhow::Result<f64> {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name, labels).await?;
            if is_wanted(value) {
                return Ok(value);
            }
            ensure!(Instant::now() < end, "{name}{labels:?} stays {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_name_and_labels() {
        let text = "# HELP a_total x\na_total{namespace=\"n\",what=\"b\"} 3\na_total{namespace=\"n\",what=\"c\"} 4\n\
                    a_total_more 9\nplain 1.5\n";
        let of = |name, labels: &[_]| sum(text, name, labels).expect("numbers");
        assert_eq!(of("a_total", &[("namespace", "n")]), 7.0);
        assert_eq!(of("a_total", &[("namespace", "n"), ("what", "c")]), 4.0);
        assert_eq!(of("a_total", &[("what", "d")]), 0.0);
        assert_eq!(of("plain", &[]), 1.5);
    }
}

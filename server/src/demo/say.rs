//! What the demo prints.

/// Begins a chapter.
pub(super) fn title(text: &str) {
    println!("\n{text}");
}

/// Tells something that was just seen to hold.
pub(super) fn line(text: impl AsRef<str>) {
    println!("  {}", text.as_ref());
}

/// What to try on the server that was left running.
pub(super) fn try_next(endpoint: &str, http: &str) {
    println!(
        "
  export HANDFAST_ENDPOINT={endpoint} HANDFAST_NAMESPACE=bank
  handfast read accounts alice                  one row
  handfast submit examples/transfer.json        alice sends bob 30
  handfast explain <the id that it printed>     its life, from the log
  handfast status bank                          the shards
  handfast txn list --unresolved                transactions without an outcome
  curl {http}/metrics"
    );
}

/// What to try after a demo.
pub(super) fn what_next() {
    println!(
        "
Try next:
  handfast demo --keep        the same, and leave the server running to play with
  handfast serve --data ./data --namespace examples/bank.toml
  handfast submit --namespace bank examples/open-accounts.json
  handfast submit --namespace bank examples/transfer.json
  handfast --help"
    );
}

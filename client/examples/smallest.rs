//! Moves 30 from alice to bob, or does nothing at all.

use handfast_client::{Client, DEFAULT_ENDPOINT, Outcome, Transaction, column, exists};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::var("HANDFAST_ENDPOINT").unwrap_or(DEFAULT_ENDPOINT.into());
    let client = Client::connect([endpoint]).await?;
    let transfer = Transaction::new("bank")
        .require("accounts", "alice", column("balance").at_least(30))
        .require("accounts", "bob", exists())
        .add("accounts", "alice", ("balance", -30))
        .add("accounts", "bob", ("balance", 30));
    match client.submit(&transfer).await? {
        Outcome::Committed(it) => println!("committed at {}", it.timestamp_us),
        Outcome::Aborted(it) => println!("aborted, nothing was written: {}", it.reason),
        Outcome::Unknown(it) => println!("unknown, submit the same again: {}", it.locator),
    }
    Ok(())
}

//! A namespace as a target of another: what is sent there is in its log, once, and goes on from there.

use std::collections::BTreeSet;

use handfast_client::{Client, Message, Transaction};
use handfast_e2e::{Endpoint, Server, bank};
use tempfile::TempDir;

/// The bank with another name.
fn named(name: &str, targets: &str) -> String {
    format!("{}{targets}", bank("").replace("name = \"bank\"", &format!("name = \"{name}\"")))
}

fn chained(name: &str, to: &str) -> String {
    format!(
        "[[target]]\nname = \"next\"\nkind = \"namespace\"\nnamespace = \"{name}\"\nto = [{to}]\n"
    )
}

async fn send(client: &Client, number: usize) -> anyhow::Result<()> {
    let message = Message::new(format!("order {number}"))
        .key(format!("key {}", number % 3))
        .header("number", number.to_string())
        .to("next");
    let order = Transaction::new("bank").add("accounts", "a", ("balance", 1)).message(message);
    anyhow::ensure!(client.submit(&order).await?.is_committed());
    Ok(())
}

#[tokio::test]
async fn what_is_sent_to_another_namespace_goes_on_from_there_once_and_in_order_over_kills()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let folder = TempDir::new()?;
    let audit = named("audit", &shop.target("shop", ""));
    let mut server =
        Server::start(folder.path(), &[&audit, &named("bank", &chained("audit", "\"shop\""))])
            .await?;
    let client = server.client().await?;
    for number in 0..40 {
        send(&client, number).await?;
        if number % 15 == 9 {
            server.kill().await?;
            server.restart().await?;
        }
    }
    let taken = shop.until_taken(40).await?;
    // Written there under one name each: whatever was sent again was known.
    let names: BTreeSet<&str> = taken.iter().map(|it| it.name()).collect();
    assert_eq!(names.len(), 40);
    for key in 0..3_usize {
        let numbers = taken.iter().filter_map(|it| it.headers["number"].parse::<usize>().ok());
        let mut seen: Vec<usize> = Vec::new();
        for number in numbers.filter(|number| number % 3 == key) {
            // The endpoint may be sent again what it had taken before a kill.
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        let in_order: Vec<usize> = (0..40).filter(|it| it % 3 == key).collect();
        assert_eq!(seen, in_order, "key {key}");
    }
    server.stop().await
}

#[tokio::test]
async fn namespaces_that_lead_round_or_nowhere_are_refused() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let mut server = Server::start(folder.path(), &[&named("audit", "")]).await?;
    let client = server.client().await?;
    let admin = client.admin();
    for (definition, said) in [
        (named("bank", &chained("audits", "")), "did you mean \"audit\"?"),
        (named("bank", &chained("audit", "\"shop\"")), "unknown target \"shop\""),
        (named("bank", &chained("bank", "")), "is the namespace itself"),
    ] {
        let refused = admin.create_namespace(&definition).await.expect_err("wrong");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    admin.create_namespace(&named("bank", &chained("audit", ""))).await?;
    let back = named("audit", &chained("bank", ""));
    for refused in [
        admin.change_namespace(&back, 1).await.expect_err("a loop"),
        admin.validate_namespace(&back).await.expect_err("a loop"),
    ] {
        assert!(refused.to_string().contains("audit → bank → audit"), "{refused}");
    }
    server.stop().await
}

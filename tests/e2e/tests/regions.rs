//! A namespace in two regions, each a server of its own: what is committed in one arrives in the other, whole and
//! once, over kills and cuts; homes move without loss.

use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{ArrivedFrom, Client, Outcome, Transaction, exists};
use handfast_e2e::{Server, bank, commit, run};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Two servers that have the bank, one in each region.
struct Two {
    _folder: TempDir,
    servers: [Server; 2],
    clients: [Client; 2],
}

const NAMES: [&str; 2] = ["eu", "us"];

/// The bank as one of the regions has it.
fn file(here: usize, endpoints: &[String; 2], home: &str, term: u64) -> String {
    let all: String = (NAMES.iter().zip(endpoints))
        .map(|(name, server)| {
            format!("[[region.all]]\nname = \"{name}\"\nservers = [\"{server}\"]\n")
        })
        .collect();
    format!(
        "{}[[table]]\ncql = \"\"\"{}\"\"\"\n\n[region]\nhere = \"{}\"\nhome = \"{home}\"\nterm = {term}\ntable = \"arrived\"\n{all}",
        bank(""),
        wal_core_arrived(),
        NAMES[here],
    )
}

fn wal_core_arrived() -> &'static str {
    "CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, transactions bigint)"
}

async fn two(home: &str) -> anyhow::Result<Two> {
    let folder = TempDir::new()?;
    let mut servers = Vec::new();
    for name in NAMES {
        let place = folder.path().join(name);
        std::fs::create_dir(&place)?;
        servers.push(Server::start(&place, &[]).await?);
    }
    let servers: [Server; 2] = servers.try_into().ok().context("there are two")?;
    let endpoints = [servers[0].endpoint(), servers[1].endpoint()];
    let clients = [servers[0].client().await?, servers[1].client().await?];
    for (here, client) in clients.iter().enumerate() {
        client.admin().create_namespace(&file(here, &endpoints, home, 1)).await?;
    }
    Ok(Two { _folder: folder, servers, clients })
}

fn put(account: &str, balance: i64) -> Transaction {
    Transaction::new("bank").put("accounts", account, ("balance", balance))
}

fn since(region: &str, watermark_us: i64) -> [ArrivedFrom; 1] {
    [ArrivedFrom { region: region.to_owned(), watermark_us }]
}

async fn balance_at(
    client: &Client,
    account: &str,
    not_before: &[ArrivedFrom],
) -> anyhow::Result<Option<i64>> {
    let (rows, _) = client.read_arrived("bank", [("accounts", account)], not_before).await?;
    Ok(rows[0].integer("balance"))
}

#[tokio::test]
async fn what_commits_in_one_region_arrives_in_the_other_whole_and_over_kills() -> anyhow::Result<()>
{
    let Two { _folder, mut servers, clients: [eu, us] } = two("eu").await?;
    let mut last = 0;
    for number in 0..60_i64 {
        // Two accounts of other shards: their sum is always 0.
        let both = Transaction::new("bank").put("accounts", "debit", ("balance", -number)).put(
            "accounts",
            "credit",
            ("balance", number),
        );
        last = commit(&eu, &both).await?;
        if number % 20 == 7 {
            let (rows, _) = us
                .read_arrived("bank", [("accounts", "debit"), ("accounts", "credit")], &[])
                .await?;
            let sum: i64 = rows.iter().filter_map(|row| row.integer("balance")).sum();
            ensure!(sum == 0, "half a transaction is there: {rows:?}");
        }
        if number % 25 == 12 {
            let at = usize::from(number > 25);
            servers[at].kill().await?;
            servers[at].restart().await?;
        }
    }
    assert_eq!(balance_at(&us, "credit", &since("eu", last)).await?, Some(59));
    // A deletion, too; and what goes to nobody else stays.
    let gone = Transaction::new("bank").delete_row("accounts", "credit");
    commit(&eu, &gone).await?;
    commit(&eu, &put("ours", 1).to_regions(["eu"])).await?;
    let last = commit(&eu, &put("all", 2)).await?;
    assert_eq!(balance_at(&us, "credit", &since("eu", last)).await?, None);
    assert_eq!(balance_at(&us, "ours", &[]).await?, None);
    assert_eq!(balance_at(&us, "all", &[]).await?, Some(2));
    assert_eq!(balance_at(&eu, "ours", &[]).await?, Some(1));
    // The other region is not the home: it is written in the first.
    let refused = us.submit(&put("all", 3)).await.expect_err("us is not its home");
    assert!(refused.to_string().contains("is written in region \"eu\""), "{refused}");
    let arrived = us.admin().list_regions("bank").await?.regions.swap_remove(0);
    assert_eq!(arrived.arrived_transactions, 62 + 1 - 1);
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_regions_that_write_the_same_rows_become_equal_after_a_cut() -> anyhow::Result<()> {
    let Two { _folder, mut servers, clients } = two("any").await?;
    let [eu, us] = &clients;
    let refused = eu.submit(&put("a", 1).require("accounts", "a", exists())).await;
    let refused = refused.expect_err("no row has a home");
    assert!(refused.to_string().contains("give it a home"), "{refused}");
    let refused = eu.submit(&Transaction::new("bank").add("accounts", "a", ("balance", 1))).await;
    assert!(refused.is_err(), "a sum needs a home");
    servers[1].signal("STOP").await?;
    for number in 0..20_i64 {
        commit(eu, &put(&format!("account {}", number % 5), number)).await?;
    }
    servers[1].signal("CONT").await?;
    servers[0].signal("STOP").await?;
    for number in 20..40_i64 {
        let account = format!("account {}", number % 7);
        let transaction = if number % 3 == 0 {
            Transaction::new("bank").delete_row("accounts", account)
        } else {
            put(&account, number)
        };
        commit(us, &transaction).await?;
    }
    servers[0].signal("CONT").await?;
    let (first, second) =
        (commit(eu, &put("account 1", 100)).await?, commit(us, &put("z", 1)).await?);
    let accounts: Vec<String> = (0..7).map(|number| format!("account {number}")).collect();
    let rows = |from: &'static str, at| {
        let accounts = accounts.clone();
        let client = clients[usize::from(from == "eu")].clone();
        async move {
            let keys = accounts.iter().map(|account| ("accounts", account.as_str()));
            anyhow::Ok(client.read_arrived("bank", keys, &since(from, at)).await?.0)
        }
    };
    let (in_us, in_eu) = (rows("eu", first).await?, rows("us", second).await?);
    assert_eq!(in_eu, in_us);
    assert!(in_us.iter().any(|row| row.integer("balance") == Some(100)));
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}

/// Runs `handfast region` against a server.
async fn region(server: &Server, arguments: &[&str]) -> anyhow::Result<handfast_e2e::Said> {
    let endpoint = server.endpoint();
    let mut all = vec!["--endpoint", &endpoint, "-o", "json", "region"];
    all.extend_from_slice(arguments);
    run(&all).await
}

#[tokio::test]
async fn a_planned_failover_and_back_loses_nothing() -> anyhow::Result<()> {
    let Two { _folder, mut servers, clients: [eu, us] } = two("eu").await?;
    let writer = tokio::spawn({
        let (eu, us) = (eu.clone(), us.clone());
        async move {
            // Goes to whichever region takes it; what was committed is counted.
            let (mut committed, mut number) = (Vec::new(), 0_i64);
            while committed.len() < 120 {
                number += 1;
                for client in [&eu, &us] {
                    let account = format!("account {number}");
                    let transaction = put(&account, number).require(
                        "accounts",
                        account.as_str(),
                        handfast_client::not_exists(),
                    );
                    if let Ok(Outcome::Committed(_)) = client.submit(&transaction).await {
                        committed.push(number);
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            committed
        }
    });
    region(&servers[1], &["failover", "bank", "--to", "us"])
        .await?
        .expect_failure(1, &["Nothing is lost", "--yes"]);
    region(&servers[1], &["failover", "bank", "--to", "us", "--yes"]).await?.expect_success();
    let committed = tokio::time::timeout(PATIENCE, writer).await??;
    for number in &committed {
        let found = balance_at(&us, &format!("account {number}"), &[]).await?;
        ensure!(found == Some(*number), "account {number}: {found:?}");
    }
    assert!(eu.submit(&put("late", 1)).await.is_err(), "eu is not the home any more");
    commit(&us, &put("late", 2)).await?;
    // The same again changes nothing; back again, as well.
    region(&servers[0], &["failover", "bank", "--to", "us", "--yes"]).await?.expect_success();
    region(&servers[0], &["failover", "bank", "--to", "eu", "--yes"]).await?.expect_success();
    commit(&eu, &put("late", 3)).await?;
    assert!(us.submit(&put("late", 4)).await.is_err());
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_the_old_home_what_has_not_arrived_is_named_and_comes_later() -> anyhow::Result<()>
{
    let Two { _folder, mut servers, clients: [eu, us] } = two("eu").await?;
    let arrived = commit(&eu, &put("a", 1)).await?;
    balance_at(&us, "a", &since("eu", arrived)).await?;
    servers[1].signal("STOP").await?;
    commit(&eu, &put("a", 2)).await?;
    commit(&eu, &put("b", 2)).await?;
    servers[0].kill().await?;
    servers[1].signal("CONT").await?;
    region(&servers[1], &["failover", "bank", "--to", "us", "--yes"])
        .await?
        .expect_failure(5, &["--force"]);
    region(&servers[1], &["failover", "bank", "--to", "us", "--force"])
        .await?
        .expect_failure(1, &["has committed after", "--yes"]);
    let forced = ["failover", "bank", "--to", "us", "--force", "--yes"];
    region(&servers[1], &forced).await?.expect_success();
    commit(&us, &put("a", 3)).await?;
    servers[0].restart().await?;
    // It follows by itself: refuses writes, sends what it had, and takes what is newer.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (here, there) = (balance_at(&eu, "a", &[]).await?, balance_at(&us, "b", &[]).await?);
        let follows = eu.admin().list_regions("bank").await?.home == "us";
        if (here, there, follows) == (Some(3), Some(2), true) {
            break;
        }
        ensure!(tokio::time::Instant::now() < end, "{here:?} {there:?} {follows}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(eu.submit(&put("a", 4)).await.is_err());
    assert_eq!(balance_at(&us, "a", &[]).await?, Some(3), "the later write time stays");
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_regions_is_said() -> anyhow::Result<()> {
    let Two { _folder, mut servers, clients: [eu, us] } = two("eu").await?;
    let refused = eu.submit(&put("a", 1).to_regions(["asia"])).await;
    let refused = refused.expect_err("there is no such region");
    assert!(refused.to_string().contains("unknown region \"asia\""), "{refused}");
    let wrong = us.read_arrived("bank", [("accounts", "a")], &since("us", 1)).await;
    assert!(wrong.expect_err("us is here").to_string().contains("all of it is here"));
    region(&servers[0], &["failover", "bank", "--to", "asia"])
        .await?
        .expect_failure(2, &["there are eu, us"]);
    // A region whose servers are those of another: said where it is sent, nothing goes round.
    let endpoints = [servers[0].endpoint(), servers[0].endpoint()];
    eu.admin().change_namespace(&file(0, &endpoints, "eu", 1), 1).await?;
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let problem = eu.admin().list_regions("bank").await?.regions.swap_remove(1).problem;
        if problem.contains("this is region \"eu\", not \"us\"") {
            break;
        }
        ensure!(tokio::time::Instant::now() < end, "{problem:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}

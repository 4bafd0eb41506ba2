//! Namespaces in several regions.

use super::*;

/// A namespace in two regions; `region` is what its section says beside the usual.
fn in_regions(region: &str) -> String {
    format!(
        "{BANK}[[table]]\ncql = \"{ARRIVED_CQL}\"\n[region]\nhere = \"eu\"\nhome = \"eu\"\ntable = \"arrived\"\n\
         {region}\n[[region.all]]\nname = \"eu\"\nservers = [\"http://eu\"]\n[[region.all]]\nname = \"us\"\n\
         servers = [\"http://us\"]\n"
    )
}

#[test]
fn regions_are_numbered_by_their_places_and_tables_have_homes() {
    let file = in_regions("[region.tables]\nledger = \"any\"");
    let bank = read(&file);
    assert_eq!(read(&bank.to_toml()), bank, "the canonical file says the same");
    let region = bank.region().expect("it is in regions");
    assert_eq!((region.number(), region.term), (0, 1));
    assert_eq!(
        region.others().map(|(number, it)| (number, &*it.name)).collect::<Vec<_>>(),
        [(1, "us")]
    );
    let home = |table: &str| region.home_of(table).map(str::to_owned);
    assert_eq!(home("bank.accounts").as_deref(), Some("eu"));
    assert_eq!(home("bank.ledger"), None);
    assert_eq!(home("arrived").as_deref(), Some("eu"), "that is each region's own");
    let there = read(&file.replace("here = \"eu\"", "here = \"us\""));
    let region = there.region().expect("it is in regions");
    assert!(!region.is_written_here("bank.accounts") && region.is_written_here("bank.ledger"));
    assert!(region.is_written_here("arrived"));
    let gone = read(&file.replace("[\"http://us\"]", "[]"));
    assert_eq!(read(&gone.to_toml()), gone);
    assert!(gone.region().is_some_and(|region| region.members[1].servers.is_empty()));
    assert!(bank.validate_change(&gone).is_ok() && gone.validate_change(&bank).is_ok());
}

#[test]
fn what_is_wrong_with_regions_is_told() {
    let without = |word: &str| {
        let file = in_regions("");
        let lines = file.lines().filter(|line| !line.starts_with(word));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    for (file, said) in [
        (without("here"), "say which of the regions this is"),
        (without("home"), "say where tables are written"),
        (without("table ="), "declare it: CREATE TABLE arrived"),
        (without("servers"), "name a server or two"),
        (in_regions("").replace("http://us", "us:7420"), "does not begin with http://"),
        (in_regions("").replace("\"us\"", "\"eu\""), "is there twice"),
        (in_regions("").replace("home = \"eu\"", "home = \"asia\""), "unknown region \"asia\""),
        (in_regions("").replace("here = \"eu\"", "here = \"asia\""), "is not in [[region.all]]"),
        (in_regions("[region.tables]\nledgers = \"us\""), "there is no table \"ledgers\""),
        (
            in_regions("").replace("name = \"bank\"", "name = \"bank\"\nshards = 1"),
            "two shards or more",
        ),
        (
            in_regions("").replace("name = \"bank\"", "name = \"bank\"\nwrite_version = 3"),
            "regions need 4",
        ),
        (in_regions("").replace("term bigint", "term text"), "does not have the columns"),
    ] {
        let told = problems(&file);
        assert!(told.iter().any(|problem| problem.contains(said)), "{said}: {told:?}");
    }
}

#[test]
fn regions_keep_their_places_and_homes_move_with_a_later_term() {
    let old = read(&in_regions(""));
    read(BANK).validate_change(&read(BANK)).expect("nothing changes");
    let refused = |new: &str, path: &str| {
        let error = old.validate_change(&read(new)).expect_err("it is refused");
        assert!(error.problems.iter().any(|problem| problem.path == path), "{error}");
    };
    let file = in_regions("");
    refused(&file.replace("here = \"eu\"", "here = \"us\""), "region.here");
    refused(&file.replace("home = \"eu\"", "home = \"us\""), "region.home");
    let swapped =
        file.replace("name = \"eu\"", "name = \"x\"").replace("name = \"us\"", "name = \"eu\"");
    refused(&swapped.replace("name = \"x\"", "name = \"us\""), "region.all[0]");
    let without = format!("{BANK}[[table]]\ncql = \"{ARRIVED_CQL}\"\n");
    refused(&without, "region");
    let homes = old.region().expect("it is in regions").homes.clone().moved("eu", "us");
    let later = old.clone().with_homes(2, homes);
    old.validate_change(&later).expect("a later term");
    let back = later.validate_change(&old).expect_err("an earlier term");
    assert_eq!(back.problems[0].path, "region.term");
    read(&without).validate_change(&old).expect("regions may come later");
    let region = old.region().expect("it is in regions");
    let there = read(&file.replace("here = \"eu\"", "here = \"us\""));
    let moved = later.region().expect("it is in regions").homes.clone();
    assert!(region.follows(2, &moved), "it is not the home any more");
    assert!(!region.follows(1, &moved), "no later term");
    let there = there.region().expect("it is in regions");
    assert!(!there.follows(2, &moved), "who becomes the home is told so when it has everything");
}

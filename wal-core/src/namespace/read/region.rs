//! Reading `[region]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::own_table::{read_own_table, table_named};
use super::{Section, is_name};
use crate::namespace::region::{ANY, RegionMember};
use crate::namespace::settings::{DelaySettings, Numbers as _, RegionSettings};
use crate::problem::Problem;
use crate::region::MAX_REGIONS;
use crate::schema::Table;

/// The table that says what has arrived from other regions, as it must be declared, but for its name: a row for
/// each of them.
///
/// | column | what |
/// |---|---|
/// | `region` | from which |
/// | `watermark` | everything of it that committed at or before this time (microseconds) is here |
/// | `term` | the term that it had then |
/// | `transactions` | how many have arrived |
pub const ARRIVED_CQL: &str = "CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, \
                               transactions bigint)";

const WORDS: [&str; 5] = ["here", "home", "table", "tables", "all"];

/// Reads `[region]`.
pub(super) fn read_region(
    root: &mut Section,
    tables: &[Arc<Table>],
    delay: Option<&DelaySettings>,
    problems: &mut Vec<Problem>,
) -> Option<RegionSettings> {
    let mut section = root.section("region", problems)?;
    let mut region = RegionSettings::default();
    section.numbers(&mut region, problems);
    region.members = read_members(&mut section, problems);
    match section.text("here", problems) {
        Some(here) => region.here = here,
        None => {
            section.missing("here", "say which of the regions this is, here = \"eu\"", problems);
        }
    }
    if !region.here.is_empty() && region.member_named(&region.here).is_err() {
        let message = format!("{:?} is not in [[region.all]]", region.here);
        section.problem("here", message, problems);
    }
    match section.text("home", problems) {
        Some(home) => region.homes.home = read_home(&section, "home", home, &region, problems),
        None => {
            let message = "say where tables are written, home = \"eu\", or \"any\"";
            section.missing("home", message, problems);
        }
    }
    read_homes(&mut section, &mut region, tables, problems);
    let (what, example) = ("says what has arrived", "arrived");
    region.table = read_own_table(&mut section, tables, what, example, ARRIVED_CQL, problems);
    if let Some(delay) = delay
        && region.home_of(&delay.table).is_none()
    {
        let message = format!(
            "{} keeps what is due later, which is done in one region: give it a home in [region.tables]",
            delay.table
        );
        section.problem("home", message, problems);
    }
    section.finish(&WORDS, RegionSettings::SETTINGS, problems);
    Some(region)
}

fn read_members(section: &mut Section, problems: &mut Vec<Problem>) -> Vec<RegionMember> {
    let mut members: Vec<RegionMember> = Vec::new();
    for mut member in section.sections("all", problems) {
        let name = member.text("name", problems).unwrap_or_default();
        if !is_name(&name) || name == ANY {
            let message =
                format!("{name:?} is no name of a region: lower-case letters, as in \"eu\"");
            member.problem("name", message, problems);
        }
        if members.iter().any(|other| other.name == name) {
            member.problem("name", format!("the region {name:?} is there twice"), problems);
        }
        let servers = member.texts("servers", problems);
        if servers.is_none() {
            let message = "name a server or two, as in servers = [\"http://10.0.0.1:7421\"]; none, [], while \
                           nobody is there";
            member.missing("servers", message, problems);
        }
        let servers = servers.unwrap_or_default();
        for server in &servers {
            if !server.starts_with("http://") && !server.starts_with("https://") {
                let message = format!("{server:?} does not begin with http:// or https://");
                member.problem("servers", message, problems);
            }
        }
        member.finish(&["name", "servers"], &[], problems);
        members.push(RegionMember { name, servers });
    }
    if !(2..=MAX_REGIONS).contains(&members.len()) {
        let message = format!(
            "a namespace is in 2 to {MAX_REGIONS} regions, each a section [[region.all]]; these are {}",
            members.len()
        );
        section.problem("all", message, problems);
    }
    members
}

fn read_home(
    section: &Section,
    key: &str,
    home: String,
    region: &RegionSettings,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    if home == ANY {
        return None;
    }
    if let Err(error) = region.member_named(&home) {
        section.problem(key, error.to_string(), problems);
    }
    Some(home)
}

fn read_homes(
    section: &mut Section,
    region: &mut RegionSettings,
    tables: &[Arc<Table>],
    problems: &mut Vec<Problem>,
) {
    let Some(mut homes) = section.section("tables", problems) else { return };
    let mut found = BTreeMap::new();
    for (name, home) in homes.plain_values(problems) {
        match table_named(tables, &name) {
            Some(table) => {
                let home = read_home(&homes, &name, home, region, problems);
                found.insert(table.full_name().to_owned(), home);
            }
            None => homes.problem(&name, format!("there is no table {name:?}"), problems),
        }
    }
    region.homes.tables = found;
}

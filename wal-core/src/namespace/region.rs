//! `[region]`: installations that each have the namespace.

use std::collections::BTreeMap;

use super::settings::RegionSettings;
use crate::nearest::suggestion;
use crate::schema::UnknownName;

/// What stands for a home where a table is written in every region.
pub const ANY: &str = "any";

/// One of the regions of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMember {
    /// Its name.
    pub name: String,
    /// Where its servers are, `http://host:port`: any of them will do. None while nobody is there: nothing is sent
    /// to it then, and no log is kept for it.
    pub servers: Vec<String>,
}

/// Where tables are written: each in its home, or in every region if it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// The home of tables that `tables` does not name.
    pub home: Option<String>,
    /// Tables with a home of their own, by their full names.
    pub tables: BTreeMap<String, Option<String>>,
}

impl Homes {
    /// The home of a table, if it has one.
    pub fn of(&self, full_name: &str) -> Option<&str> {
        self.tables.get(full_name).unwrap_or(&self.home).as_deref()
    }

    /// The same with everything that is at home in `from` at home in `to`.
    #[must_use]
    pub fn moved(mut self, from: &str, to: &str) -> Self {
        for home in std::iter::once(&mut self.home).chain(self.tables.values_mut()) {
            if home.as_deref() == Some(from) {
                *home = Some(to.to_owned());
            }
        }
        self
    }
}

impl RegionSettings {
    /// The home of a table, if it has one. What has arrived is each region's own.
    pub fn home_of(&self, full_name: &str) -> Option<&str> {
        if full_name == self.table { Some(&self.here) } else { self.homes.of(full_name) }
    }

    /// Whether a table is written in this region by what is submitted here.
    pub fn is_written_here(&self, full_name: &str) -> bool {
        self.home_of(full_name).is_none_or(|home| home == self.here)
    }

    /// Whether homes of a later term are to be taken over from another region. Not if tables would be written here
    /// by that which are not yet: whoever moved them sees to it that this region has everything first.
    pub fn follows(&self, term: u64, homes: &Homes) -> bool {
        let is_here = |home: Option<&str>| home == Some(&self.here);
        let opens = |of: &dyn Fn(&Homes) -> bool| of(homes) && !of(&self.homes);
        let mut tables = self.homes.tables.keys().chain(homes.tables.keys());
        term > self.term
            && !opens(&|homes| is_here(homes.home.as_deref()))
            && !tables.any(|table| opens(&|homes| is_here(homes.of(table))))
    }

    /// The region with this name and its number, or what to say if there is none.
    pub fn member_named(&self, name: &str) -> Result<(u8, &RegionMember), UnknownName> {
        let mut members = (0..).zip(&self.members);
        members.find(|(_, member)| member.name == name).ok_or_else(|| UnknownName {
            what: "region".to_owned(),
            name: name.to_owned(),
            suggestion: suggestion(name, self.members.iter().map(|member| &*member.name)),
        })
    }

    /// The number of this region.
    pub fn number(&self) -> u8 {
        self.member_named(&self.here).map_or(0, |(number, _)| number)
    }

    /// The other regions with their numbers.
    pub fn others(&self) -> impl Iterator<Item = (u8, &RegionMember)> {
        (0..).zip(&self.members).filter(|(_, member)| member.name != self.here)
    }
}

/// A home as a namespace file says it.
pub(super) fn word_of(home: &Option<String>) -> &str {
    home.as_deref().unwrap_or(ANY)
}

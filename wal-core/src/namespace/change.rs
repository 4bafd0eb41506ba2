//! What the next version of a namespace may change.

use super::settings::Word;
use super::{Namespace, NamespaceError, Problem};
use crate::schema::{ColumnKind, Table};

impl Namespace {
    /// Whether `new` may follow `self`: see the module's "Versions". All problems at once.
    pub fn validate_change(&self, new: &Self) -> Result<(), NamespaceError> {
        let mut problems = Vec::new();
        let mut refuse = |path: String, message: String| problems.push(Problem { path, message });
        if self.name != new.name {
            refuse("name".into(), format!("the namespace is {:?}: create another one", self.name));
        }
        if self.shards != new.shards {
            let message = format!(
                "a namespace keeps its {} shards: rows would lose their place",
                self.shards
            );
            refuse("shards".into(), message);
        }
        if self.write_version() > new.write_version() {
            let message = format!(
                "it is {} already, and records of it may be in the log: it only rises",
                self.write_version()
            );
            refuse("write_version".into(), message);
        }
        if self.log.kind != new.log.kind {
            let message = format!("a namespace keeps its log: {:?}", self.log.kind.word());
            refuse("log.kind".into(), message);
        }
        if let (Some(old), Some(new)) = (&self.log.kafka, &new.log.kafka)
            && old.topic != new.topic
        {
            let message = format!("a namespace keeps its topic: {:?}", old.topic);
            refuse("log.topic".into(), message);
        }
        if self.store.kind != new.store.kind {
            let message = format!("a namespace keeps its store: {:?}", self.store.kind.word());
            refuse("store.kind".into(), message);
        }
        if self.store.keyspace != new.store.keyspace && self.store.kind == new.store.kind {
            let message = format!(
                "a namespace keeps its keyspace: {:?}; its rows are there",
                self.store.keyspace.as_deref().unwrap_or("none")
            );
            refuse("store.keyspace".into(), message);
        }
        if self.store.own_keyspace != new.store.own_keyspace {
            let message = format!(
                "a namespace keeps the keyspace where it claims its tables: {:?}",
                self.store.own_keyspace
            );
            refuse("store.own_keyspace".into(), message);
        }
        for (index, old) in self.tables.iter().enumerate() {
            let path = format!("table[{index}]");
            match new.tables.get(index) {
                Some(table) if table.full_name() == old.full_name() => {
                    check_table(old, table, &path, &mut refuse);
                }
                Some(table)
                    if new.tables.iter().any(|other| other.full_name() == old.full_name()) =>
                {
                    let message = format!(
                        "{} stands in the place of {}: tables keep their order, add new ones after \
                         the last",
                        table.full_name(),
                        old.full_name()
                    );
                    refuse(path, message);
                }
                Some(_) | None => {
                    let message = format!(
                        "the table {} is missing: tables cannot be dropped or renamed yet",
                        old.full_name()
                    );
                    refuse(path, message);
                }
            }
        }
        if let Some(old) = &self.delay
            && new.delay.as_ref().is_none_or(|new| new.table != old.table)
        {
            let message = format!("a namespace keeps what is due later in {}", old.table);
            refuse("delay.table".into(), message);
        }
        check_regions(self, new, &mut refuse);
        for old in self.targets.iter().filter(|target| !target.retired) {
            if new.target_named(&old.name).is_err() {
                let message = format!(
                    "the target {:?} is missing, and may have work pending: set `retired = true` first, and \
                     leave it out once it has delivered everything",
                    old.name
                );
                refuse("target".into(), message);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(NamespaceError { problems }) }
    }
}

/// Regions are numbered by their places, which are in write times: the list only grows.
fn check_regions(old: &Namespace, new: &Namespace, refuse: &mut impl FnMut(String, String)) {
    let Some(old) = &old.region else { return };
    let Some(new) = &new.region else {
        let message = "a namespace stays in its regions: rows have their write times".to_owned();
        return refuse("region".into(), message);
    };
    if old.here != new.here {
        let message = format!("this installation stays region {:?}", old.here);
        refuse("region.here".into(), message);
    }
    if old.table != new.table {
        let message = format!("a namespace keeps what has arrived in {}", old.table);
        refuse("region.table".into(), message);
    }
    for (index, member) in old.members.iter().enumerate() {
        if new.members.get(index).is_none_or(|other| other.name != member.name) {
            let message = format!(
                "region {:?} keeps its place: add new ones after the last, and leave none out",
                member.name
            );
            refuse(format!("region.all[{index}]"), message);
        }
    }
    if new.term < old.term {
        let message = format!("it is {} already: it only rises", old.term);
        refuse("region.term".into(), message);
    }
    if new.term == old.term && new.homes != old.homes {
        let message = format!(
            "homes move by `handfast region failover`, or with a later term than {}, in every region",
            old.term
        );
        refuse("region.home".into(), message);
    }
}

fn check_table(old: &Table, new: &Table, path: &str, refuse: &mut impl FnMut(String, String)) {
    if old.ownership() != new.ownership() {
        let message = format!("{} stays {:?}", old.full_name(), old.ownership().name());
        refuse(format!("{path}.ownership"), message);
    }
    let path = format!("{path}.cql");
    for (index, was) in old.columns().iter().enumerate() {
        let message = match new.columns().get(index) {
            Some(is) if is.name != was.name && new.find_column(&was.name).is_some() => format!(
                "the column {:?} stands in the place of {:?}: columns keep their order, add new ones \
                 after the last",
                is.name, was.name
            ),
            Some(is) if is.name == was.name && is.ty != was.ty => {
                format!("the column {:?} stays {}, not {}", was.name, was.ty, is.ty)
            }
            Some(is) if is.name == was.name && is.kind != was.kind => {
                format!("the primary key may not change: {:?} has another place or order", was.name)
            }
            Some(is) if is.name == was.name => continue,
            Some(_) | None => {
                format!(
                    "the column {:?} is missing: columns cannot be dropped or renamed yet",
                    was.name
                )
            }
        };
        refuse(path.clone(), message);
    }
    for added in new.columns().iter().skip(old.columns().len()) {
        if added.kind != ColumnKind::Regular && old.find_column(&added.name).is_none() {
            let message = format!("the new column {:?} may not be part of the key", added.name);
            refuse(path.clone(), message);
        }
    }
}

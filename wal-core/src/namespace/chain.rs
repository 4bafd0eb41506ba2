//! Namespaces that are targets of others.

use std::collections::BTreeSet;

use super::{Namespace, NamespaceError, Problem, Target, TargetPlace};
use crate::nearest::suggestion;

impl Namespace {
    /// The targets that are namespaces: place in the file, target, name of the namespace, its targets.
    fn chained(&self) -> impl Iterator<Item = (usize, &Target, &str, &[String])> {
        let targets = self.targets().iter().enumerate();
        targets.filter_map(|(index, target)| match &target.place {
            TargetPlace::Namespace { namespace, to } => {
                Some((index, target, namespace.as_str(), &to[..]))
            }
            TargetPlace::Http { .. }
            | TargetPlace::Kafka { .. }
            | TargetPlace::Memcached { .. }
            | TargetPlace::Table { .. } => None,
        })
    }

    /// Whether another namespace is a target of it.
    pub fn is_chained(&self) -> bool {
        self.chained().next().is_some()
    }

    /// Checks its targets that are namespaces against all others: they must be there, have the targets that are
    /// named, and not lead back.
    pub fn validate_chains(&self, others: &[Self]) -> Result<(), NamespaceError> {
        let mut problems = Vec::new();
        for (index, target, name, to) in self.chained() {
            let mut refuse = |key: &str, message: String| {
                problems.push(Problem { path: format!("target[{index}].{key}"), message });
            };
            let Some(other) = others.iter().find(|other| other.name() == name) else {
                if name == self.name() {
                    let message = format!("the target {:?} is the namespace itself", target.name);
                    refuse("namespace", message);
                } else {
                    let hint = suggestion(name, others.iter().map(Self::name));
                    refuse("namespace", format!("there is no namespace {name:?}{hint}"));
                }
                continue;
            };
            for unknown in to.iter().filter_map(|to| other.target_named(to).err()) {
                refuse("to", format!("in namespace {name:?}: {unknown}"));
            }
            if let Some(way) = self.way_back(other, others) {
                refuse("namespace", format!("what it is sent would go round for ever: {way}"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(NamespaceError { problems }) }
    }

    /// How targets lead from another namespace back to this one, if they do.
    fn way_back(&self, from: &Self, others: &[Self]) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut ways = vec![(from, format!("{} → {}", self.name(), from.name()))];
        while let Some((at, way)) = ways.pop() {
            if !seen.insert(at.name()) {
                continue;
            }
            for (_, _, name, _) in at.chained() {
                let way = format!("{way} → {name}");
                if name == self.name() {
                    return Some(way);
                }
                ways.extend(others.iter().find(|it| it.name() == name).map(|it| (it, way)));
            }
        }
        None
    }
}

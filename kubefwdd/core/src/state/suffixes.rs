//! Suffixes that root allows although names below them could hide something: kept with the state, beside those that the
//! configuration allows.

use std::sync::Arc;

use kubefwd_model::HostName;

use super::State;
use super::command::Refused;
use super::view::AllowedSuffix;
use crate::names::NameRules;

impl State {
    /// New rules for names: the machine's own names, lines of the hosts file or the configuration changed.
    pub(super) fn set_name_rules(&mut self, rules: NameRules) {
        if *self.rules == rules {
            return;
        }
        self.rules = Arc::new(rules);
        self.follow_rules();
    }

    /// Lets services have names within a suffix.
    ///
    /// # Errors
    /// When nobody may ever have such names.
    pub(super) fn allow_suffix(&mut self, suffix: HostName) -> Result<(), Refused> {
        if let Some(reason) = self.rules.never_allows(&suffix) {
            let name = suffix;
            return Err(Refused::Suffix(crate::names::Refusal { name, reason }));
        }
        if self.allowed_suffixes.insert(suffix) {
            self.changed.persist = true;
            self.follow_rules();
        }
        Ok(())
    }

    /// Takes a suffix back, and all names within it.
    ///
    /// # Errors
    /// When it was not allowed here.
    pub(super) fn deny_suffix(&mut self, suffix: &HostName) -> Result<(), Refused> {
        if !self.allowed_suffixes.remove(suffix) {
            return Err(Refused::Missing {
                what: "suffix",
                key: suffix.to_string(),
                list: "names ls",
            });
        }
        self.changed.persist = true;
        self.follow_rules();
        Ok(())
    }

    /// The rules as they are with what root allows.
    pub(super) fn effective_rules(&self) -> NameRules {
        let mut rules = NameRules::clone(&self.rules);
        rules
            .allowed_suffixes
            .extend(self.allowed_suffixes.iter().cloned());
        rules
    }

    fn follow_rules(&mut self) {
        let moved = self.names.set_rules(self.effective_rules());
        self.names_moved(&moved);
        self.changed.services.extend(self.services.keys().cloned());
        self.changed.view = true;
    }

    /// What is allowed, for readers.
    pub(super) fn allowed_view(&self) -> Arc<[AllowedSuffix]> {
        let configured = self.rules.allowed_suffixes.iter();
        let configured = configured.map(|suffix| (suffix, true));
        let own = self.allowed_suffixes.iter().map(|suffix| (suffix, false));
        let all = configured.chain(own);
        all.map(|(suffix, configured)| AllowedSuffix {
            suffix: suffix.clone(),
            configured,
        })
        .collect()
    }
}

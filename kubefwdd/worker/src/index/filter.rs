//! Which services of a namespace are desired: by selection, by name, or both.

use std::collections::BTreeSet;

use bitflags::bitflags;
use globset::{Glob, GlobSet, GlobSetBuilder};
use kubefwd_model::{Failure, failure};
use kubefwd_proto::common::v1::Selection;

bitflags! {
    /// Why a service is there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Membership: u8 {
        /// The namespace's selection matches it.
        const SELECTED = 1;
        /// It is wanted by name.
        const NAMED = 2;
    }
}

/// Decides the [`Membership`] of services by their names; labels and fields are the API server's to decide.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    selection: Option<Globs>,
    names: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Globs {
    /// Empty: every name.
    include: GlobSet,
    exclude: GlobSet,
}

impl Filter {
    /// Accepts the services that `selection` matches (all if it is empty, none if it is absent), and the named ones.
    ///
    /// # Errors
    /// [`kubefwd_model::Reason::InvalidArgument`] for a glob that cannot be parsed.
    pub(crate) fn new<I>(selection: Option<&Selection>, names: I) -> Result<Self, Failure>
    where
        I: IntoIterator<Item = String>,
    {
        let selection = selection.map(|selection| {
            let (include, exclude) = (globs(&selection.include)?, globs(&selection.exclude)?);
            Ok::<_, Failure>(Globs { include, exclude })
        });
        Ok(Self {
            selection: selection.transpose()?,
            names: names.into_iter().collect(),
        })
    }

    /// The kinds of membership that this filter can give.
    pub(crate) fn needs(&self) -> Membership {
        membership(self.selection.is_some(), !self.names.is_empty())
    }

    /// Why a service of this name is wanted.
    pub(crate) fn membership(&self, name: &str) -> Membership {
        let selected = self.selection.as_ref().is_some_and(|globs| {
            (globs.include.is_empty() || globs.include.is_match(name))
                && !globs.exclude.is_match(name)
        });
        membership(selected, self.names.contains(name))
    }
}

fn membership(selected: bool, named: bool) -> Membership {
    let mut membership = Membership::empty();
    membership.set(Membership::SELECTED, selected);
    membership.set(Membership::NAMED, named);
    membership
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let invalid = |error: globset::Error| {
        failure!(InvalidArgument, "invalid name pattern: {error}")
            .hint("patterns are globs for service names, such as api-* or {web,db}")
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(invalid)?);
    }
    set.build().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use kubefwd_model::Reason;

    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        Selection {
            include: include.iter().map(|&s| s.to_owned()).collect(),
            exclude: exclude.iter().map(|&s| s.to_owned()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn globs_include_then_exclude_and_names_always_count() {
        let filter = Filter::new(
            Some(&selection(&["api-*", "web"], &["*-canary"])),
            ["api-canary".to_owned()],
        )
        .unwrap();
        assert_eq!(filter.membership("api-v1"), Membership::SELECTED);
        assert_eq!(filter.membership("web"), Membership::SELECTED);
        assert_eq!(filter.membership("db"), Membership::empty());
        assert_eq!(filter.membership("api-canary"), Membership::NAMED);
        assert_eq!(filter.needs(), Membership::all());
    }

    #[test]
    fn an_empty_selection_matches_all_and_an_absent_one_nothing() {
        let all = Filter::new(Some(&Selection::default()), ["db".to_owned()]).unwrap();
        assert_eq!(all.membership("x"), Membership::SELECTED);
        assert_eq!(all.membership("db"), Membership::all());
        let none = Filter::new(None, ["db".to_owned()]).unwrap();
        assert_eq!(none.membership("x"), Membership::empty());
        assert_eq!(none.needs(), Membership::NAMED);
    }

    #[test]
    fn a_broken_glob_is_named() {
        let failure = Filter::new(Some(&selection(&["a[", "b"], &[])), []).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidArgument);
        assert!(failure.message.contains("a["), "{failure}");
    }
}

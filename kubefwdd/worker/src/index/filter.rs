//! Which services of a namespace are desired: by selection, by name, or both.

use std::collections::BTreeSet;

use globset::{Glob, GlobSet, GlobSetBuilder};
use kubefwd_model::{Failure, failure};
use kubefwd_proto::common::v1::Selection;

/// Why a service is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership(u8);

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

impl Membership {
    pub(crate) const NONE: Self = Self(0);
    /// The namespace's selection matches it.
    pub(crate) const SELECTED: Self = Self(1);
    /// It is wanted by name.
    pub(crate) const NAMED: Self = Self(2);
    pub(crate) const BOTH: Self = Self(3);

    fn of(selected: bool, named: bool) -> Self {
        Self(u8::from(selected) | u8::from(named) << 1)
    }

    /// Whether this is [`Self::NONE`].
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is in this.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some of `other` is in this.
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// This and `other`.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without `other`.
    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What this and `other` have in common.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
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
        Membership::of(self.selection.is_some(), !self.names.is_empty())
    }

    /// Why a service of this name is wanted.
    pub(crate) fn membership(&self, name: &str) -> Membership {
        let selected = self.selection.as_ref().is_some_and(|globs| {
            (globs.include.is_empty() || globs.include.is_match(name))
                && !globs.exclude.is_match(name)
        });
        Membership::of(selected, self.names.contains(name))
    }
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
        assert_eq!(filter.membership("db"), Membership::NONE);
        assert_eq!(filter.membership("api-canary"), Membership::NAMED);
        assert_eq!(filter.needs(), Membership::BOTH);
    }

    #[test]
    fn an_empty_selection_matches_all_and_an_absent_one_nothing() {
        let all = Filter::new(Some(&Selection::default()), ["db".to_owned()]).unwrap();
        assert_eq!(all.membership("x"), Membership::SELECTED);
        assert_eq!(all.membership("db"), Membership::BOTH);
        let none = Filter::new(None, ["db".to_owned()]).unwrap();
        assert_eq!(none.membership("x"), Membership::NONE);
        assert_eq!(none.needs(), Membership::NAMED);
    }

    #[test]
    fn a_broken_glob_is_named() {
        let failure = Filter::new(Some(&selection(&["a[", "b"], &[])), []).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidArgument);
        assert!(failure.message.contains("a["), "{failure}");
    }
}

//! The numbers of contexts and namespaces, in the order of their first use.

use std::collections::{BTreeMap, BTreeSet};

use kubefwd_model::{ContextName, NamespaceKey, Uid, UnitKey};

/// One user's context.
type ContextKey = (Uid, ContextName);

/// The number of a context and, global over all contexts, of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) context: u32,
    pub(super) namespace: u32,
}

/// Numbers that are in use as long as units have addresses, live or remembered.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    contexts: BTreeMap<ContextKey, Counted>,
    namespaces: BTreeMap<NamespaceKey, Counted>,
    free_contexts: Ordinals,
    free_namespaces: Ordinals,
}

/// A number, and how many use it: units a namespace, namespaces a context.
#[derive(Debug, Clone, Copy)]
struct Counted {
    number: u32,
    users: u32,
}

impl Numbering {
    /// Counts one more unit of its namespace, numbering it on first use.
    pub(super) fn enter(&mut self, unit: &UnitKey) -> Numbers {
        let key = namespace_key(unit);
        if !self.namespaces.contains_key(&key) {
            let number = self.free_namespaces.take();
            self.namespaces
                .insert(key.clone(), Counted { number, users: 0 });
            let free = &mut self.free_contexts;
            let context = self.contexts.entry(context_key(&key));
            context
                .or_insert_with(|| Counted {
                    number: free.take(),
                    users: 0,
                })
                .users += 1;
        }
        if let Some(namespace) = self.namespaces.get_mut(&key) {
            namespace.users += 1;
        }
        self.of(unit).unwrap_or(Numbers {
            context: 0,
            namespace: 0,
        })
    }

    /// Counts one unit less; the numbers are free again when nothing uses them.
    pub(super) fn leave(&mut self, unit: &UnitKey) {
        let key = namespace_key(unit);
        let Some(namespace) = self.namespaces.get_mut(&key) else {
            return;
        };
        namespace.users = namespace.users.saturating_sub(1);
        if namespace.users > 0 {
            return;
        }
        self.drop_namespace(&key);
    }

    fn drop_namespace(&mut self, key: &NamespaceKey) {
        let Some(namespace) = self.namespaces.remove(key) else {
            return;
        };
        self.free_namespaces.give(namespace.number);
        let context_key = context_key(key);
        let Some(context) = self.contexts.get_mut(&context_key) else {
            return;
        };
        context.users = context.users.saturating_sub(1);
        if context.users == 0 {
            self.free_contexts.give(context.number);
            self.contexts.remove(&context_key);
        }
    }

    /// The numbers of a unit's namespace.
    pub(super) fn of(&self, unit: &UnitKey) -> Option<Numbers> {
        let key = namespace_key(unit);
        let context = self.contexts.get(&context_key(&key))?.number;
        Some(Numbers {
            context,
            namespace: self.namespaces.get(&key)?.number,
        })
    }

    /// Takes the numbers that a namespace had before a restart. False where another has them.
    pub(super) fn restore(&mut self, key: &NamespaceKey, numbers: Numbers) -> bool {
        let context_key = context_key(key);
        let known = self
            .contexts
            .get(&context_key)
            .map(|context| context.number);
        let context_fits = match known {
            Some(number) => number == numbers.context,
            None => self.free_contexts.is_free(numbers.context),
        };
        let is_new = !self.namespaces.contains_key(key);
        if !context_fits || !is_new || !self.free_namespaces.is_free(numbers.namespace) {
            return false;
        }
        if known.is_none() {
            self.free_contexts.take_this(numbers.context);
        }
        let context = self.contexts.entry(context_key);
        context
            .or_insert(Counted {
                number: numbers.context,
                users: 0,
            })
            .users += 1;
        self.free_namespaces.take_this(numbers.namespace);
        self.namespaces.insert(
            key.clone(),
            Counted {
                number: numbers.namespace,
                users: 0,
            },
        );
        true
    }

    /// Drops restored namespaces of which no unit came back.
    pub(super) fn drop_unused(&mut self) {
        let unused = self
            .namespaces
            .iter()
            .filter(|(_, counted)| counted.users == 0);
        let unused: Vec<NamespaceKey> = unused.map(|(key, _)| key.clone()).collect();
        for key in unused {
            self.drop_namespace(&key);
        }
    }
}

/// Numbers from 0 on, the lowest free one first.
#[derive(Debug, Default)]
struct Ordinals {
    /// All numbers from here on are free.
    next: u32,
    /// Free numbers below `next`.
    gaps: BTreeSet<u32>,
}

impl Ordinals {
    /// Numbers beyond this come from no sane file, and would make `take_this` walk for long.
    const SANE: u32 = 1 << 20;

    fn take(&mut self) -> u32 {
        self.gaps.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn give(&mut self, number: u32) {
        self.gaps.insert(number);
    }

    fn is_free(&self, number: u32) -> bool {
        number < Self::SANE && (number >= self.next || self.gaps.contains(&number))
    }

    fn take_this(&mut self, number: u32) {
        self.gaps.extend(self.next..=number);
        self.next = self.next.max(number + 1);
        self.gaps.remove(&number);
    }
}

fn context_key(namespace: &NamespaceKey) -> ContextKey {
    (namespace.uid, namespace.context.clone())
}

/// The namespace of a unit.
pub(super) fn namespace_key(unit: &UnitKey) -> NamespaceKey {
    NamespaceKey {
        uid: unit.uid,
        context: unit.context.clone(),
        namespace: unit.namespace.clone(),
    }
}

//! The table of names: the owner of each, and what serves it.
//!
//! A pure data structure; its owner decides on locks and on what is kept on
//! disk. An owner is whatever stays the same when one app takes the place of
//! another, so that nothing has to be moved then.
//!
//! Names are had in two ways. The operator *binds* a name, or a wildcard, to an
//! owner: it stays bound whether or not anything serves it. An owner *claims* a
//! name for something that serves it, and has it for as long as that does: any
//! exact name that nobody else has, a bounded number of them; below the base domain
//! only those that are bound to it, and wildcards only where they are. The first
//! holder keeps a name.

use std::collections::{HashMap, hash_map};
use std::hash::Hash;

use crate::name::{Pattern, ServerName};

/// Names, their owners of type `O`, and what serves them, of type `T`.
///
/// ```
/// use wapo_sni::Names;
/// let mut names = Names::new("apps.example".parse().ok(), 100);
/// names.bind("*.shop.example".parse()?, 1).expect("free");
/// names.claim("shop.example".parse()?, 1, || "a listener").expect("free");
/// // Covered by what is bound to another.
/// assert!(names.claim("eu.shop.example".parse()?, 2, || "another").is_err());
/// let found = names.find(&"eu.shop.example".parse()?).expect("covered");
/// assert_eq!((found.owner(), found.value()), (1, None));
/// # Ok::<(), wapo_sni::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Names<O, T> {
    base_domain: Option<ServerName>,
    claims_max: usize,
    /// Names that an owner has only because it claimed them.
    claims: HashMap<O, usize>,
    exact: HashMap<ServerName, Entry<O, T>>,
    /// By what follows the star.
    wildcards: HashMap<ServerName, Entry<O, T>>,
}

/// A name that is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<O, T> {
    owner: O,
    is_bound: bool,
    value: Option<T>,
}

impl<O: Copy, T> Entry<O, T> {
    /// Whose it is.
    pub fn owner(&self) -> O {
        self.owner
    }

    /// Whether it was bound, and stays when nothing serves it.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// What serves it.
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

/// Why a name cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal<O> {
    /// It, or a wildcard that covers it, is another owner's.
    #[error("the name belongs to another app")]
    Taken(O),
    /// It is below the base domain, or is that itself, and not bound to the
    /// requester.
    #[error("a name below the base domain is given to an app by its deployment only")]
    BaseDomain,
    /// It is a wildcard that is not bound to the requester.
    #[error("a wildcard has to be given to the app by the operator")]
    Wildcard,
    /// The requester has claimed as many as it may.
    #[error("no more names can be had")]
    TooMany,
}

impl<O: Copy + Eq + Hash, T> Names<O, T> {
    /// An empty table. At a base domain and below, names are only bound. An owner
    /// may claim `claims_max` names that are not bound to it.
    pub fn new(base_domain: Option<ServerName>, claims_max: usize) -> Self {
        Self {
            base_domain,
            claims_max,
            claims: HashMap::new(),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
        }
    }

    /// Whether nobody has a name.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }

    /// Who has a name: the owner of exactly this name, else of the wildcard that
    /// covers it. An exact name hides the wildcard also while nothing serves it.
    pub fn find(&self, name: &ServerName) -> Option<&Entry<O, T>> {
        let exact = self.exact.get(name);
        exact.or_else(|| self.wildcards.get(name.parent()?))
    }

    /// What is known of exactly this pattern.
    pub fn get(&self, pattern: &Pattern) -> Option<&Entry<O, T>> {
        match pattern {
            Pattern::Exact(name) => self.exact.get(name),
            Pattern::Wildcard(parent) => self.wildcards.get(parent),
        }
    }

    /// Whether a name was given to an owner: itself, or a wildcard that covers it.
    pub fn is_bound_to(&self, pattern: &Pattern, owner: O) -> bool {
        let is_given = |entry: Option<&Entry<O, T>>| {
            entry.is_some_and(|entry| entry.is_bound && entry.owner == owner)
        };
        let covering = match pattern {
            Pattern::Exact(name) => name.parent().and_then(|parent| self.wildcards.get(parent)),
            Pattern::Wildcard(_) => None,
        };
        is_given(self.get(pattern)) || is_given(covering)
    }

    /// Binds a name to an owner; a name that it has claimed, too.
    ///
    /// # Errors
    ///
    /// [`Refusal::Taken`]. A claim of another owner below a new wildcard is not in
    /// its way, and stays.
    pub fn bind(&mut self, pattern: Pattern, owner: O) -> Result<(), Refusal<O>> {
        let entry = self.place(pattern).or_insert(Entry {
            owner,
            is_bound: true,
            value: None,
        });
        if entry.owner != owner {
            return Err(Refusal::Taken(entry.owner));
        }
        if !std::mem::replace(&mut entry.is_bound, true) {
            self.unclaim(owner);
        }
        Ok(())
    }

    /// Takes a bound name back, and with it what serves it. Nothing happens when
    /// it is not bound to this owner.
    pub fn unbind(&mut self, pattern: Pattern, owner: O) -> Option<Entry<O, T>> {
        match self.place(pattern) {
            hash_map::Entry::Occupied(held) if held.get().owner == owner && held.get().is_bound => {
                Some(held.remove())
            }
            _ => None,
        }
    }

    /// Lets an owner serve a name; `make` makes what serves it unless something
    /// does already.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing was made then.
    pub fn claim(
        &mut self,
        pattern: Pattern,
        owner: O,
        make: impl FnOnce() -> T,
    ) -> Result<&mut T, Refusal<O>> {
        self.check(&pattern, owner)?;
        if self.get(&pattern).is_none() {
            let claims = self.claims.entry(owner).or_default();
            if *claims >= self.claims_max {
                return Err(Refusal::TooMany);
            }
            *claims += 1;
        }
        let entry = self.place(pattern).or_insert(Entry {
            owner,
            is_bound: false,
            value: None,
        });
        Ok(entry.value.get_or_insert_with(make))
    }

    /// What serves a name of an owner.
    pub fn value_mut(&mut self, pattern: Pattern, owner: O) -> Option<&mut T> {
        match self.place(pattern) {
            hash_map::Entry::Occupied(held) if held.get().owner == owner => {
                held.into_mut().value.as_mut()
            }
            _ => None,
        }
    }

    /// Ends a claim and gives what served the name. The name is free then, unless
    /// it is bound.
    pub fn release(&mut self, pattern: Pattern, owner: O) -> Option<T> {
        match self.place(pattern) {
            hash_map::Entry::Occupied(mut held) if held.get().owner == owner => {
                if held.get().is_bound {
                    return held.get_mut().value.take();
                }
                let value = held.remove().value;
                self.unclaim(owner);
                value
            }
            _ => None,
        }
    }

    /// Forgets all names of an owner, and gives what served them.
    pub fn forget(&mut self, owner: O) -> Vec<T> {
        let mut gone = Vec::new();
        self.claims.remove(&owner);
        for map in [&mut self.exact, &mut self.wildcards] {
            let of_owner = map.extract_if(|_, entry| entry.owner == owner);
            gone.extend(of_owner.filter_map(|(_, entry)| entry.value));
        }
        gone
    }

    /// Names that an owner has only because it claimed them, and what serves each, in no
    /// order.
    pub fn claimed(&self, owner: O) -> impl Iterator<Item = (&ServerName, &T)> {
        // Most have none, and need no look at all names.
        let has_some = self.claims.contains_key(&owner);
        let all = has_some.then_some(&self.exact).into_iter().flatten();
        all.filter_map(move |(name, entry)| {
            let is_claim = entry.owner == owner && !entry.is_bound;
            is_claim.then_some((name, entry.value.as_ref()?))
        })
    }

    /// Every name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Pattern, &Entry<O, T>)> {
        let exact = self.exact.iter();
        let exact = exact.map(|(name, entry)| (Pattern::Exact(name.clone()), entry));
        let wildcards = self.wildcards.iter();
        let wildcards = wildcards.map(|(name, entry)| (Pattern::Wildcard(name.clone()), entry));
        exact.chain(wildcards)
    }

    /// Whether an owner may claim a name.
    fn check(&self, pattern: &Pattern, owner: O) -> Result<(), Refusal<O>> {
        if let Some(held) = self.get(pattern) {
            return match held.owner == owner {
                true => Ok(()),
                false => Err(Refusal::Taken(held.owner)),
            };
        }
        let Pattern::Exact(name) = pattern else {
            return Err(Refusal::Wildcard);
        };
        let base = self.base_domain.as_ref();
        if base.is_some_and(|base| name == base || name.is_below(base)) {
            return Err(Refusal::BaseDomain);
        }
        match self.find(name) {
            Some(covering) if covering.owner != owner => Err(Refusal::Taken(covering.owner)),
            _ => Ok(()),
        }
    }

    /// A name of an owner is no claim any more.
    fn unclaim(&mut self, owner: O) {
        if let hash_map::Entry::Occupied(mut claims) = self.claims.entry(owner) {
            *claims.get_mut() -= 1;
            if *claims.get() == 0 {
                claims.remove();
            }
        }
    }

    fn place(&mut self, pattern: Pattern) -> hash_map::Entry<'_, ServerName, Entry<O, T>> {
        match pattern {
            Pattern::Exact(name) => self.exact.entry(name),
            Pattern::Wildcard(parent) => self.wildcards.entry(parent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u8 = 1;
    const TWO: u8 = 2;

    fn names<T>() -> Names<u8, T> {
        Names::new(None, 4)
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().expect(text)
    }

    /// Whose a name is, and what serves it.
    fn found(names: &Names<u8, &'static str>, text: &str) -> Option<(u8, Option<&'static str>)> {
        let entry = names.find(&text.parse().expect(text))?;
        Some((entry.owner(), entry.value().copied()))
    }

    #[test]
    fn the_first_holder_keeps_a_name_until_it_releases_it() {
        let mut names = names();
        let name = || pattern("shop.example");
        assert_eq!(names.claim(name(), ONE, || "one"), Ok(&mut "one"));
        assert_eq!(names.claim(name(), TWO, || "two"), Err(Refusal::Taken(ONE)));
        assert_eq!(names.bind(name(), TWO), Err(Refusal::Taken(ONE)));
        // The other one's release is none.
        assert_eq!(names.release(name(), TWO), None);
        assert_eq!(found(&names, "shop.example"), Some((ONE, Some("one"))));
        assert_eq!(names.release(name(), ONE), Some("one"));
        assert_eq!(found(&names, "shop.example"), None);
        assert_eq!(names.claim(name(), TWO, || "two"), Ok(&mut "two"));
    }

    #[test]
    fn names_that_were_claimed_are_told_from_those_that_are_bound() {
        let mut names = names();
        names.bind(pattern("bound.example"), ONE).expect("free");
        for name in ["bound.example", "shop.example", "gone.example"] {
            names.claim(pattern(name), ONE, || "one").expect("free");
        }
        names
            .claim(pattern("other.example"), TWO, || "two")
            .expect("free");
        names.release(pattern("gone.example"), ONE);
        let claimed = |names: &Names<u8, &'static str>, owner| {
            let claimed = names.claimed(owner);
            let claimed = claimed.map(|(name, value)| (name.to_string(), *value));
            claimed.collect::<Vec<_>>()
        };
        assert_eq!(claimed(&names, ONE), [("shop.example".to_owned(), "one")]);
        names.bind(pattern("shop.example"), ONE).expect("its own");
        assert_eq!(claimed(&names, ONE), []);
    }

    #[test]
    fn what_serves_a_name_is_made_once_and_can_be_changed() {
        let mut names = names();
        let name = || pattern("shop.example");
        *names.claim(name(), ONE, || "first").expect("free") = "second";
        assert_eq!(names.claim(name(), ONE, || "third"), Ok(&mut "second"));
        assert_eq!(names.value_mut(name(), ONE), Some(&mut "second"));
        assert_eq!(names.value_mut(name(), TWO), None);
        assert_eq!(names.value_mut(pattern("other.example"), ONE), None);
        assert_eq!(names.iter().count(), 1, "a look makes no entry");
    }

    #[test]
    fn the_most_specific_name_counts() {
        let mut names = names();
        names.bind(pattern("*.example.com"), ONE).expect("free");
        names.bind(pattern("a.example.com"), TWO).expect("free");
        names
            .claim(pattern("*.example.com"), ONE, || "all")
            .expect("bound");
        for (text, expected) in [
            ("b.example.com", Some((ONE, Some("all")))),
            // Also while nothing serves it.
            ("a.example.com", Some((TWO, None))),
            ("example.com", None),
            ("b.a.example.com", None),
        ] {
            assert_eq!(found(&names, text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_given_by_itself_or_by_a_wildcard_and_not_by_a_claim() {
        let mut names = names();
        names.bind(pattern("*.example.com"), ONE).expect("free");
        names.bind(pattern("shop.example"), ONE).expect("free");
        for text in ["a.example.com", "other.example"] {
            names.claim(pattern(text), ONE, || "one").expect("free");
        }
        for (text, expected) in [
            ("*.example.com", true),
            ("shop.example", true),
            ("a.example.com", true),
            ("b.example.com", true),
            ("other.example", false),
            ("example.com", false),
            ("b.a.example.com", false),
        ] {
            assert_eq!(names.is_bound_to(&pattern(text), ONE), expected, "{text}");
            assert!(!names.is_bound_to(&pattern(text), TWO), "{text}");
        }
    }

    #[test]
    fn a_bound_name_is_for_its_owner_whether_or_not_it_serves_it() {
        let mut names = names();
        let name = || pattern("shop.example");
        names.bind(name(), ONE).expect("free");
        names.bind(name(), ONE).expect("again");
        let refused = names.claim(name(), TWO, || "two");
        assert_eq!(refused, Err(Refusal::Taken(ONE)));
        names.claim(name(), ONE, || "one").expect("bound");
        assert_eq!(names.release(name(), ONE), Some("one"));
        assert_eq!(found(&names, "shop.example"), Some((ONE, None)));
        assert!(names.unbind(name(), TWO).is_none());
        assert!(names.unbind(name(), ONE).is_some());
        assert_eq!(found(&names, "shop.example"), None);
    }

    #[test]
    fn a_claim_that_is_bound_later_stays_when_it_is_released() {
        let mut names = names();
        let name = || pattern("shop.example");
        names.claim(name(), ONE, || "one").expect("free");
        assert!(names.unbind(name(), ONE).is_none(), "it is not bound");
        names.bind(name(), ONE).expect("its own");
        assert!(names.get(&name()).is_some_and(Entry::is_bound));
        names.release(name(), ONE);
        assert_eq!(found(&names, "shop.example"), Some((ONE, None)));
    }

    #[test]
    fn wildcards_are_given_and_cover_what_others_may_not_claim() {
        let mut names = names();
        let star = || pattern("*.shop.example");
        let refused = names.claim(star(), ONE, || "all");
        assert_eq!(refused, Err(Refusal::Wildcard));
        names
            .claim(pattern("old.shop.example"), TWO, || "old")
            .expect("free");
        names.bind(star(), ONE).expect("given");
        assert_eq!(found(&names, "old.shop.example"), Some((TWO, Some("old"))));
        let refused = names.claim(pattern("eu.shop.example"), TWO, || "eu");
        assert_eq!(refused, Err(Refusal::Taken(ONE)));
        names
            .claim(pattern("eu.shop.example"), ONE, || "eu")
            .expect("its own");
        names.claim(star(), ONE, || "all").expect("given");
        assert_eq!(found(&names, "us.shop.example"), Some((ONE, Some("all"))));
        assert_eq!(
            names.unbind(star(), ONE).and_then(|entry| entry.value),
            Some("all")
        );
        assert_eq!(found(&names, "us.shop.example"), None);
    }

    #[test]
    fn names_at_the_base_domain_are_only_given() {
        let mut names = Names::new("apps.example".parse().ok(), 4);
        for text in ["apps.example", "a.apps.example", "a.b.apps.example"] {
            let refused = names.claim(pattern(text), ONE, || "one");
            assert_eq!(refused, Err(Refusal::BaseDomain), "{text}");
        }
        names.bind(pattern("a.apps.example"), ONE).expect("given");
        names
            .claim(pattern("a.apps.example"), ONE, || "one")
            .expect("its own");
        let refused = names.claim(pattern("a.apps.example"), TWO, || "two");
        assert_eq!(refused, Err(Refusal::Taken(ONE)));
        names
            .claim(pattern("myapps.example"), TWO, || "two")
            .expect("elsewhere");
    }

    #[test]
    fn an_owner_claims_a_bounded_number_and_is_given_any() {
        let mut names = names();
        let name = |number: usize| pattern(&format!("a{number}.example"));
        for number in 0..4 {
            names.claim(name(number), ONE, || number).expect("free");
        }
        let refused = names.claim(name(4), ONE, || 4);
        assert_eq!(refused, Err(Refusal::TooMany));
        assert_eq!(names.get(&name(4)), None);
        // Its own again, what is given, and what others claim are none of the four.
        names.claim(name(0), ONE, || 0).expect("its own");
        names.claim(name(5), TWO, || 5).expect("free");
        names.bind(name(6), ONE).expect("free");
        names.claim(name(6), ONE, || 6).expect("given");
        let refused = names.claim(name(4), ONE, || 4);
        assert_eq!(refused, Err(Refusal::TooMany));
        // One is given up, and one is given.
        names.release(name(0), ONE);
        names.claim(name(4), ONE, || 4).expect("room");
        names.bind(name(1), ONE).expect("its own");
        names.bind(name(1), ONE).expect("again");
        names.claim(name(7), ONE, || 7).expect("room");
        let refused = names.claim(name(8), ONE, || 8);
        assert_eq!(refused, Err(Refusal::TooMany));
        names.forget(ONE);
        names.claim(name(8), ONE, || 8).expect("room");
    }

    #[test]
    fn an_owner_that_is_forgotten_leaves_nothing() {
        let mut names = names();
        names.bind(pattern("*.one.example"), ONE).expect("free");
        names.bind(pattern("one.example"), ONE).expect("free");
        for (text, owner, value) in [
            ("*.one.example", ONE, "star"),
            ("x.example", ONE, "x"),
            ("two.example", TWO, "two"),
        ] {
            names.claim(pattern(text), owner, || value).expect(text);
        }
        let mut gone = names.forget(ONE);
        gone.sort_unstable();
        assert_eq!(gone, ["star", "x"]);
        let left: Vec<_> = names.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(left, ["two.example"]);
    }
}

//! Which target serves which domain: an immutable table, built whole and swapped whole, asked once per request.
//!
//! Domains match without port, without a trailing dot, and in any case. Who gets a domain that several claim is decided here, by age.

use std::collections::{BTreeMap, HashMap};

use crate::authority::{MAX_HOST_BYTES, split};

/// Targets by domain, and one for all other domains.
#[derive(Clone, Debug)]
pub struct DomainTable<T> {
    targets: HashMap<Box<str>, T>,
    default: Option<T>,
}

impl<T> Default for DomainTable<T> {
    fn default() -> Self {
        Self { targets: HashMap::new(), default: None }
    }
}

/// Somebody's wish to serve a domain with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<T> {
    /// The domain; `None` is every domain that nobody claims.
    pub domain: Option<String>,
    /// Whose wish it is. Equal owners share a domain.
    pub owner: String,
    /// When the owner came to be, in any unit. An owner with several claims on a domain is as old as the oldest of them.
    pub created: i128,
    /// What serves the domain. A target that claims a domain twice is listed twice.
    pub target: T,
}

/// A claim that lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict<T> {
    /// The domain, normalized; `None` is the default.
    pub domain: Option<String>,
    /// Who lost.
    pub owner: String,
    /// What doesn't serve the domain.
    pub target: T,
    /// Who serves it.
    pub winner: String,
}

impl<T> DomainTable<Vec<T>> {
    /// Decides all claims. Per domain the oldest owner gets it, the first by name among equally old ones, with all its targets in the
    /// order of their age; every other owner's claims are conflicts. The outcome doesn't depend on the claims' order, but for the
    /// order of equally old targets.
    pub fn build(claims: impl IntoIterator<Item = Claim<T>>) -> (Self, Vec<Conflict<T>>) {
        let mut by_domain = BTreeMap::<Option<String>, Vec<Claim<T>>>::new();
        for mut claim in claims {
            claim.domain = claim.domain.as_deref().map(|domain| with_normal(domain, str::to_owned));
            by_domain.entry(claim.domain.clone()).or_default().push(claim);
        }
        let (mut table, mut conflicts) = (Self::default(), Vec::new());
        for (domain, mut claims) in by_domain {
            claims.sort_by(|a, b| (a.created, &a.owner).cmp(&(b.created, &b.owner)));
            let winner = claims[0].owner.clone();
            let mut targets = Vec::new();
            for Claim { owner, target, .. } in claims {
                if owner == winner {
                    targets.push(target);
                } else {
                    conflicts.push(Conflict { domain: domain.clone(), owner, target, winner: winner.clone() });
                }
            }
            match domain {
                Some(domain) => drop(table.targets.insert(domain.into(), targets)),
                None => table.default = Some(targets),
            }
        }
        (table, conflicts)
    }
}

impl<T> DomainTable<T> {
    /// What serves an authority (`host` or `host:port`): its domain's target, else the default. Doesn't allocate.
    pub fn lookup(&self, authority: &str) -> Option<&T> {
        with_normal(authority, |domain| self.targets.get(domain)).or(self.default.as_ref())
    }

    /// The same table with other targets.
    pub fn map<U>(self, mut map: impl FnMut(T) -> U) -> DomainTable<U> {
        DomainTable {
            default: self.default.map(&mut map),
            targets: self.targets.into_iter().map(|(domain, target)| (domain, map(target))).collect(),
        }
    }

    /// Every domain with its target, in no order; without the default.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.targets.iter().map(|(domain, target)| (&**domain, target))
    }

    /// What serves the domains that nobody claims.
    pub fn default_target(&self) -> Option<&T> {
        self.default.as_ref()
    }
}

/// Calls `with` on the authority's host as the table knows it: lower case, no port, no trailing dot.
fn with_normal<R>(authority: &str, with: impl FnOnce(&str) -> R) -> R {
    let (host, _) = split(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return with(host);
    }
    let mut room = [0; MAX_HOST_BYTES];
    match room.get_mut(..host.len()) {
        Some(room) => {
            room.copy_from_slice(host.as_bytes());
            room.make_ascii_lowercase();
            with(std::str::from_utf8(room).expect("changing the case of ASCII letters keeps UTF-8 valid"))
        }
        // No domain is that long, but a table must answer for any text.
        None => with(&host.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(domain: &str, owner: &str, created: i128, target: u32) -> Claim<u32> {
        let domain = (!domain.is_empty()).then(|| domain.to_owned());
        Claim { domain, owner: owner.to_owned(), created, target }
    }

    #[test]
    fn domains_match_without_port_case_and_trailing_dot() {
        let (table, conflicts) = DomainTable::build([claim("Shop.Example.", "a", 1, 7), claim("[::1]", "a", 1, 8)]);
        assert_eq!(conflicts, []);
        for authority in ["shop.example", "SHOP.example:8000", "shop.example.", "shop.example.:80"] {
            assert_eq!(table.lookup(authority), Some(&vec![7]), "{authority}");
        }
        assert_eq!(table.lookup("[::1]:8000"), Some(&vec![8]));
        assert_eq!(table.lookup("other.example"), None);
        assert_eq!(table.lookup(&"A".repeat(1_000)), None);
    }

    #[test]
    fn the_default_serves_what_nobody_claims() {
        let (table, _) = DomainTable::build([claim("", "a", 1, 1), claim("b.example", "b", 2, 2)]);
        let table = table.map(|targets| targets[0]);
        assert_eq!(table.lookup("x.example"), Some(&1));
        assert_eq!(table.lookup("b.example"), Some(&2));
        assert_eq!(table.default_target(), Some(&1));
        assert_eq!(table.iter().collect::<Vec<_>>(), [("b.example", &2)]);
    }

    #[test]
    fn the_older_owner_keeps_a_domain_and_the_newer_is_told_who() {
        let (table, conflicts) = DomainTable::build([claim("a.example", "new", 5, 1), claim("A.example:80", "old", 4, 2)]);
        assert_eq!(table.lookup("a.example"), Some(&vec![2]));
        let lost = Conflict { domain: Some("a.example".to_owned()), owner: "new".to_owned(), target: 1, winner: "old".to_owned() };
        assert_eq!(conflicts, [lost]);
    }

    #[test]
    fn replicas_of_one_owner_share_a_domain_however_young_the_last_is() {
        let claims = [claim("a.example", "x", 3, 1), claim("a.example", "y", 4, 2), claim("a.example", "x", 9, 3)];
        let (table, conflicts) = DomainTable::build(claims);
        assert_eq!(table.lookup("a.example"), Some(&vec![1, 3]));
        assert_eq!(conflicts.len(), 1);
    }

    #[test]
    fn equally_old_owners_are_ordered_by_name() {
        let (table, _) = DomainTable::build([claim("a.example", "y", 3, 1), claim("a.example", "x", 3, 2)]);
        assert_eq!(table.lookup("a.example"), Some(&vec![2]));
    }

    fn claims() -> impl Strategy<Value = Vec<Claim<u32>>> {
        let domain = prop::sample::select(vec!["", "a.example", "A.Example:80", "b.example", "c.example."]);
        let owner = prop::sample::select(vec!["n/a", "n/b", "n/c"]);
        prop::collection::vec((domain, owner, 0..4_i128), 0..12)
            .prop_map(|claims| (0..).zip(claims).map(|(target, (domain, owner, created))| claim(domain, owner, created, target)).collect())
    }

    type Served = BTreeMap<String, Vec<u32>>;
    type Lost = Vec<(Option<String>, u32, String)>;

    /// What was decided, in an order of its own.
    fn outcome(claims: Vec<Claim<u32>>) -> (Served, Lost) {
        let (table, conflicts) = DomainTable::build(claims);
        let sorted = |targets: &Vec<u32>| {
            let mut targets = targets.clone();
            targets.sort_unstable();
            targets
        };
        let mut served: BTreeMap<_, _> = table.iter().map(|(domain, targets)| (domain.to_owned(), sorted(targets))).collect();
        served.extend(table.default_target().map(|targets| (String::new(), sorted(targets))));
        let mut lost: Vec<_> = conflicts.into_iter().map(|lost| (lost.domain, lost.target, lost.winner)).collect();
        lost.sort();
        (served, lost)
    }

    proptest! {
        #[test]
        fn the_order_of_claims_doesnt_matter((claims, shuffled) in claims().prop_flat_map(|claims| (Just(claims.clone()), Just(claims).prop_shuffle()))) {
            prop_assert_eq!(outcome(claims), outcome(shuffled));
        }

        #[test]
        fn every_claim_is_served_or_told_why_not(claims in claims()) {
            let (served, lost) = outcome(claims.clone());
            let mut targets: Vec<u32> = served.into_values().flatten().chain(lost.into_iter().map(|(_, target, _)| target)).collect();
            targets.sort_unstable();
            prop_assert_eq!(targets, (0..claims.len() as u32).collect::<Vec<_>>());
        }

        #[test]
        fn lookup_finds_what_was_claimed_in_any_case(name in "[a-z0-9-]{1,20}(\\.[a-z]{1,10}){0,3}", upper in any::<bool>(), port in any::<Option<u16>>()) {
            let (table, _) = DomainTable::build([claim(&name, "a", 0, 1)]);
            let host = if upper { name.to_uppercase() } else { name };
            let authority = port.map_or(host.clone(), |port| format!("{host}:{port}"));
            prop_assert_eq!(table.lookup(&authority), Some(&vec![1]));
        }

        #[test]
        fn lookup_never_panics(authority in "\\PC{0,300}") {
            prop_assert!(DomainTable::<()>::default().lookup(&authority).is_none());
        }
    }
}

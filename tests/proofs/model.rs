//! A ledger of one account in a hundred lines, to compare the real one with. It knows nothing of the real one's code.

use std::collections::BTreeMap;

/// Credits with an expiry: days from now, and then the order in which they were granted.
type Place = (i64, usize);

/// What a hold took from where.
#[derive(Clone, Debug)]
struct Held {
    parts: Vec<(Place, i64)>,
    open: bool,
}

/// One account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    allocations: BTreeMap<Place, i64>,
    holds: Vec<Held>,
}

/// Less than is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFew {
    pub(crate) available: i64,
}

impl Model {
    pub(crate) fn balance(&self) -> i64 {
        self.allocations.values().sum()
    }

    /// What is left, in the order in which it would be spent.
    pub(crate) fn remaining(&self) -> Vec<i64> {
        self.allocations
            .values()
            .copied()
            .filter(|credits| *credits > 0)
            .collect()
    }

    pub(crate) fn grant(&mut self, credits: i64, days: i64) {
        let place = (days, self.allocations.len());
        self.allocations.insert(place, credits);
    }

    fn take(&mut self, credits: i64) -> Result<Vec<(Place, i64)>, TooFew> {
        let available = self.balance();
        if available < credits {
            return Err(TooFew { available });
        }
        let (mut missing, mut parts) = (credits, Vec::new());
        for (place, left) in &mut self.allocations {
            let part = missing.min(*left);
            if part > 0 {
                *left -= part;
                missing -= part;
                parts.push((*place, part));
            }
        }
        Ok(parts)
    }

    pub(crate) fn spend(&mut self, credits: i64) -> Result<(), TooFew> {
        self.take(credits).map(drop)
    }

    pub(crate) fn set(&mut self, credits: i64, days: i64) {
        self.allocations.values_mut().for_each(|left| *left = 0);
        if credits > 0 {
            self.grant(credits, days);
        }
    }

    /// Holds credits and returns the hold's number.
    pub(crate) fn hold(&mut self, credits: i64) -> Result<usize, TooFew> {
        let parts = self.take(credits)?;
        self.holds.push(Held { parts, open: true });
        Ok(self.holds.len() - 1)
    }

    /// Keeps at most `credits` of a hold; what was kept and what went back, or nothing when it has ended.
    pub(crate) fn settle(&mut self, number: usize, credits: i64) -> Option<(i64, i64)> {
        let held = self.holds.get_mut(number).filter(|held| held.open)?;
        held.open = false;
        let (mut keep, mut kept, mut back) = (credits, 0, 0);
        for (place, part) in held.parts.clone() {
            let paid = keep.min(part);
            keep -= paid;
            kept += paid;
            back += part - paid;
            *self.allocations.get_mut(&place).unwrap() += part - paid;
        }
        Some((kept, back))
    }
}

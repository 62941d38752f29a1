//! Admission: does every budget and every deadline still hold with one more probe?
//!
//! A path p costs at most P(p) + Σ over points q of n(p, q) · Σ over probes at q of (F(q) + W), where P is the path's own bound, n the most
//! firings of the point on the path, F the cost of firing and W the proven bound of the probe. A probe is admitted if that stays
//! within the manifest's budget for every path it touches, and no vCPU that keeps its deadline now would miss it (see [`rta`]).
//!
//! P, F and n come from the path analyser's table in the image (`proven`); an image without one admits nothing. A path that the analyser
//! could not bound stands on its largest observation without probes and on [`declared`]'s firings, and its row says so (`observed`).
//!
//! Deciding and taking are apart: [`Admission::admit`] decides and changes nothing, the [`Admitted`] it makes is handed to
//! [`Admission::commit`], which cannot fail.

pub mod declared;
pub mod rta;
#[cfg(test)]
mod tests;

use hyp_abi::PathId;
use hyp_abi::bounds::{Bounds, POINTS};
use probe_vm::points::PointId;

use rta::Task;

const PATHS: usize = PathId::COUNT;
const _: () = assert!(PATHS <= u64::BITS as usize);

/// Where a path's own time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The largest observation; it may grow.
    Observed,
    /// A bound of the path analyser.
    Proven,
}

/// Why a probe is not admitted. `fits` is the largest time bound of a probe that would be admitted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no table of path bounds in the image.
    NoTable,
    /// A path would leave its budget.
    Path {
        /// Which.
        path: PathId,
        /// By how much, in units of the timing model.
        shortfall: u64,
        /// See above; 0: none.
        fits: u64,
    },
    /// A vCPU would miss its deadline.
    Deadline {
        /// VM of the vCPU.
        vm: u32,
        /// Its index in the VM.
        vcpu: u32,
        /// By how much, in units of the timing model.
        shortfall: u64,
        /// See above; 0: none.
        fits: u64,
    },
}

/// Proof that the probe of time bound `time` fits at `point`, as things stand. Made by [`Admission::admit`] alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    point: PointId,
    time: u64,
    replaces: Option<u64>,
    epoch: u64,
}

impl Admitted {
    /// The point.
    pub const fn point(&self) -> PointId {
        self.point
    }

    /// The probe's time bound.
    pub const fn time(&self) -> u64 {
        self.time
    }
}

/// One row of the budget table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRow {
    /// P.
    pub own: u64,
    /// Σ n·(F + W) of the attached probes.
    pub probes: u64,
    /// The largest that was since boot or [`Admission::forget`]: what observations may hold.
    pub probes_most: u64,
    /// Manifest budget; `u64::MAX`: none.
    pub budget: u64,
    /// Basis of `own`.
    pub basis: Basis,
}

/// Bounds, budgets and the load of the attached probes.
#[derive(Clone, Debug)]
pub struct Admission {
    /// There is a table.
    known: bool,
    /// Bit p: path p's bound is the table's.
    proven: u64,
    own: [u64; PATHS],
    fire: [u64; POINTS],
    firings: [[u16; POINTS]; PATHS],
    budget: [u64; PATHS],
    /// Σ (F + W) of the probes at each point.
    load: [u64; POINTS],
    /// The largest Σ n·load of each path since [`Self::forget`].
    most: [u64; PATHS],
    /// Counts commits and releases: an [`Admitted`] of another state is not taken.
    epoch: u64,
}

impl Admission {
    /// From the table in the image, if there is one. Budgets are unlimited until [`Self::set_budget`].
    pub fn new(table: Option<&Bounds>) -> Self {
        let mut a = Self {
            known: false,
            proven: 0,
            own: [0; PATHS],
            fire: declared::FIRE,
            firings: declared::firings(),
            budget: [u64::MAX; PATHS],
            load: [0; POINTS],
            most: [0; PATHS],
            epoch: 0,
        };
        if let Some(t) = table {
            a.known = true;
            a.own = t.own;
            for (p, own) in t.own.iter().enumerate() {
                a.proven |= u64::from(*own != 0) << p;
            }
            a.fire = t.fire;
            a.firings = t.firings;
        }
        a
    }

    /// The manifest's budget of a path.
    pub fn set_budget(&mut self, path: PathId, budget: u64) {
        self.budget[path as usize % PATHS] = budget;
    }

    /// The largest observation of `path`. While probes are attached, what exceeds the most that they may have taken is the path's own.
    /// Without effect on proven bounds.
    pub fn observe(&mut self, path: PathId, max: u64) {
        if self.basis(path) == Basis::Observed {
            let p = path as usize % PATHS;
            let probes = if self.is_unloaded() { 0 } else { self.most[p] };
            self.own[p] = self.own[p].max(max.saturating_sub(probes));
        }
    }

    /// Basis of the row of `path`.
    pub const fn basis(&self, path: PathId) -> Basis {
        if self.proven >> (path as usize % PATHS) & 1 != 0 {
            Basis::Proven
        } else {
            Basis::Observed
        }
    }

    /// The row of `path`.
    pub fn row(&self, path: PathId) -> PathRow {
        let p = path as usize % PATHS;
        PathRow {
            own: self.own[p],
            probes: self.probes(p, &self.load),
            probes_most: self.most[p],
            budget: self.budget[p],
            basis: self.basis(path),
        }
    }

    /// Σ n·load of path `p`.
    fn probes(&self, p: usize, load: &[u64; POINTS]) -> u64 {
        let mut sum = 0u64;
        for (n, l) in self.firings[p % PATHS].iter().zip(load) {
            sum = sum.saturating_add(u64::from(*n).saturating_mul(*l));
        }
        sum
    }

    /// Decides about a probe of time bound `time` at `point`. `replaces`: the time bound of the probe there that it takes the place of.
    ///
    /// Paths are looked at in their order, then the tasks in theirs; the first that fails is named. At most 33 × 16 products and
    /// [`rta`]'s bounded iteration.
    pub fn admit(&self, point: PointId, time: u64, replaces: Option<u64>, tasks: &[Task]) -> Result<Admitted, Refusal> {
        if !self.known {
            return Err(Refusal::NoTable);
        }
        let q = point as usize % POINTS;
        let base = self.load_without(q, replaces);
        let mut with = base;
        with[q] = with[q].saturating_add(self.fire[q].saturating_add(time));
        for path in PathId::ALL {
            let p = *path as usize % PATHS;
            let n = u64::from(self.firings[p][q]);
            let total = self.own[p].saturating_add(self.probes(p, &with));
            if n == 0 || total <= self.budget[p] {
                continue;
            }
            let room = self.budget[p].saturating_sub(self.own[p].saturating_add(self.probes(p, &base)));
            let fits = (room / n).saturating_sub(self.fire[q]);
            return Err(Refusal::Path {
                path: *path,
                shortfall: total - self.budget[p],
                fits,
            });
        }
        rta::check(
            tasks,
            &self.costs(&self.load, q),
            &self.costs(&base, q),
            self.fire[q].saturating_add(time),
        )
        .map_err(|miss| Refusal::Deadline {
            vm: miss.vm,
            vcpu: miss.vcpu,
            shortfall: miss.shortfall,
            fits: miss.fits.saturating_sub(self.fire[q]),
        })?;
        Ok(Admitted {
            point,
            time,
            replaces,
            epoch: self.epoch,
        })
    }

    /// Takes an admitted probe's load. False, and no effect, if something was committed or released since it was admitted.
    #[must_use]
    pub fn commit(&mut self, admitted: &Admitted) -> bool {
        if admitted.epoch != self.epoch {
            return false;
        }
        let q = admitted.point as usize % POINTS;
        self.load = self.load_without(q, admitted.replaces);
        self.load[q] = self.load[q].saturating_add(self.fire[q].saturating_add(admitted.time));
        self.epoch += 1;
        for p in 0..PATHS {
            self.most[p] = self.most[p].max(self.probes(p, &self.load));
        }
        true
    }

    /// Observation begins anew.
    pub fn forget(&mut self) {
        for p in 0..PATHS {
            self.most[p] = self.probes(p, &self.load);
        }
    }

    /// Gives back the load of a probe of time bound `time` at `point`.
    pub fn release(&mut self, point: PointId, time: u64) {
        self.load = self.load_without(point as usize % POINTS, Some(time));
        self.epoch += 1;
    }

    /// True if no probe is attached, so that observations are of the paths alone.
    pub fn is_unloaded(&self) -> bool {
        self.load.iter().all(|l| *l == 0)
    }

    fn load_without(&self, q: usize, replaces: Option<u64>) -> [u64; POINTS] {
        let mut load = self.load;
        if let Some(old) = replaces {
            load[q] = load[q].saturating_sub(self.fire[q].saturating_add(old));
        }
        load
    }

    /// Cost of each path at `load`, and by how much it grows with a unit more at point `q`.
    fn costs(&self, load: &[u64; POINTS], q: usize) -> rta::Costs {
        rta::Costs::of(|path| {
            let p = path as usize % PATHS;
            let base = self.own[p].saturating_add(self.probes(p, load));
            rta::Linear {
                base,
                slope: u64::from(self.firings[p][q % POINTS]),
            }
        })
    }
}

//! Graphs of functions, built when first needed and kept.

use super::{ExploreError, is_panic};
use crate::cfg::Cfg;
use crate::elf::Image;
use crate::live::{ARGUMENTS, live};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Calls that are followed to see which arguments a procedure looks at.
const LIVE_DEPTH_MAX: usize = 64;

/// A function's graph, and the registers live at the start of each block.
pub struct Graph {
    pub cfg: Cfg,
    pub live: Vec<u64>,
}

/// The graphs of an image.
pub struct Graphs<'a> {
    pub(super) image: &'a Image,
    graphs: HashMap<u64, Rc<Graph>>,
    arguments: HashMap<u64, u64>,
    /// Targets found for indirect jumps: site → targets.
    targets: BTreeMap<u64, BTreeSet<u64>>,
}

impl<'a> Graphs<'a> {
    /// None yet.
    pub fn new(image: &'a Image) -> Self {
        Graphs {
            image,
            graphs: HashMap::new(),
            arguments: HashMap::new(),
            targets: BTreeMap::new(),
        }
    }

    /// The graph of a function.
    pub(super) fn get(&mut self, function: u64) -> Result<Rc<Graph>, ExploreError> {
        self.build(function, 0)
    }

    /// Notes a target of an indirect jump; true if it is new, and graphs of `function` have to be built again.
    pub(super) fn add_target(&mut self, function: u64, site: u64, target: u64) -> bool {
        let is_new = self.targets.entry(site).or_default().insert(target);
        if is_new {
            self.graphs.remove(&function);
        }
        is_new
    }

    fn build(&mut self, function: u64, depth: usize) -> Result<Rc<Graph>, ExploreError> {
        if let Some(graph) = self.graphs.get(&function) {
            return Ok(Rc::clone(graph));
        }
        let cfg = Cfg::build(self.image, function, &self.targets).map_err(|error| ExploreError::Cfg {
            function: self.image.place(function),
            error,
        })?;
        let live = live(&cfg, &mut |callee| self.arguments(callee, depth + 1));
        let graph = Rc::new(Graph { cfg, live });
        self.graphs.insert(function, Rc::clone(&graph));
        Ok(graph)
    }

    /// Registers live at a function's entry.
    fn arguments(&mut self, function: u64, depth: usize) -> u64 {
        if let Some(known) = self.arguments.get(&function) {
            return *known;
        }
        if self.image.symbol_at(function).is_some_and(|s| is_panic(&s.name)) {
            return 0;
        }
        // Recursion meets the assumption.
        self.arguments.insert(function, ARGUMENTS);
        if depth > LIVE_DEPTH_MAX {
            return ARGUMENTS;
        }
        let found = self.build(function, depth).ok().and_then(|g| g.live.first().copied());
        let found = found.unwrap_or(ARGUMENTS);
        self.arguments.insert(function, found);
        found
    }
}

//! What the demo's guests say while it runs.

use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

use super::lock;
use crate::console::{Item, Record, describe, is_fault};
use crate::manifest::System;
use crate::run::{Event, Machine};

/// One window of the control loop's own record of its release jitter, in ns.
#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    /// Who measured.
    pub vm: String,
    /// Releases.
    pub n: u64,
    /// Least jitter.
    pub min: u64,
    /// Mean jitter.
    pub mean: f64,
    /// Most jitter.
    pub max: u64,
}

/// What was heard so far.
pub struct Watch {
    names: Vec<String>,
    lines: Vec<Vec<u8>>,
    /// Windows of the control loop, in order.
    pub windows: Vec<Window>,
    /// The first fault of a VM, of the hypervisor or of QEMU, in words.
    pub fault: Option<String>,
}

/// Longest line of a guest that is kept: a report of one window is far shorter.
const LINE_MAX: usize = 16 * 1024;

impl Watch {
    /// Nothing heard yet.
    pub fn new(system: &System) -> Watch {
        let names: Vec<String> = system.vms.iter().map(|vm| vm.name.clone()).collect();
        Watch {
            lines: vec![Vec::new(); names.len()],
            names,
            windows: Vec::new(),
            fault: None,
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Byte { vm, byte: b'\n' } => {
                let line = self.lines.get_mut(*vm).map(std::mem::take).unwrap_or_default();
                self.line(&String::from_utf8_lossy(&line));
            }
            Item::Byte { vm, byte } => {
                if let Some(line) = self.lines.get_mut(*vm).filter(|line| line.len() < LINE_MAX) {
                    line.push(*byte);
                }
            }
            Item::Record(record) => {
                let bad = match record {
                    Record::Stopped(stopped) => is_fault(stopped),
                    Record::Epitaph(_) | Record::BadConfig { .. } => true,
                    _ => false,
                };
                if bad && self.fault.is_none() {
                    self.fault = describe(record, &self.names);
                }
            }
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(json) = line.trim_end().strip_prefix("@jitter ")
            && let Ok(window) = serde_json::from_str(json)
        {
            self.windows.push(window);
        }
    }
}

/// Listens until the machine ends.
pub fn listen(machine: &Machine, watch: &Mutex<Watch>) {
    loop {
        match machine.next(Duration::from_secs(1)) {
            Some(Event::Item(item)) => lock(watch).item(&item),
            Some(Event::Ended { stderr }) => {
                lock(watch)
                    .fault
                    .get_or_insert_with(|| format!("the machine ended early: {}", stderr.trim()));
                return;
            }
            None => {}
        }
    }
}

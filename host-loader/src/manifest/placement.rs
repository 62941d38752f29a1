//! Which physical CPU each vCPU has.

use std::ops::Range;

use hyp_abi::{VMS_MAX, config};
use hyp_core::mail::VCPUS_PER_VM;
use hyp_core::sched::SLOTS;

use super::check::{Checker, Result};
use super::error::Text;
use super::{Vm, raw};

/// vCPUs of one CPU that are not the first of their VM: what its slots leave.
const OTHERS_MAX: usize = SLOTS - VMS_MAX;

impl Checker<'_> {
    /// The physical CPU of each vCPU, and where that stands: `cpu`, or `cpus` with one for each, and `vcpus`.
    pub(super) fn pinned(&self, vm: &raw::Vm) -> Result<(Vec<u32>, Range<usize>)> {
        let (list, span) = match (&vm.cpu, &vm.cpus) {
            (Some(one), Some(list)) => {
                return Err(self
                    .text
                    .error("a VM has either `cpu` or `cpus`")
                    .at(one.span(), "this")
                    .at(list.span(), "and this")
                    .advise("`cpus` has one physical CPU for each vCPU; `cpu` is for all of them"));
            }
            (Some(one), None) => (vec![*one.get_ref()], one.span()),
            (None, Some(list)) => (list.get_ref().clone(), list.span()),
            (None, None) => (vec![0], 0..0),
        };
        let many = vm.vcpus.as_ref().map_or(list.len(), |many| *many.get_ref() as usize);
        let span_many = vm.vcpus.as_ref().map_or(span.clone(), |many| many.span());
        if many == 0 || many > VCPUS_PER_VM {
            let message = format!("a VM has 1 to {VCPUS_PER_VM} vCPUs, not {many}");
            return Err(self.text.error(message).at(span_many, "this many"));
        }
        if vm.cpus.is_some() && list.len() != many {
            let message = format!("{many} vCPUs, but {} physical CPUs for them", list.len());
            return Err(self
                .text
                .error(message)
                .at(span_many, "this many")
                .at(span, "these")
                .advise("`cpus` has one physical CPU for each vCPU"));
        }
        if let Some(cpu) = list.iter().find(|cpu| **cpu >= self.cpus) {
            let message = format!("CPU {cpu} is not one of the system's {}", self.cpus);
            let fault = self.text.error(message).at(span, "here");
            let fault = fault.at(self.cpus_span.clone(), "only this many");
            return Err(fault.advise("CPUs count from 0; `cpus` in [system] says how many"));
        }
        let pinned = list.iter().copied().cycle().take(many).collect();
        Ok((pinned, span))
    }
}

/// The whole system's vCPUs, and each CPU's, fit into the hypervisor's tables.
pub fn fits(text: &Text, vms: &[Vm]) -> Result<()> {
    let all: usize = vms.iter().map(|vm| vm.cpus.len()).sum();
    if all > config::VCPUS_MAX {
        let message = format!("a system has at most {} vCPUs, not {all}", config::VCPUS_MAX);
        return Err(text.error(message));
    }
    for vm in vms {
        for cpu in &vm.cpus {
            let others = vms.iter().flat_map(|vm| vm.cpus.iter().skip(1));
            let many = others.filter(|other| *other == cpu).count();
            if many > OTHERS_MAX {
                let message = format!("CPU {cpu} has {many} vCPUs that are not the first of their VM");
                let fault = text.error(message).at(vm.cpus_span.clone(), "here");
                return Err(fault.advise(format!("at most {OTHERS_MAX}: move some to other CPUs")));
            }
        }
    }
    Ok(())
}

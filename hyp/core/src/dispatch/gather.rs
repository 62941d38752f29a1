//! What all CPUs have counted of the paths. See [`crate::report`].

use hyp_abi::{CPUS_MAX, PathId};

use super::Machine;
use crate::cpu::{Cpu, PathStat};
use crate::grace::Epoch;
use crate::report::Question;

/// What the CPU of number `of` − 1, or all of them, have counted of `path`: this one by now, the others when they passed last.
pub fn counted(cpu: &Cpu, path: PathId, of: u64) -> PathStat {
    let mut all = PathStat::new();
    for (number, id) in (1..).zip(0..CPUS_MAX) {
        if of != 0 && of != number {
            continue;
        }
        all = all.with(match cpu.paths.get(path as usize) {
            Some(own) if id == cpu.id as usize => *own,
            _ => cpu.mail.reports.of(id, path),
        });
    }
    all
}

/// Makes all other CPUs say what they have counted, for a question of `vm`; `begin` begins a grace period if it may. The CPUs that have
/// not yet, as an error: the same question has its answer soon.
pub fn gather<M: Machine>(
    cpu: &Cpu,
    m: &mut M,
    vm: u8,
    question: Question,
    begin: impl FnOnce() -> Option<Epoch>,
) -> Result<(), u64> {
    if !cpu.several {
        return Ok(());
    }
    let (mail, now) = (cpu.mail, m.now().as_ticks());
    let epoch = match mail.reports.asked(vm, question, now) {
        Some(epoch) => epoch,
        None => {
            if question == Question::Reset {
                mail.reports.reset();
            }
            let epoch = begin().ok_or(0_u64)?;
            mail.reports.ask(vm, question, Some(epoch), now);
            epoch
        }
    };
    let inside = mail.grace.inside(cpu.id, epoch);
    for other in 0..CPUS_MAX as u32 {
        if inside >> other & 1 != 0 {
            m.kick(other);
        }
    }
    if inside != 0 {
        return Err(inside.into());
    }
    mail.reports.ask(vm, question, None, now);
    Ok(())
}

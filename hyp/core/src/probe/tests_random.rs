//! Random guests: every call gets a status and the books stay right.

use std::vec;
use std::vec::Vec;

use hyp_abi::PathId;
use hyp_abi::call::FILTER_ANY;

use super::tests::{NOBODY, OTHER, SELF, SYSTEM, Sys, array, with_map};
use crate::testrng::{Rng, steps};

#[test]
fn random_bytes_and_random_calls_get_a_status() {
    let mut rng = Rng::new("probe", 21);
    let mut s = Sys::new();
    let good = with_map(array(8, 0, &[1]));
    let mut handles: Vec<u64> = vec![1];
    let mut attachments: Vec<u64> = vec![1];
    for _ in 0..steps(400) {
        let caller = rng.pick(&[SYSTEM, SELF, OTHER, NOBODY]);
        let wild = rng.next();
        let handle = if rng.chance(90) { rng.pick(&handles) } else { wild };
        let attachment = if rng.chance(90) { rng.pick(&attachments) } else { wild };
        s.now += rng.below(300_000_000);
        match rng.below(16) {
            0..=2 => {
                let mut bytes = good.clone();
                if rng.chance(50) {
                    let at = rng.below(bytes.len() as u64) as usize;
                    bytes[at] = rng.next() as u8;
                }
                if let Ok(h) = s.stage(caller, &bytes) {
                    assert!(caller.rights.may_probe());
                    handles.push(h);
                }
            }
            3..=6 => {
                let units = if rng.chance(50) { u64::MAX } else { rng.below(9) };
                let _ = s.probes.verify(caller, handle, units, s.now);
            }
            7 | 8 => {
                let _ = s.probes.compile(caller, handle, s.now, &mut s.code);
            }
            9..=11 => {
                let filter = rng.pick(&[FILTER_ANY, 0, 1, 2, 77]);
                if let Ok(a) = s.attach(caller, handle, filter) {
                    attachments.push(a.id);
                }
            }
            12 => {
                let _ = s.probes.detach(caller, attachment, &mut s.admission);
            }
            13 => {
                let _ = s.probes.replace(caller, attachment, handle, &mut s.admission, &[]);
            }
            14 => {
                let _ = s.probes.unload(caller, handle);
            }
            _ if rng.chance(20) => {
                s.probes.vm_stopped(0, caller.vm, &mut s.admission);
            }
            _ => {
                let _ = (
                    s.probes.info(caller, handle),
                    s.probes.map(caller, handle, rng.below(4)).is_ok(),
                );
            }
        }
        let row = s.admission.row(PathId::Wfi);
        assert!(row.own + row.probes <= row.budget, "a budget is broken");
        let armed: usize = s.probes.arms.iter().map(|a| a.iter().count()).sum();
        let counted: u32 = s.probes.programs.iter().flatten().map(|p| p.attachments).sum();
        assert_eq!(armed, counted as usize);
        assert_eq!(s.admission.is_unloaded(), armed == 0);
    }
}

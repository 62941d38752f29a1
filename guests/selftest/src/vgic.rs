//! The interrupt controller as the architecture says it (Arm IHI 0069): SGIs, software-pended SPIs, priorities, masks,
//! both end-of-interrupt modes, more pending interrupts than list registers, access widths.

use rt::gic::{self, GICD, GICR, reg};
use rt::{cpu, sysreg_read};

use crate::expect;

/// First of the SPIs used: the `virt` machine has nothing on INTIDs 128 to 191 unless asked for.
const SPI: u32 = 128;
/// SPIs pended at once: many more than any implementation has list registers (16).
const MANY: u32 = 64;

pub fn run() {
    gic::init();
    identification();
    widths();
    sgi();
    spi();
    priorities();
    split_end();
    overflow();
}

/// What is pending now, or `None`; polled with IRQs masked at the CPU.
fn take() -> Option<u32> {
    cpu::dsb();
    cpu::isb();
    let intid = gic::acknowledge();
    (intid < gic::SPECIAL).then_some(intid)
}

fn identification() {
    let architecture = GICD.read32(reg::PIDR2) >> 4 & 0xf;
    expect!(
        architecture == 3 || architecture == 4,
        "PIDR2 says architecture {architecture}"
    );
    let lines = (GICD.read32(reg::TYPER) & 0x1f) + 1;
    expect!(lines * 32 > SPI + MANY, "only {} INTIDs", lines * 32);
    let affinity = sysreg_read!(mpidr_el1) & 0xff_ffff;
    let typer = GICR.read64(reg::GICR_TYPER);
    expect!(typer >> 32 == affinity, "GICR_TYPER {typer:#x}, MPIDR {affinity:#x}");
    let halves = u64::from(GICR.read32(reg::GICR_TYPER)) | u64::from(GICR.read32(reg::GICR_TYPER + 4)) << 32;
    expect!(halves == typer, "GICR_TYPER by halves: {halves:#x}");
    expect!(
        gic::running_priority() == 0xff,
        "running priority {:#x} while idle",
        gic::running_priority()
    );
    expect!(take().is_none(), "something is pending at start");
}

fn widths() {
    let priority = reg::IPRIORITYR + SPI as usize;
    GICD.write32(priority, 0x4030_2010);
    GICD.write8(priority + 2, 0x80);
    let word = GICD.read32(priority);
    expect!(word & 0xf0f0_f0f0 == 0x4080_2010, "priorities {word:#x}");
    let byte = rt::access::try_read(GICD.address(priority + 2), rt::access::Width::Byte);
    expect!(byte == Ok(0x80), "priority byte {byte:?}");
    GICD.write64(reg::IROUTER + SPI as usize * 8, 0);
    expect!(GICD.read64(reg::IROUTER + SPI as usize * 8) == 0, "IROUTER");
    // Write-one registers: zeros change nothing; set and clear read alike.
    gic::enable(SPI);
    GICD.write32(reg::ISENABLER + (SPI / 32) as usize * 4, 0);
    expect!(
        gic::get_bit(reg::ISENABLER, SPI) && gic::get_bit(reg::ICENABLER, SPI),
        "enable bit lost"
    );
    gic::disable(SPI);
    expect!(!gic::get_bit(reg::ISENABLER, SPI), "disable did nothing");
}

fn sgi() {
    gic::send_sgi_to_self(3);
    expect!(take().is_none(), "a disabled SGI came");
    gic::enable(3);
    expect!(take() == Some(3), "the enabled SGI did not come");
    expect!(
        gic::running_priority() & 0xf8 == gic::PRIORITY,
        "running priority {:#x}",
        gic::running_priority()
    );
    gic::send_sgi_to_self(3);
    expect!(take().is_none(), "preempted by its own priority");
    gic::end(3);
    expect!(take() == Some(3), "the SGI pended while active is lost");
    gic::end(3);
    // Both by the redistributor's registers.
    gic::set_bit(reg::ISPENDR, 4);
    gic::enable(4);
    gic::set_bit(reg::ICPENDR, 4);
    expect!(take().is_none(), "a cleared SGI came");
    gic::set_bit(reg::ISPENDR, 4);
    expect!(take() == Some(4), "ISPENDR of an SGI");
    gic::end(4);
    // All but self: nobody.
    gic::send_sgi_raw(1 << 40 | 3 << 24);
    expect!(take().is_none(), "an SGI to all but self came");
}

fn spi() {
    gic::enable(SPI);
    gic::set_bit(reg::ISPENDR, SPI);
    expect!(gic::get_bit(reg::ISPENDR, SPI), "not pending");
    expect!(gic::highest_pending() == SPI, "HPPIR {}", gic::highest_pending());
    expect!(take() == Some(SPI), "a pended SPI did not come");
    expect!(gic::get_bit(reg::ISACTIVER, SPI), "not active while handled");
    expect!(!gic::get_bit(reg::ISPENDR, SPI), "still pending while handled");
    gic::end(SPI);
    expect!(!gic::get_bit(reg::ISACTIVER, SPI), "active after its end");
    // Disabled while pending: stays pending, comes when enabled again.
    gic::disable(SPI);
    gic::set_bit(reg::ISPENDR, SPI);
    expect!(take().is_none(), "a disabled SPI came");
    gic::enable(SPI);
    gic::set_bit(reg::ICPENDR, SPI);
    expect!(take().is_none(), "a cleared SPI came");
    // Group enable at the distributor.
    gic::set_bit(reg::ISPENDR, SPI);
    GICD.write32(reg::CTLR, 1 << 4);
    expect!(take().is_none(), "an SPI came through a disabled distributor");
    GICD.write32(reg::CTLR, 1 << 4 | 1 << 1);
    expect!(take() == Some(SPI), "lost by disabling the distributor");
    gic::end(SPI);
}

fn priorities() {
    for (intid, priority) in [(SPI, 0x80), (SPI + 1, 0x40), (SPI + 2, 0xc0)] {
        gic::enable(intid);
        gic::set_priority(intid, priority);
        gic::set_bit(reg::ISPENDR, intid);
    }
    gic::set_mask(0x80);
    expect!(take() == Some(SPI + 1), "not the highest priority first");
    expect!(take().is_none(), "a lower priority preempts");
    gic::end(SPI + 1);
    expect!(take().is_none(), "through the mask");
    gic::set_mask(0xf8);
    expect!(take() == Some(SPI), "second");
    // Preemption: a higher priority comes while a lower one is active.
    gic::set_bit(reg::ISPENDR, SPI + 1);
    expect!(take() == Some(SPI + 1), "no preemption by a higher priority");
    gic::end(SPI + 1);
    expect!(
        gic::running_priority() & 0xf8 == 0x80,
        "running priority after the nested end"
    );
    gic::end(SPI);
    expect!(take() == Some(SPI + 2), "third");
    gic::end(SPI + 2);
    expect!(take().is_none(), "a fourth came");
    // A change of priority while pending counts.
    gic::set_bit(reg::ISPENDR, SPI);
    gic::set_bit(reg::ISPENDR, SPI + 2);
    gic::set_priority(SPI + 2, 0x20);
    expect!(take() == Some(SPI + 2), "the new priority does not count");
    gic::end(SPI + 2);
    expect!(take() == Some(SPI), "the other one after it");
    gic::end(SPI);
}

fn split_end() {
    gic::split_end(true);
    gic::set_bit(reg::ISPENDR, SPI);
    expect!(take() == Some(SPI), "with EOImode 1");
    gic::end(SPI);
    expect!(gic::running_priority() == 0xff, "priority not dropped");
    expect!(gic::get_bit(reg::ISACTIVER, SPI), "deactivated by the priority drop");
    gic::set_bit(reg::ISPENDR, SPI);
    expect!(take().is_none(), "came while active");
    gic::deactivate(SPI);
    expect!(take() == Some(SPI), "lost while active");
    gic::end(SPI);
    gic::deactivate(SPI);
    gic::split_end(false);
    expect!(!gic::get_bit(reg::ISACTIVER, SPI), "active at the end");
}

/// All pend before one is taken; they come by priority, equal ones each once, none twice.
fn overflow() {
    for n in 0..MANY {
        gic::enable(SPI + n);
        gic::set_priority(SPI + n, (n * 37 % 16 * 8 + 0x40) as u8);
    }
    for n in 0..MANY {
        gic::set_bit(reg::ISPENDR, SPI + n);
    }
    for sgi in 0..16 {
        gic::enable(sgi);
        gic::send_sgi_to_self(sgi);
    }
    let mut seen = [false; MANY as usize + 16];
    let mut last = 0;
    for count in 0..seen.len() {
        let Some(intid) = take() else {
            crate::failed(format_args!("only {count} of {} came", seen.len()));
        };
        let (index, priority) = if intid < 16 {
            (MANY + intid, u32::from(gic::PRIORITY))
        } else {
            (intid.wrapping_sub(SPI), (intid.wrapping_sub(SPI)) * 37 % 16 * 8 + 0x40)
        };
        let slot = seen.get_mut(index as usize);
        expect!(
            slot.as_ref().is_some_and(|seen| !**seen),
            "{intid} came twice or from nowhere"
        );
        if let Some(slot) = slot {
            *slot = true;
        }
        expect!(priority >= last, "{intid} with priority {priority:#x} after {last:#x}");
        last = priority;
        gic::end(intid);
    }
    expect!(take().is_none(), "more came than were pended");
}

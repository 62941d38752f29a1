//! The hypervisor's records in words.

use std::fmt::Write;

use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::record::{Epitaph, StopCause, VmStopped};

use super::{Record, syndrome};

/// Whether a VM that stopped so has faulted, as far as the exit status of `gnomon run` goes.
pub fn is_fault(stopped: &VmStopped) -> bool {
    match StopCause::from_number(stopped.cause) {
        Some(StopCause::PowerOff | StopCause::Reset | StopCause::Killed) => false,
        Some(StopCause::Exit) => stopped.code != 0,
        Some(StopCause::MemoryFault | StopCause::UnknownException) | None => true,
    }
}

/// A record for people; nothing where there is nothing to say.
pub fn describe(record: &Record, names: &[String]) -> Option<String> {
    match record {
        Record::Booted { .. } | Record::SystemOff => None,
        Record::Restarted { vm } => {
            let name = names.get(*vm as usize).map_or("?", String::as_str);
            Some(format!("gnomon: {name} starts again"))
        }
        Record::Stopped(stopped) => Some(of_vm(stopped, names)),
        Record::Log(bytes) => Some(format!("gnomon: {} bytes of the hypervisor's log", bytes.len())),
        Record::Epitaph(epitaph) => Some(of_hypervisor(epitaph)),
        Record::BadConfig { code, record, index } => {
            let fault = ConfigFault::from_number(*code).map_or("unknown fault", |fault| fault.text());
            let kind = RecordKind::from_number(*record).map_or("record", RecordKind::name);
            Some(format!(
                "gnomon: the hypervisor refuses the boot configuration: {kind} {index}: {fault}\n\
                 `gnomon pack` should have said so: the hypervisor may be of another version, run `cargo xtask build`"
            ))
        }
        Record::Unknown { kind, payload } => Some(format!(
            "gnomon: unknown record {kind} of {} bytes from the hypervisor",
            payload.len()
        )),
    }
}

fn of_vm(stopped: &VmStopped, names: &[String]) -> String {
    let name = names.get(stopped.vm as usize).map_or("?", String::as_str);
    let cause = match StopCause::from_number(stopped.cause) {
        Some(StopCause::PowerOff) => return format!("gnomon: {name} powered off"),
        Some(StopCause::Exit) if stopped.code == 0 => return format!("gnomon: {name} ended"),
        Some(StopCause::Exit) => return format!("gnomon: {name} failed with code {}", stopped.code),
        Some(StopCause::Reset) => {
            return format!("gnomon: {name} asked for a reset, and its manifest has no `restart = true`");
        }
        Some(StopCause::Killed) => return format!("gnomon: {name} was stopped by another VM"),
        Some(StopCause::MemoryFault) => "touched memory it does not have",
        Some(StopCause::UnknownException) => "did what the hypervisor has no answer for",
        None => "stopped for a reason this program does not know",
    };
    let mut text = format!("gnomon: {name} faulted: it {cause}\n  {}", syndrome::words(stopped.esr));
    if syndrome::is_abort(stopped.esr) {
        let _ = write!(
            text,
            "\n  guest-physical address {:#x}, virtual {:#x}",
            stopped.ipa, stopped.far
        );
    }
    let _ = write!(
        text,
        "\n  vCPU {}, pc {:#x}, sp {:#x}, spsr {:#x}, esr {:#x}",
        stopped.vcpu, stopped.elr, stopped.sp_el1, stopped.spsr, stopped.esr
    );
    for (index, value) in stopped.x.iter().enumerate() {
        let gap = if index % 4 == 0 { "\n  " } else { "  " };
        let _ = write!(text, "{gap}{:>3} {value:016x}", format!("x{index}"));
    }
    text
}

fn of_hypervisor(epitaph: &Epitaph) -> String {
    let what = match epitaph.kind {
        0 => format!(
            "took an exception: {}, esr {:#x}, far {:#x}",
            syndrome::words(epitaph.esr),
            epitaph.esr,
            epitaph.far
        ),
        _ => format!("panicked at line {}", epitaph.line),
    };
    format!(
        "gnomon: the hypervisor itself {what}\n  pc {:#x}, sp {:#x}\n  this is a bug of Gnomon",
        epitaph.elr, epitaph.sp
    )
}

#[cfg(test)]
mod tests {
    use hyp_abi::record::{StopCause, VmStopped};

    use super::{describe, is_fault};
    use crate::console::Record;

    fn stopped(cause: StopCause, code: u32) -> VmStopped {
        VmStopped {
            vm: 1,
            cause: cause as u32,
            code,
            esr: 0x93c0_8046,
            ipa: 0x1000,
            ..Default::default()
        }
    }

    #[test]
    fn only_faults_are_faults() {
        assert!(!is_fault(&stopped(StopCause::PowerOff, 0)) && !is_fault(&stopped(StopCause::Exit, 0)));
        assert!(is_fault(&stopped(StopCause::Exit, 1)) && is_fault(&stopped(StopCause::MemoryFault, 0)));
        assert!(
            is_fault(&VmStopped {
                cause: 77,
                ..Default::default()
            }),
            "fail closed"
        );
    }

    #[test]
    fn a_fault_names_vm_address_and_registers() {
        let names = ["a".to_string(), "hostile".to_string()];
        let text = describe(&Record::Stopped(Box::new(stopped(StopCause::MemoryFault, 0))), &names).unwrap();
        for part in [
            "hostile faulted",
            "write of 8 bytes",
            "guest-physical address 0x1000",
            "x30 0000000000000000",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

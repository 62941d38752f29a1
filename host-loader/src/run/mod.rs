//! A packed system in QEMU: started, listened to, typed at, ended.

mod keyboard;
mod machine;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use board_support::qemu;
use hyp_abi::record::VmStopped;
use miette::{IntoDiagnostic, Result};

use crate::console::{Item, Printer, Record, describe, is_fault};
use crate::manifest::{System, VirtioKind};
use crate::pack::Packed;
use keyboard::{Key, Keyboard};
pub use machine::{Event, Machine};

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Virtual time follows the host's clock instead of the count of instructions.
    pub no_icount: bool,
    /// Stop the machine after this time of the host.
    pub timeout: Option<Duration>,
    /// Unix socket where the monitor VM's virtio-console ends.
    pub link: Option<PathBuf>,
    /// More arguments for QEMU.
    pub qemu: Vec<String>,
}

/// QEMU's arguments for a system whose image is `kernel`.
pub fn arguments(system: &System, kernel: &std::path::Path, options: &Options) -> Vec<String> {
    let mut arguments: Vec<String> = qemu::ARGUMENTS.iter().map(|argument| argument.to_string()).collect();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| word.to_string()));
    if !options.no_icount {
        add(qemu::ICOUNT);
    }
    add(&[
        "-smp",
        &system.cpus.to_string(),
        "-kernel",
        &kernel.display().to_string(),
    ]);
    let mut link = options.link.as_ref();
    for (index, device) in system.vms.iter().flat_map(|vm| &vm.virtio).enumerate() {
        let bus = format!("bus=virtio-mmio-bus.{}", device.transport);
        match &device.kind {
            VirtioKind::Console => {
                // The first console is the link; others, and the first if no one asked for it, lead nowhere.
                let backend = match link.take() {
                    Some(path) => format!("socket,id=console{index},path={},server=on,wait=off", path.display()),
                    None => format!("null,id=console{index}"),
                };
                add(&["-chardev", &backend]);
                add(&["-device", &format!("virtio-serial-device,id=serial{index},{bus}")]);
                add(&[
                    "-device",
                    &format!("virtconsole,bus=serial{index}.0,chardev=console{index}"),
                ]);
            }
            VirtioKind::Block(file) => {
                add(&[
                    "-drive",
                    &format!("if=none,id=disk{index},format=raw,file={}", file.display()),
                ]);
                add(&["-device", &format!("virtio-blk-device,drive=disk{index},{bus}")]);
            }
            VirtioKind::Rng => add(&["-device", &format!("virtio-rng-device,{bus}")]),
        }
    }
    arguments.extend(options.qemu.iter().cloned());
    arguments
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// EL2 said that it is up.
    pub booted: bool,
    /// How each VM stopped, by id; `None` if it still ran.
    pub stopped: Vec<Option<VmStopped>>,
    /// Each VM's console, whole.
    pub consoles: Vec<Vec<u8>>,
    /// EL2 powered the machine off.
    pub off: bool,
    /// EL2 failed or refused to boot; in words.
    pub broken: Option<String>,
    /// The time was over.
    pub timed_out: bool,
    /// QEMU's last words on its standard error.
    pub qemu_said: String,
}

impl Outcome {
    /// Of so many VMs, nothing known yet.
    pub fn of(vms: usize) -> Outcome {
        Outcome {
            stopped: vec![None; vms],
            consoles: vec![Vec::new(); vms],
            ..Outcome::default()
        }
    }

    /// Whether the hypervisor ran to its end and no VM faulted.
    pub fn is_good(&self) -> bool {
        let fault = self.stopped.iter().flatten().any(is_fault);
        self.booted && self.off && self.broken.is_none() && !self.timed_out && !fault
    }

    /// A VM's console as text.
    pub fn console(&self, vm: usize) -> String {
        self.consoles
            .get(vm)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// Takes in what the machine sent.
    pub fn note(&mut self, item: &Item, names: &[String]) {
        match item {
            Item::Byte { vm, byte } => {
                if let Some(console) = self.consoles.get_mut(*vm) {
                    console.push(*byte);
                }
            }
            Item::Record(Record::Booted { .. }) => self.booted = true,
            Item::Record(Record::SystemOff) => self.off = true,
            Item::Record(Record::Stopped(stopped)) => {
                if let Some(slot) = self.stopped.get_mut(stopped.vm as usize) {
                    *slot = Some(**stopped);
                }
            }
            Item::Record(broken @ (Record::Epitaph(_) | Record::BadConfig { .. })) => {
                self.broken = describe(broken, names);
            }
            Item::Record(Record::Log(_) | Record::Restarted { .. } | Record::Unknown { .. }) => {}
        }
    }
}

/// Runs a system to its end without a person: no keyboard, nothing printed.
///
/// # Errors
/// QEMU cannot be started.
pub fn run_silently(system: &System, packed: &Packed, options: &Options) -> Result<Outcome> {
    let machine = Machine::start(system, packed, options)?;
    drive(&machine, system, options, |_, _| Ok(()))
}

/// Runs a system on this terminal: consoles on standard output, reports on standard error, keys to the focused VM.
///
/// # Errors
/// QEMU cannot be started, or the terminal cannot be written to.
pub fn run_on_terminal(system: &System, packed: &Packed, options: &Options) -> Result<Outcome> {
    let names: Vec<String> = system.vms.iter().map(|vm| vm.name.clone()).collect();
    let machine = Machine::start(system, packed, options)?;
    let keyboard = Keyboard::open(system.focus, names.len());
    let raw = keyboard.is_raw() && io::stdout().is_terminal();
    let mut printer = Printer::new(io::stdout().lock(), &names, raw);
    let mut help_shown = false;
    let outcome = drive(&machine, system, options, |machine, event| {
        while let Some(key) = keyboard.next() {
            match key {
                Key::Byte { vm, byte } => machine.type_byte(vm, byte),
                Key::Focus(vm) => printer.say(&format!("gnomon: keyboard to {}", names[vm]))?,
                Key::Quit => return machine.stop(),
            }
        }
        match event {
            Some(Event::Item(Item::Byte { vm, byte })) => printer.byte(*vm, *byte),
            Some(Event::Item(Item::Record(Record::Booted { .. }))) if raw && !help_shown => {
                help_shown = true;
                printer.say("gnomon: ctrl-a x ends the machine, ctrl-a n gives the keyboard to the next VM")
            }
            Some(Event::Item(Item::Record(record))) => match describe(record, &names) {
                Some(text) => printer.say(&text),
                None => Ok(()),
            },
            Some(Event::Ended { .. }) | None => printer.idle(),
        }
    });
    printer.close().into_diagnostic()?;
    outcome
}

/// How long to wait for the machine before looking at the keyboard and showing unfinished lines.
const POLL: Duration = Duration::from_millis(30);

fn drive(
    machine: &Machine,
    system: &System,
    options: &Options,
    mut see: impl FnMut(&Machine, Option<&Event>) -> io::Result<()>,
) -> Result<Outcome> {
    let names: Vec<String> = system.vms.iter().map(|vm| vm.name.clone()).collect();
    let mut outcome = Outcome::of(names.len());
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let event = machine.next(POLL);
        see(machine, event.as_ref()).into_diagnostic()?;
        match event {
            Some(Event::Item(item)) => outcome.note(&item, &names),
            Some(Event::Ended { stderr }) => {
                outcome.qemu_said = stderr;
                return Ok(outcome);
            }
            None => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            outcome.timed_out = true;
            return Ok(outcome);
        }
    }
}

//! Conformance programs from the initrd, loaded as probes: each stores what it computes in its map.
//!
//! A record is the image's bytes, the value expected and the bits of it that count, as words, then the image, padded to 8.
//! What each run took is held to its proven bound, by EL2's own count of the instructions of the exit.

use hyp_abi::record::PathRecord;
use hyp_abi::{Call, PathId};
use rt::buffer::Shared;
use rt::programs::{self, Program};
use rt::{hvc, platform, println, psci};

use crate::probe::{OUTPUT, word};
use crate::{expect, need};

/// Bytes before an image.
const HEAD: usize = 24;

/// Instructions of the exit of one PSCI call, as it is now.
fn exit_time(output: &mut Shared) -> u64 {
    need("PathReset", hvc::call(Call::PathReset, []));
    psci::version();
    let len = output.len() as u64;
    need("PathRead", hvc::call(Call::PathRead, [0, output.ipa(), len]));
    let record = output.bytes().get(PathId::Psci as usize * PathRecord::SIZE..);
    let record = record.and_then(PathRecord::read).unwrap_or_default();
    expect!(record.count == 1, "{} PSCI calls counted", record.count);
    record.max
}

/// The same with a probe that does nothing, less the one instruction that it is.
fn firing_time(point: usize, output: &mut Shared) -> u64 {
    let empty = need("load", Program::load(programs::EMPTY[point]));
    let attachment = need("attach", empty.attach(point, None));
    let time = exit_time(output);
    need("detach", attachment.detach());
    need("unload", empty.unload());
    expect!(empty.time_bound == 1, "an empty probe takes {}", empty.time_bound);
    time - 1
}

pub fn run() {
    let mut output = OUTPUT.take();
    let point = programs::point("psci");
    let firing = firing_time(point, &mut output);
    let mut exact = 0;
    let mut rest = platform::initrd();
    let (mut number, mut equal) = (0, 0);
    expect!(!rest.is_empty(), "no initrd");
    while rest.len() >= HEAD && word(rest, 0) != 0 {
        let (bytes, want, mask) = (word(rest, 0) as usize, word(rest, 8), word(rest, 16));
        let Some(image) = rest.get(HEAD..HEAD + bytes) else {
            crate::failed(format_args!("record {number} is cut off"));
        };
        rest = rest.get(HEAD + bytes.next_multiple_of(8)..).unwrap_or(&[]);
        match Program::load(image) {
            Ok(program) => {
                let attachment = need("attach", program.attach(point, None));
                let took = exit_time(&mut output).saturating_sub(firing);
                expect!(
                    took <= program.time_bound,
                    "record {number} takes {took}, its bound is {}",
                    program.time_bound
                );
                exact += u64::from(took == program.time_bound);
                need("detach", attachment.detach());
                need("read", program.read(0, &mut output));
                // An entry is its key, padded to a word, and its value.
                let got = word(output.bytes(), 8);
                expect!(got & mask == want & mask, "record {number}: {got:#x}, want {want:#x}");
                need("unload", program.unload());
                equal += 1;
            }
            Err(_) => println!("refused {number}"),
        }
        number += 1;
    }
    println!("equal {equal}");
    println!("exact {exact}");
}

//! What a firing costs: a hypercall with a probe on its way out, less the same without one.

use hyp_abi::Call;
use rt::buffer::Buffer;
use rt::programs::{self, Program};
use rt::{exit, hvc, println, psci};

use crate::row::Row;
use crate::steady;

/// Rounds of a batch. All batches together leave room in the ring, so that none of its records is lost.
const ROUNDS: u64 = 256;

static RECORDS: Buffer<4096> = Buffer::new();

/// Empty, count by path, log2 histogram by path, ring record of 32 bytes.
pub fn run() {
    let point = programs::point("vm_entry");
    let plain = measure();
    let probes = [
        ("points.empty", programs::EMPTY[point]),
        ("points.count_by_path", programs::BENCH_COUNT),
        ("points.log2_histogram", programs::BENCH_HIST),
        ("points.ring_record_32", programs::BENCH_RING),
    ];
    for (name, image) in probes {
        match with(image, point) {
            Ok((row, program)) => {
                row.print_above(&plain, name);
                println!(
                    "@bound {{\"name\":\"{name}\",\"insns\":{},\"time\":{}}}",
                    program.insn_bound, program.time_bound
                );
            }
            Err(refused) => exit::fail(name, format_args!("{:?}", refused.status)),
        }
    }
}

fn measure() -> Row {
    steady::hypercalls(ROUNDS, psci::id::PSCI_VERSION)
}

fn with(image: &[u8], point: usize) -> Result<(Row, Program), hvc::Refused> {
    let program = Program::load(image)?;
    let attachment = program.attach(point, None)?;
    let row = measure();
    attachment.detach()?;
    if image.as_ptr() == programs::BENCH_RING.as_ptr() {
        no_losses(&program)?;
    }
    program.unload()?;
    Ok((row, program))
}

/// A record that found no room would have cost less.
fn no_losses(program: &Program) -> Result<(), hvc::Refused> {
    let buffer = RECORDS.take();
    let x = hvc::call(Call::RingRead, [program.handle, 0, buffer.ipa(), buffer.len() as u64])?;
    if x[1] == 0 || x[2] != 0 {
        exit::fail(
            "points",
            format_args!("ring: {} bytes read, {} records lost", x[1], x[2]),
        );
    }
    Ok(())
}

//! Random programs, compiled and run at EL2, against what the reference interpreter said when this guest was built.

use rt::programs::{self, Program};
use rt::{println, psci};

use crate::probe::{OUTPUT, word};
use crate::{expect, need};

pub fn run() {
    let mut output = OUTPUT.take();
    let point = programs::point("psci");
    let mut insns = 0;
    for (number, (image, expected)) in programs::RANDOM.iter().enumerate() {
        let program = need("load", Program::load(image).map_err(|refused| (number, refused)));
        let attachment = need("attach", program.attach(point, None));
        psci::version();
        need("detach", attachment.detach());
        need("read", program.read(0, &mut output));
        let got = word(output.bytes(), 8);
        expect!(
            got == *expected,
            "program {number} computes {got:#x}, the interpreter {expected:#x}"
        );
        insns += program.insn_bound;
        need("unload", program.unload());
    }
    println!("@jit {{\"programs\":{},\"insns\":{insns}}}", programs::RANDOM.len());
}

//! Conformance programs from the initrd, loaded as probes: each stores what it computes in its map.
//!
//! A record is the image's bytes, the value expected and the bits of it that count, as words, then the image, padded to 8.

use rt::programs::{self, Program};
use rt::{platform, println, psci};

use crate::probe::{OUTPUT, word};
use crate::{expect, need};

/// Bytes before an image.
const HEAD: usize = 24;

pub fn run() {
    let mut output = OUTPUT.take();
    let point = programs::point("psci");
    let mut rest = platform::get().initrd();
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
                psci::version();
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
}

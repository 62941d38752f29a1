#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! The loader guest: the host's `gnomon` talks to it over a virtio console, and it makes the hypercalls.
//!
//! It adds no policy: what a request may do is what the hypervisor grants this VM. It serves until told to quit.
//! Frames and verbs are in `hyp_abi::link`.

mod link;
mod load;
mod verbs;

use hyp_abi::link::BODY_MAX;
use rt::buffer::Buffer;
use rt::{exit, gic, println, virtio};

rt::entry!(main);

/// Request bodies, and the input buffers of hypercalls.
static INPUT: Buffer<BODY_MAX> = Buffer::new();
/// Answer bodies, and the output buffers of hypercalls.
static OUTPUT: Buffer<BODY_MAX> = Buffer::new();

fn main() {
    gic::init();
    let Some((console, intid)) = virtio::console() else {
        println!("monitor: no virtio console in the device tree");
        exit::failure(exit::CODE_TEST);
    };
    gic::enable(intid);
    let mut link = link::Link::new(console, intid);
    let mut buffers = verbs::Buffers {
        input: INPUT.take(),
        output: OUTPUT.take(),
    };
    println!("monitor: serving");
    loop {
        let request = link.receive(&mut buffers.input);
        let answer = verbs::execute(&request, &mut buffers);
        link.send(
            &answer.header(&request),
            buffers.output.bytes().get(..answer.len).unwrap_or(&[]),
        );
        if answer.quit {
            println!("monitor: told to quit");
            return;
        }
    }
}

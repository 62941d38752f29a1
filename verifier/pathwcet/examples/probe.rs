//! Bound of one symbol of an ELF: `cargo run -p pathwcet --example probe -- FILE SYMBOL`.
use pathwcet::{elf::Image, explore::*, state::*};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let image = Image::parse(&std::fs::read(&args[1]).unwrap()).unwrap();
    let mut symbols = Symbols::default();
    let mut start = State::entry(&mut symbols);
    for a in &args[3..] {
        let (r, v) = a.split_once('=').unwrap();
        let (lo, hi) = v.split_once("..").unwrap();
        let v = start.number(
            &mut symbols,
            pathwcet::range::Range::new(lo.parse().unwrap(), hi.parse().unwrap()).unwrap(),
        );
        start.set(r.parse().unwrap(), v);
    }
    let q = Query {
        entry: image.address_of(&args[2]).unwrap(),
        stops: Default::default(),
        start,
        declared: Default::default(),
        slots: Default::default(),
        sites: Default::default(),
        cost: &|_| 1,
        on_panic: OnPanic::LeaveOut,
        limits: Limits::default(),
    };
    match explore(&image, &q, symbols) {
        Ok(o) => println!(
            "{} insns; loops {:?}; left out {}; steps {}",
            o.bound, o.loops, o.left_out, o.steps
        ),
        Err(e) => println!("error: {e}"),
    }
}

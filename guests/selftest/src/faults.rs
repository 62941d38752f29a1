//! Things a VM must not survive: the run expects its end by a fault, and everyone else alive.
//! `kind=read|write`, `address=N` (beyond RAM by default), `after_ms=N` (at once by default).

use rt::access::{self, Width};
use rt::{platform, println, timer};

use crate::failed;

pub fn run() {
    let (ram, size) = platform::get().ram;
    let address = platform::get().number("address").unwrap_or((ram + size) as u64) as usize;
    if let Some(milliseconds) = platform::get().number("after_ms") {
        rt::gic::init();
        rt::gic::enable(timer::INTID);
        timer::sleep_until(timer::now() + milliseconds * timer::frequency() / 1000);
    }
    let kind = platform::get().option("kind").unwrap_or("read");
    println!("fault: {kind} at {address:#x}");
    let outcome = match kind {
        "read" => access::try_read(address, Width::Word).map(|_| ()),
        "write" => access::try_write(address, Width::Word, 0),
        other => failed(format_args!("kind={other}")),
    };
    failed(format_args!("still alive after it: {outcome:?}"));
}

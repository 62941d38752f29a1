#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! Placeholder until its own commit.

rt::entry!(main);

fn main() {
    rt::println!("hello: options {:?}", rt::platform::get().option("test"));
}

#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! Two VMs that talk over one channel, as a client and a server of a real system do.
//!
//! Boot arguments: `role=client` or `role=server`; `chan=N` the channel end (0). The client takes `count=N` rounds
//! (0: until its partner is gone), `pause_us=N` between rounds, and `stop` to end the server after the last one; every eighth
//! round it also notifies, if the channel gives it the right. The server echoes, and stamps notifications for `bench` (see `server`).

mod client;
mod server;

use hyp_abi::rights::ChannelRights;
use rt::{gic, hvc, platform};

rt::entry!(main);

fn main() {
    let options = platform::get();
    let channel = options.number("chan").unwrap_or(0);
    gic::init();
    let info = match hvc::channel_info(channel) {
        Ok(info) => info,
        Err(refused) => rt::exit::fail("pingpong", format_args!("channel {channel}: {:?}", refused.status)),
    };
    if info.intid != 0 {
        gic::enable(info.intid);
    }
    match options.option("role") {
        Some("client") => client::run(channel, info.rights.contains(ChannelRights::NOTIFY), options),
        Some("server") => server::run(channel),
        other => rt::exit::fail("pingpong", format_args!("role={other:?}: client or server")),
    }
}

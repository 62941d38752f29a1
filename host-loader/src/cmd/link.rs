//! The flags that every verb against a running system takes.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;

/// Where the running system is.
#[derive(clap::Args, Debug)]
pub struct LinkArgs {
    /// Unix socket of the monitor's link, as given to `gnomon run --link`; inside a Linux VM, /dev/gnomon.
    #[arg(long, value_name = "PATH", env = "GNOMON_LINK", default_value = "gnomon.link")]
    pub link: PathBuf,
    /// Seconds to wait for the monitor to answer.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub wait: f64,
}

impl LinkArgs {
    /// Connects.
    pub fn connect(&self) -> miette::Result<Client> {
        let patience = Duration::try_from_secs_f64(self.wait).map_err(|e| miette::miette!("--wait: {e}"))?;
        Ok(Client::connect(&self.link, patience)?)
    }
}

/// A handle or attachment, decimal or hexadecimal with `0x`.
pub fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| e.to_string())
}

//! The rules of channels and of the interrupts they pend.

use std::collections::BTreeMap;
use std::ops::Range;

use hyp_abi::rights::ChannelRights;
use hyp_abi::{CHANNEL_ENDS_MAX, config};
use toml::Spanned;

use super::check::{Checker, Result, names};
use super::{Channel, Vm, raw};

/// First INTID of the SPIs.
const SPI_BASE: u32 = 32;
/// SPIs that the emulated distributor has.
const SPIS: u32 = 64;

/// Who has an SPI of a VM.
enum Owner {
    Device(&'static str, Range<usize>),
    Channel(Range<usize>),
}

/// SPIs that are given, by VM and number.
type Spis = BTreeMap<(usize, u32), Owner>;

impl Checker<'_> {
    /// Checks every channel; their order numbers the ends of each VM.
    pub(super) fn channels(&self, raw: &[Spanned<raw::Channel>], vms: &[Vm]) -> Result<Vec<Channel>> {
        if raw.len() > config::CHANNELS_MAX {
            return Err(self.text.error(format!(
                "a system has at most {} channels, not {}",
                config::CHANNELS_MAX,
                raw.len()
            )));
        }
        names(self.text, raw.iter().map(|channel| &channel.get_ref().name), "channel")?;
        let mut spis = self.device_spis(vms);
        let mut ends = vec![0; vms.len()];
        let mut channels = Vec::new();
        for entry in raw {
            let channel = self.channel(entry, vms, &mut spis)?;
            for vm in [channel.client, channel.server] {
                ends[vm] += 1;
                if ends[vm] > CHANNEL_ENDS_MAX {
                    let message = format!("`{}` has more than {CHANNEL_ENDS_MAX} channel ends", vms[vm].name);
                    return Err(self.text.error(message).at(entry.span(), "one too many"));
                }
            }
            channels.push(channel);
        }
        Ok(channels)
    }

    /// A message is words from one vCPU's registers to another's: both must be on one CPU.
    fn same_cpu(&self, raw: &raw::Channel, client: &Vm, server: &Vm) -> Result<()> {
        if client.home() == server.home() {
            return Ok(());
        }
        let message = format!(
            "channel `{}` is between CPU {} and CPU {}",
            raw.name.get_ref(),
            client.home(),
            server.home()
        );
        Err(self
            .text
            .error(message)
            .at(raw.name.span(), "this channel")
            .at(
                client.cpus_span.clone(),
                format!("`{}` starts on CPU {}", client.name, client.home()),
            )
            .at(
                server.cpus_span.clone(),
                format!("`{}` starts on CPU {}", server.name, server.home()),
            )
            .advise("both ends of a channel are on one CPU: put the first vCPUs of the two VMs there"))
    }

    fn channel(&self, entry: &Spanned<raw::Channel>, vms: &[Vm], spis: &mut Spis) -> Result<Channel> {
        let raw = entry.get_ref();
        let (client, server) = (self.resolve(&raw.client)?, self.resolve(&raw.server)?);
        if client == server {
            return Err(self
                .text
                .error("both ends of a channel belong to one VM")
                .at(raw.client.span(), "client")
                .at(raw.server.span(), "server"));
        }
        self.same_cpu(raw, &vms[client], &vms[server])?;
        let (mut client_rights, mut server_rights) = (ChannelRights::empty(), ChannelRights::empty());
        if raw.calls {
            client_rights |= ChannelRights::CALL;
            server_rights |= ChannelRights::SERVE;
        }
        let (to_server, to_client) = self.directions(raw.notify.as_ref())?;
        if to_server {
            client_rights |= ChannelRights::NOTIFY;
            server_rights |= ChannelRights::NOTIFIED;
        }
        if to_client {
            server_rights |= ChannelRights::NOTIFY;
            client_rights |= ChannelRights::NOTIFIED;
        }
        if client_rights.is_empty() && server_rights.is_empty() {
            return Err(self
                .text
                .error("nothing can pass over this channel")
                .at(entry.span(), "this one")
                .advise("allow calls, or say `notify = \"both\"`"));
        }
        Ok(Channel {
            name: raw.name.get_ref().clone(),
            client,
            server,
            client_rights,
            server_rights,
            client_intid: self.spi(raw.client_spi.as_ref(), client, to_client, spis)?,
            server_intid: self.spi(raw.server_spi.as_ref(), server, to_server, spis)?,
        })
    }

    /// Whether notifications go to the server, and whether they go to the client.
    fn directions(&self, notify: Option<&Spanned<String>>) -> Result<(bool, bool)> {
        let Some(word) = notify else { return Ok((false, false)) };
        match word.get_ref().as_str() {
            "none" => Ok((false, false)),
            "to-server" => Ok((true, false)),
            "to-client" => Ok((false, true)),
            "both" => Ok((true, true)),
            other => Err(self
                .text
                .error(format!("`{other}` is not a direction"))
                .at(word.span(), "here")
                .advise("notify is \"none\", \"to-server\", \"to-client\" or \"both\"")),
        }
    }

    fn spi(&self, spi: Option<&Spanned<u32>>, vm: usize, notified: bool, spis: &mut Spis) -> Result<u32> {
        let Some(place) = spi else { return Ok(0) };
        let number = *place.get_ref();
        if number >= SPIS {
            let message = format!("SPI {number} does not exist; there are 0 to {}", SPIS - 1);
            return Err(self
                .text
                .error(message)
                .at(place.span(), "here")
                .advise("SPI n is INTID 32 + n"));
        }
        if !notified {
            return Err(self
                .text
                .error("an SPI is given for an end that is never notified")
                .at(place.span(), "here")
                .advise("say `notify = \"both\"`, or the direction that is meant"));
        }
        match spis.insert((vm, number), Owner::Channel(place.span())) {
            None => Ok(SPI_BASE + number),
            Some(Owner::Channel(first)) => Err(self
                .text
                .error(format!("SPI {number} is given twice to one VM"))
                .at(first, "first here")
                .at(place.span(), "and again here")
                .advise("each notification needs an SPI of its own")),
            Some(Owner::Device(device, given)) => Err(self
                .text
                .error(format!("SPI {number} is the interrupt of the VM's {device}"))
                .at(given, "this device")
                .at(place.span(), "the same SPI again")
                .advise("the uart has SPI 1, virtio devices have SPI 16 and up")),
        }
    }

    fn device_spis(&self, vms: &[Vm]) -> Spis {
        let mut spis = Spis::new();
        for (id, vm) in vms.iter().enumerate() {
            if vm.uart {
                spis.insert(
                    (id, self.board.uart.intid - SPI_BASE),
                    Owner::Device("uart", vm.uart_span.clone()),
                );
            }
            for device in &vm.virtio {
                let spi = self.board.transports.first_intid + device.transport - SPI_BASE;
                spis.insert((id, spi), Owner::Device("virtio device", device.span.clone()));
            }
        }
        spis
    }
}

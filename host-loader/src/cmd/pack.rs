//! `gnomon pack`: one bootable image of one system.

use std::path::PathBuf;

use miette::{IntoDiagnostic, WrapErr};

use crate::Status;
use crate::manifest::quantity::Bytes;
use crate::pack;

/// Join a system into one bootable image.
///
/// The image holds the hypervisor, the checked manifest, and every guest with its device tree and RAM disk. It is an arm64
/// `Image`: firmware and QEMU's -kernel load it like a Linux kernel.
///
/// Example:
///
///     gnomon pack systems/demo.toml -o demo.img
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The manifest.
    pub manifest: PathBuf,
    /// Where the image goes; the manifest's name with .img in the current folder if not given.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Print where each VM is as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let (_, packed) = pack::pack_file(&args.manifest)?;
    let output = args.output.unwrap_or_else(|| pack::default_output(&args.manifest));
    std::fs::write(&output, &packed.image)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", output.display()))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&packed.placed).into_diagnostic()?);
        return Ok(Status::Ok);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["VM", "memory", "guest-physical", "physical", "entry", "device tree"]);
    for vm in &packed.placed {
        table.add_row([
            vm.name.clone(),
            Bytes(vm.memory).to_string(),
            format!("{:#x}", vm.ipa_base),
            format!("{:#x}", vm.pa_base),
            format!("{:#x}", vm.entry),
            format!("{:#x}", vm.fdt),
        ]);
    }
    println!("{table}");
    let len = packed.image.len() as u64;
    println!(
        "{}: {len} bytes, {} of them the hypervisor",
        output.display(),
        packed.hypervisor_len
    );
    Ok(Status::Ok)
}

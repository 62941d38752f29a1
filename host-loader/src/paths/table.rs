//! The table of path bounds in the hypervisor's image: found, read, patched.

use std::ops::Range;

use goblin::elf::Elf;
use hyp_abi::PathId;
use hyp_abi::bounds::{Bounds, SIZE};
use hyp_abi::config::NAME_LEN;
use hyp_core::admit::declared;

use super::analyse::Analysis;

/// The table's symbol.
const SYMBOL: &str = "GNOMON_PATH_BOUNDS";
/// Name of the timing model: each retired instruction is one.
const MODEL: &[u8] = b"insns";

/// Why there is no table to read or patch.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No ELF file.
    #[error("no ELF file: {0}")]
    Elf(#[from] goblin::error::Error),
    /// The symbol is not there.
    #[error("no hypervisor: it has no {SYMBOL}")]
    NoSymbol,
    /// The symbol's bytes are not in the file.
    #[error("its table of path bounds is cut off")]
    CutOff,
}

/// Where in the file the table lies.
///
/// # Errors
/// The file is no hypervisor, or is cut off.
fn place(file: &[u8]) -> Result<Range<usize>, TableError> {
    let elf = Elf::parse(file)?;
    let symbol = elf
        .syms
        .iter()
        .find(|s| elf.strtab.get_at(s.st_name) == Some(SYMBOL))
        .ok_or(TableError::NoSymbol)?;
    let segment = elf
        .program_headers
        .iter()
        .find(|p| p.vm_range().contains(&(symbol.st_value as usize)));
    let at = segment.ok_or(TableError::CutOff)?;
    let start = (at.p_offset + (symbol.st_value - at.p_vaddr)) as usize;
    let range = start..start.saturating_add(SIZE);
    if file.get(range.clone()).is_none() {
        return Err(TableError::CutOff);
    }
    Ok(range)
}

/// The table of a hypervisor's ELF file; `None` if it was not patched in.
///
/// # Errors
/// The file is no hypervisor.
pub fn read(file: &[u8]) -> Result<Option<Bounds>, TableError> {
    let range = place(file)?;
    Ok(file.get(range).and_then(Bounds::read))
}

/// Writes the table into a hypervisor's ELF file.
///
/// # Errors
/// The file is no hypervisor.
pub fn patch(file: &mut [u8], bounds: &Bounds) -> Result<(), TableError> {
    let range = place(file)?;
    let bytes = file.get_mut(range).ok_or(TableError::CutOff)?;
    bounds.write(bytes).ok_or(TableError::CutOff)
}

/// The table of what was found. A path without a bound has 0 and the declared firings: its basis stays what is observed.
pub fn of(analysis: &Analysis) -> Bounds {
    let mut model = [0; NAME_LEN];
    model[..MODEL.len()].copy_from_slice(MODEL);
    let mut bounds = Bounds {
        model,
        own: [0; PathId::COUNT],
        fire: declared::FIRE,
        firings: declared::firings(),
    };
    for (to, from) in bounds.fire.iter_mut().zip(&analysis.fire) {
        if let Some(cost) = from {
            *to = *cost;
        }
    }
    for ((own, firings), found) in bounds.own.iter_mut().zip(&mut bounds.firings).zip(&analysis.paths) {
        let Some(found) = found else { continue };
        *own = found.bound;
        for (n, m) in firings.iter_mut().zip(found.firings) {
            *n = u16::try_from(m).unwrap_or(u16::MAX);
        }
    }
    bounds
}

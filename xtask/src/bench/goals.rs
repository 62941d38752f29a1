//! The goals of benches whose programs do not know them: what runs in a guest only counts.

/// Goals by name, in the unit of the row; lower is better for all of them.
const GOALS: &[(&str, f64)] = &[
    ("exits.psci_version.disabled", 75.0),
    ("exits.gicd_typer_read.disabled", 110.0),
    ("exits.gicd_isenabler_write.disabled", 130.0),
    ("exits.self_sgi.disabled", 150.0),
    ("exits.vtimer_spin.disabled", 120.0),
    ("exits.vtimer_wfi.disabled", 500.0),
    ("exits.ipc_call_reply.disabled", 700.0),
];

/// The goal of a row, if it has one.
pub fn of(name: &str) -> Option<f64> {
    GOALS.iter().find(|(row, _)| *row == name).map(|(_, goal)| *goal)
}

//! The goals of benches whose programs do not know them: what runs in a guest only counts.

/// Goals by name, in the unit of the row; lower is better for all of them.
const GOALS: &[(&str, f64)] = &[
    ("exits.psci_version", 75.0),
    ("exits.gicd_typer_read", 110.0),
    ("exits.gicd_isenabler_write", 130.0),
    ("exits.self_sgi_to_handler", 150.0),
    ("exits.vtimer_to_handler", 120.0),
    ("exits.vtimer_to_handler_wfi", 500.0),
    ("exits.ipc_call_reply", 700.0),
    ("points.empty", 20.0),
    ("points.count_by_path", 40.0),
    ("points.log2_histogram", 70.0),
    ("points.ring_record_32", 90.0),
];

/// The goal of a row, if it has one.
pub fn of(name: &str) -> Option<f64> {
    GOALS.iter().find(|(row, _)| *row == name).map(|(_, goal)| *goal)
}

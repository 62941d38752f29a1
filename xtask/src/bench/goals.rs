//! The goals of benches whose programs do not know them: what runs in a guest only counts.

/// One goal: the row's name, the most it should be, and what stands in the way while it is more.
struct Goal {
    name: &'static str,
    most: f64,
    obstacle: &'static str,
}

const fn goal(name: &'static str, most: f64, obstacle: &'static str) -> Goal {
    Goal { name, most, obstacle }
}

const SWITCHES: &str =
    "two switches of VM, each of 90 instructions for 29 system registers and 33 for the general ones";
const ROAD: &str = "what every exit pays: 24 instructions to save and load registers, 17 to measure and count it";
const FIRING: &str = "the point's own block, or what the probe reads of its context";

/// Goals in the unit of the row; lower is better for all of them.
const GOALS: &[Goal] = &[
    goal("exits.psci_version", 75.0, ROAD),
    goal(
        "exits.gicd_typer_read",
        110.0,
        "every register saved and loaded (34), the count (17), and the syndrome, page, size and register to decode (32)",
    ),
    goal(
        "exits.gicd_isenabler_write",
        130.0,
        "as gicd_typer_read, and the test that nothing becomes deliverable",
    ),
    goal(
        "exits.self_sgi_to_handler",
        150.0,
        "every register saved and loaded (34), the count (17), the targets decoded, a list register written",
    ),
    goal("exits.vtimer_to_handler", 120.0, ROAD),
    goal(
        "exits.vtimer_to_handler_wfi",
        500.0,
        "the way through the scheduler and back",
    ),
    goal(
        "exits.ipi_to_handler",
        300.0,
        "two exits, the words in memory between the CPUs, and the physical interrupt of one to the other",
    ),
    goal("exits.ipc_call_reply", 700.0, SWITCHES),
    goal("points.empty", 20.0, FIRING),
    goal("points.count_by_path", 40.0, FIRING),
    goal("points.log2_histogram", 70.0, FIRING),
    goal("points.ring_record_32", 90.0, FIRING),
];

/// The goal of a row; what stands behind `@` in its name says where it was measured.
fn find(name: &str) -> Option<&'static Goal> {
    let name = name.split('@').next()?;
    GOALS.iter().find(|goal| goal.name == name)
}

/// The goal of a row, if it has one.
pub fn of(name: &str) -> Option<f64> {
    find(name).map(|goal| goal.most)
}

/// What stands in the way of a goal that is missed.
pub fn obstacle(name: &str) -> Option<&'static str> {
    find(name).map(|goal| goal.obstacle)
}

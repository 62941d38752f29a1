//! Probes by hypercall: life, points, rights.

use gnomon_tests::vm;
use hyp_abi::record::StopCause;

const EVERYTHING: &str = "priority = 10\nrights = [\"probe:system\", \"log\"]";

#[test]
fn a_probe_lives_and_dies() {
    vm::passes("probe", &vm::guest("one", "selftest", "test=probe", EVERYTHING));
}

#[test]
fn every_point_fires_with_its_data() {
    let text = vm::guest("one", "selftest", "test=points chan=0", EVERYTHING)
        + &vm::guest("server", "pingpong", "role=server chan=0", "priority = 20")
        + &vm::channel("one", "server");
    vm::passes("points", &text);
}

#[test]
fn compiled_code_computes_what_the_interpreter_does() {
    vm::passes("jit", &vm::guest("one", "selftest", "test=jit", EVERYTHING));
}

#[test]
fn a_stage_2_fault_fires_its_point() {
    let text = vm::guest("one", "selftest", "test=stage2", EVERYTHING)
        + &vm::guest(
            "faulter",
            "selftest",
            "test=fault kind=read address=0x10000000 after_ms=5",
            "",
        );
    let outcome = vm::run(&text);
    vm::said_pass("stage2", &outcome, 0);
    vm::stopped_by(StopCause::MemoryFault, &outcome, 1);
}

/// The counts of each CPU are exact, and nothing is run that was unloaded.
fn several_cpus(cpus: usize, clock: &str, late: u32) {
    let observer = format!("test=several cpus={cpus} late={late}");
    // A ring of 512 KiB for each CPU.
    let rights = format!("{EVERYTHING}\nprobes = {{ map_memory = \"3M\", programs = 8 }}");
    let mut text =
        format!("[system]\ncpus = {cpus}\n{clock}\n") + &vm::guest("observer", "selftest", &observer, &rights);
    for cpu in 1..cpus {
        let (name, place) = (format!("worker{cpu}"), format!("cpu = {cpu}"));
        text += &vm::guest(
            &name,
            "selftest",
            &format!("test=several role=worker late={late}"),
            &place,
        );
    }
    let outcome = vm::run_until_stopped(&[0], &text);
    assert!(
        !outcome.timed_out && outcome.broken.is_none(),
        "{}",
        vm::story(&outcome)
    );
    vm::said_pass("several", &outcome, 0);
}

#[test]
fn probes_fire_on_two_cpus() {
    several_cpus(2, "", 1);
}

#[test]
fn probes_fire_on_four_cpus_at_once() {
    several_cpus(4, "clock = \"host\"", 4);
}

/// Instructions of the longest verify step, over programs made to be hard (docs/VERIFIER.md).
const VERIFY_STEP_MAX: u64 = 25_000;
/// And over ordinary probes.
const VERIFY_STEP_SMALL_MAX: u64 = 25_000;

#[test]
fn a_proof_goes_in_short_steps() {
    let rights = "priority = 10\nrights = [\"probe:system\"]\nprobes = { map_memory = \"1M\", programs = 4 }";
    let outcome = vm::passes("bench", &vm::guest("one", "bench", "verify", rights));
    let console = outcome.console(0);
    let row = |name: &str| {
        let start = format!("{{\"name\":\"{name}\",\"value\":");
        let line = vm::lines(&console, "@row").find_map(|l| l.strip_prefix(&start).map(str::to_string));
        let line = line.unwrap_or_else(|| panic!("no row {name}:\n{console}"));
        line.split(',')
            .next()
            .and_then(|v| v.parse::<u64>().ok())
            .expect("a number")
    };
    let (longest, small) = (
        row("verify.target.longest_step"),
        row("verify.target.longest_step.small"),
    );
    assert!((1..=VERIFY_STEP_MAX).contains(&longest), "{longest}");
    assert!((1..=VERIFY_STEP_SMALL_MAX).contains(&small), "{small}");
}

#[test]
fn without_the_right_nothing_is_seen() {
    vm::passes("denied", &vm::guest("one", "selftest", "test=denied", ""));
}

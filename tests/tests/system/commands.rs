//! The host's verbs against a running system, as a person types them.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gnomon::run::{Event, Machine, Options};
use gnomon_tests::{repo, vm};
use serde_json::Value;

/// Status, standard output, standard error of `gnomon` with these arguments.
fn gnomon(link: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(vm::gnomon());
    command
        .current_dir(repo::root())
        .args(arguments)
        .env("GNOMON_LINK", link);
    let output = command.output().expect("gnomon runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The JSON that a verb prints with status 0.
fn json(link: &Path, arguments: &[&str]) -> Value {
    let (status, out, err) = gnomon(link, arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

/// Runs `work` beside a system with a monitor and a control loop.
fn beside_a_system(work: impl FnOnce(&Path)) {
    let monitor = "ipa_base = 0x7000_0000\npriority = 8\nrights = [\"probe:system\", \"log\"]\n\
                   devices = [\"uart\", { virtio = \"console\", dma = \"trusted\" }]\n\
                   probes = { map_memory = \"2M\", programs = 16 }";
    let text = vm::guest("monitor", "monitor", "", monitor).replace("8M", "16M")
        + &vm::guest("loop", "periodic", "window=100", "priority = 30");
    let (system, packed) = vm::packed(&text);
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    let options = Options {
        link: Some(link.clone()),
        ..Options::default()
    };
    let machine = Machine::start(&system, &packed, &options).expect("QEMU starts");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The consoles must be read, or the guests stop at a full pipe.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(Event::Ended { .. }) = machine.next(Duration::from_millis(50)) {
                    break;
                }
            }
        });
        // The listener ends even if the work panics.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&link)));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn load_attach_read_report_detach_unload() {
    beside_a_system(|link| {
        let object = vm::dist().probe("exit_count").display().to_string();
        let loaded = json(link, &["load", &object, "--attach", "--json"]);
        let found = |key: &str| find(&loaded, key).unwrap_or_else(|| panic!("no {key} in {loaded}"));
        let (handle, attachment) = (found("handle"), found("attachment"));
        let report = json(link, &["report", "--json"]);
        assert!(
            report["paths"].as_array().is_some_and(|paths| paths.len() >= 2),
            "{report}"
        );
        let peaks = json(link, &["report", "--peaks", "--json"]);
        let peaks = peaks["peaks"].as_array().map_or(&[][..], Vec::as_slice);
        let vtimer = peaks.iter().find(|peak| peak["path"] == "irq.vtimer");
        let why = vtimer.map(|peak| peak["cause"].to_string());
        assert!(why.is_some_and(|why| why.contains("interrupt ")), "{peaks:?}");
        let maps = json(link, &["read", &handle, "--json", "--object", &object]);
        assert!(maps.to_string().contains("exit"), "{maps}");
        let busy = gnomon(link, &["unload", &handle]);
        assert!(
            busy.0 == Some(2) && busy.2.contains("busy"),
            "unloaded while attached: {busy:?}"
        );
        let gone = gnomon(link, &["detach", &attachment, "--unload", &handle]);
        assert_eq!(gone.0, Some(0), "{gone:?}");
        let (status, report, _) = gnomon(link, &["report"]);
        assert_eq!(
            status,
            Some(0),
            "what was seen with the probe is not held against the paths alone: {report}"
        );
        let again = gnomon(link, &["unload", &handle]);
        assert!(
            again.0 == Some(2) && again.2.contains("not found"),
            "unloaded twice: {again:?}"
        );
    });
}

/// The first field of this name in a JSON value, as a command's argument.
fn find(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(fields) => match fields.get(key) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text.clone()),
            _ => fields.values().find_map(|value| find(value, key)),
        },
        Value::Array(values) => values.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

#[test]
fn refused_programs_are_refused_with_their_line() {
    beside_a_system(|link| {
        for name in ["unbounded_loop", "outside_value"] {
            let object = vm::dist().probe(&format!("refused/{name}")).display().to_string();
            let (status, out, err) = gnomon(link, &["load", &object, "--attach"]);
            assert_eq!(status, Some(1), "{name}: {out}{err}");
            assert!(
                (out + &err).contains(&format!("{name}.bpf.c")),
                "{name}: the line is shown"
            );
        }
        let (status, ..) = gnomon(link, &["report"]);
        assert_eq!(status, Some(0), "the system lives");
    });
}

#[test]
fn without_a_system_the_verbs_say_so() {
    let (status, out, err) = gnomon(Path::new("/nonexistent/link"), &["report", "--wait", "0"]);
    assert_eq!(status, Some(2), "{out}{err}");
    assert!(err.contains("gnomon run"), "{err}");
}

#[test]
fn the_demo_shows_what_it_should() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("d.json");
    let (status, out, err) = gnomon(
        Path::new("unused"),
        &["demo", "systems/demo.toml", "--json", &file.display().to_string()],
    );
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.trim_end().ends_with("demo: ok"), "{out}");
    let shown: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("the file")).expect("JSON");
    let list = |key: &str| {
        shown[key]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("{key} is no array"))
    };
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
    let paths = list("paths");
    assert!(
        paths.iter().filter(|path| number(path, "count") > 0.0).count() >= 6,
        "six paths are taken"
    );
    for path in &paths {
        assert!(
            number(path, "observed") <= number(path, "total"),
            "observed above its bound: {path}"
        );
    }
    let ipc = |histogram: &Value| histogram["name"].as_str().is_some_and(|name| name.contains("ipc"));
    assert!(
        list("histograms")
            .iter()
            .any(|h| ipc(h) && h["buckets"].as_array().is_some_and(|b| !b.is_empty()))
    );
    let refusals = list("refusals");
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    assert!(
        refusals.iter().filter(|refusal| number(refusal, "line") > 0.0).count() >= 2,
        "{refusals:?}"
    );
    assert!(
        refusals.iter().any(|refusal| refusal["available"].is_number()),
        "the largest that fits is said"
    );
    assert!(list("jitter").len() >= 2, "without and with probes");
}

/// QEMU does not stay behind when `gnomon` is killed.
#[test]
fn the_machine_dies_with_the_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("system.toml");
    std::fs::write(&manifest, vm::guest("loop", "periodic", "window=100", "")).expect("written");
    let mut child = Command::new(vm::gnomon())
        .args(["run", "--timeout", "60"])
        .arg(&manifest)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("gnomon runs");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let machine = within_ten_seconds(|| {
        let pids = std::fs::read_to_string(&children).unwrap_or_default();
        let mut pids = pids.split_whitespace().map(String::from);
        pids.find(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu")))
    });
    let machine = machine.expect("QEMU has started");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    let gone = within_ten_seconds(|| {
        let state = std::fs::read_to_string(format!("/proc/{machine}/stat")).unwrap_or_default();
        // Whoever adopts it may take its time to reap it.
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
    assert!(gone.is_some(), "QEMU, process {machine}, has outlived gnomon");
}

fn within_ten_seconds<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..200 {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}

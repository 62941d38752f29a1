//! `guests/linux/module/link.h` says in C what `hyp_abi::link` says in Rust: every number, size and offset, by the C compiler.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use gnomon_tests::repo;
use hyp_abi::link::{
    ANSWER, BODY_MAX, Header, HelloReply, HvcReply, HvcRequest, LinkError, LoadReply, MAGIC, NO_BUFFER, Verb,
};
use hyp_abi::{Call, Status, call};

fn equal(out: &mut String, c: &str, rust: u64) {
    writeln!(out, "_Static_assert((u64)({c}) == {rust}ull, \"{c}\");").expect("a string takes it");
}

fn layout(out: &mut String, name: &str, size: usize, fields: &[(&str, usize)]) {
    equal(out, &format!("sizeof(struct {name})"), size as u64);
    let mut at = 0;
    for (field, bytes) in fields {
        equal(out, &format!("__builtin_offsetof(struct {name}, {field})"), at as u64);
        equal(out, &format!("sizeof(((struct {name} *)0)->{field})"), *bytes as u64);
        at += bytes;
    }
}

fn assertions() -> String {
    let mut out = String::from("#include \"link.h\"\n");
    for (c, call) in [
        ("VERSION", Call::Version),
        ("VM_INFO", Call::VmInfo),
        ("VM_EXIT", Call::VmExit),
        ("IPC_CALL", Call::IpcCall),
        ("IPC_RECV", Call::IpcRecv),
        ("IPC_REPLY_RECV", Call::IpcReplyRecv),
        ("NOTIFY_WAIT", Call::NotifyWait),
        ("PROBE_STAGE", Call::ProbeStage),
        ("PROBE_VERIFY", Call::ProbeVerify),
        ("PROBE_COMPILE", Call::ProbeCompile),
        ("PROBE_UNLOAD", Call::ProbeUnload),
    ] {
        equal(&mut out, &format!("GNOMON_{c}"), call as u64);
    }
    equal(&mut out, "GNOMON_FID(1)", u64::from(call::FID_BASE) | 1);
    equal(&mut out, "GNOMON_FID_UID", call::FID_UID.into());
    for (i, word) in call::UID.iter().enumerate() {
        equal(&mut out, &format!("GNOMON_UID_{i}"), (*word).into());
    }
    equal(&mut out, "GNOMON_STATUS_TOO_BIG", Status::TooBig.x0());
    equal(&mut out, "GNOMON_STATUS_AGAIN", Status::Again.x0());
    equal(&mut out, "GNOMON_MAGIC", MAGIC.into());
    equal(&mut out, "GNOMON_BODY_MAX", BODY_MAX as u64);
    equal(&mut out, "GNOMON_VERB_HELLO", Verb::Hello as u64);
    equal(&mut out, "GNOMON_VERB_HVC", Verb::Hvc as u64);
    equal(&mut out, "GNOMON_VERB_LOAD", Verb::Load as u64);
    equal(&mut out, "GNOMON_ANSWER", ANSWER.into());
    equal(&mut out, "GNOMON_NO_BUFFER", NO_BUFFER.into());
    equal(&mut out, "GNOMON_OK", LinkError::None as u64);
    equal(&mut out, "GNOMON_UNKNOWN_VERB", LinkError::UnknownVerb as u64);
    equal(&mut out, "GNOMON_MALFORMED", LinkError::MalformedBody as u64);
    equal(&mut out, "GNOMON_TOO_BIG", LinkError::TooBig as u64);
    layout(&mut out, "gnomon_header", Header::SIZE, Header::FIELDS);
    layout(&mut out, "gnomon_hello_reply", HelloReply::SIZE, HelloReply::FIELDS);
    layout(&mut out, "gnomon_hvc_request", HvcRequest::SIZE, HvcRequest::FIELDS);
    layout(&mut out, "gnomon_hvc_reply", HvcReply::SIZE, HvcReply::FIELDS);
    layout(&mut out, "gnomon_load_reply", LoadReply::SIZE, LoadReply::FIELDS);
    out
}

#[test]
fn the_module_and_the_hypervisor_mean_the_same() {
    let mut compiler = Command::new("clang")
        .args([
            "-target",
            "aarch64-linux-gnu",
            "-ffreestanding",
            "-fsyntax-only",
            "-x",
            "c",
            "-I",
        ])
        .arg(repo::root().join("guests/linux/module"))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("clang is there: cargo xtask test installs it");
    let source = assertions();
    let mut stdin = compiler.stdin.take().expect("a pipe was asked for");
    stdin.write_all(source.as_bytes()).expect("clang reads");
    drop(stdin);
    let out = compiler.wait_with_output().expect("clang ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

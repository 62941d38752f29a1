//! Hands the linker script to the linker; the script is the image's memory map.
fn main() {
    // defmt leaves out what is below `error` unless told otherwise when it is compiled; trace_printk is `info`.
    println!("cargo:rustc-env=DEFMT_LOG=info");
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{dir}/link.ld");
    }
    println!("cargo::rerun-if-changed={dir}/link.ld");
}

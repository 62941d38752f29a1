// Shared by the build script of every guest: `include!("../rt/build-script.rs");`, with RAM_BASE defined by the guest.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rerun-if-changed=../rt/link.ld");
    println!("cargo:rerun-if-changed=../rt/build-script.rs");
    println!("cargo:rustc-link-arg-bins=--defsym=GUEST_RAM_BASE={RAM_BASE:#x}");
    println!("cargo:rustc-link-arg-bins=-T{here}/../rt/link.ld");
}

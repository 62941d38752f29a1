//! `prepush`: what CI runs, after the checks that need no build of the target.

use crate::command;
use crate::failure::Result;
use crate::setup::Shop;
use crate::test;

/// rustfmt and clippy where the toolchain has them, then every test.
pub fn run(shop: &Shop) -> Result<()> {
    if has(shop, "fmt") {
        command::quiet("rustfmt", shop.cargo().args(["fmt", "--all", "--check"]))?;
    }
    if has(shop, "clippy") {
        command::quiet(
            "clippy",
            shop.cargo()
                .args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]),
        )?;
    }
    test::run(shop, &test::Args::default())
}

fn has(shop: &Shop, tool: &str) -> bool {
    let there = command::answer(shop.cargo().args([tool, "--version"])).is_some();
    if !there {
        eprintln!("xtask: no cargo {tool} in this toolchain: skipped");
    }
    there
}

//! `tidy`: the rules of the house, which are tests of the `gnomon-tests` package.

use crate::command;
use crate::failure::Result;
use crate::setup::Shop;

/// Runs the rules alone: seconds, and nothing to set up.
pub fn run(shop: &Shop) -> Result<()> {
    command::loud(shop.cargo().args([
        "test",
        "--quiet",
        "--package",
        "gnomon-tests",
        "--test",
        "tidy",
        "--test",
        "edges",
    ]))
}

//! AArch64 binary path analyser.

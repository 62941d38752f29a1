//! The gnomon library.

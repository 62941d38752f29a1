#![no_std]
#![forbid(unsafe_code)]
//! Contract between guests, hypervisor and host: hypercalls, status codes, ids, wire records.

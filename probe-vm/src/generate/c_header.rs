//! `probe-vm/include/gnomon.h`.

use super::{HEADER_DOCS, Joined, Upper, c_type, points};
use crate::maps::MapKind;
use crate::points::{CODES, CONTEXT_VERSION, HEADER_FIELDS, NOBODY};
use core::fmt::{Result, Write};

const TOP: &str = r#"/* Generated from the declarations in probe-vm/src/points; do not edit. */
#ifndef GNOMON_H
#define GNOMON_H

/*
 * What a Gnomon probe includes. A probe is a function in the section of its point:
 *
 *	SEC("probe/vm_entry") int exits(const struct gnomon_vm_entry *ctx) { ... return 0; }
 *
 * Helpers come from libbpf's bpf_helpers.h, included below. docs/POINTS.md describes every point.
 */

/* The types and numbers of linux/types.h and linux/bpf.h that probes and bpf_helpers.h need. */
#if !defined(_LINUX_TYPES_H) && !defined(__VMLINUX_H__)
typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
#endif

#if !defined(_UAPI__LINUX_BPF_H__) && !defined(__VMLINUX_H__)
"#;

const AFTER_KINDS: &str = r#"enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};
#endif

#include <bpf/bpf_helpers.h>

"#;

const CONVENIENCES: &str = r#"/*
 * Map values that `gnomon read` shows as what they are, by the map's name: NAME_UNIT_hist and NAME_UNIT_sum, as in
 * exit_insns_hist, ipc_ns_hist, copy_bytes_sum.
 */

/* A log2 histogram: count[b] is the number of values of b significant bits, so in [2^(b-1), 2^b); count[0] of zeros. */
struct gnomon_hist {
	__u64 count[64];
};

/* A count and a sum, shown with their mean. */
struct gnomon_sum {
	__u64 count;
	__u64 sum;
};

/* Number of significant bits: 0 for 0, else the floor of the binary logarithm and 1. */
static __always_inline __u32 gnomon_bits(__u64 value)
{
	__u32 bits = 0;

	if (value >> 32) {
		value >>= 32;
		bits = 32;
	}
	if (value >> 16) {
		value >>= 16;
		bits += 16;
	}
	if (value >> 8) {
		value >>= 8;
		bits += 8;
	}
	if (value >> 4) {
		value >>= 4;
		bits += 4;
	}
	if (value >> 2) {
		value >>= 2;
		bits += 2;
	}
	/* What is left is 0 to 3, of 0, 1, 2 and 2 bits. */
	return bits + value - (value & (value >> 1));
}

/* Counts a value below 2^63. Per-CPU maps need no atomic operation: a probe is not interrupted. */
static __always_inline void gnomon_hist_add(struct gnomon_hist *hist, __u64 value)
{
	/* The mask tells the verifier what the shifts do. */
	hist->count[gnomon_bits(value) & 63] += 1;
}

/* Adds a value. */
static __always_inline void gnomon_sum_add(struct gnomon_sum *sum, __u64 value)
{
	sum->count += 1;
	sum->sum += value;
}

/* A map of one value of `value_type` for each path, a copy on each CPU. */
#define GNOMON_BY_PATH(name, value_type)					\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);			\
		__uint(max_entries, GNOMON_PATHS);				\
		__type(key, enum gnomon_path);					\
		__type(value, value_type);					\
	} name SEC(".maps")

/* A map of one value of `value_type` for each key below `entries`, a copy on each CPU. */
#define GNOMON_BY_INDEX(name, key_type, value_type, entries)			\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);			\
		__uint(max_entries, entries);					\
		__type(key, key_type);						\
		__type(value, value_type);					\
	} name SEC(".maps")

/* A map of one value of `value_type` for each key that occurs, at most `entries`, a copy on each CPU. */
#define GNOMON_BY_KEY(name, key_type, value_type, entries)			\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_HASH);				\
		__uint(max_entries, entries);					\
		__type(key, key_type);						\
		__type(value, value_type);					\
	} name SEC(".maps")

#endif /* GNOMON_H */
"#;

/// Writes the header. `paths` are the exit classes: name and number, ascending from 0.
///
/// # Errors
/// What `out` gives.
pub fn c_header(out: &mut impl Write, paths: &[(&str, u32)]) -> Result {
    out.write_str(TOP)?;
    writeln!(out, "enum bpf_map_type {{")?;
    for kind in MapKind::ALL {
        writeln!(out, "\tBPF_MAP_TYPE_{} = {},", Upper(kind.name()), kind.number())?;
    }
    writeln!(out, "}};\n")?;
    out.write_str(AFTER_KINDS)?;
    writeln!(
        out,
        "/* Version of the contexts. */\n#define GNOMON_CONTEXT_VERSION {CONTEXT_VERSION}\n"
    )?;
    writeln!(
        out,
        "/* In a field that names a VM: none. */\n#define GNOMON_NOBODY {NOBODY:#x}u\n"
    )?;
    writeln!(
        out,
        "/* Paths: exit classes with a time and a budget of their own. */\nenum gnomon_path {{"
    )?;
    for (name, number) in paths {
        writeln!(out, "\tGNOMON_PATH_{} = {number},", Upper(name))?;
    }
    writeln!(out, "}};\n#define GNOMON_PATHS {}\n", paths.len())?;
    for table in CODES {
        writeln!(out, "/* {} */\nenum {} {{", Joined(table.doc), table.name)?;
        for (name, number, doc) in table.codes {
            writeln!(out, "\t{name} = {number}, /* {} */", Joined(doc))?;
        }
        writeln!(out, "}};\n")?;
    }
    writeln!(
        out,
        "/* What every context starts with. Contexts are read-only. */\nstruct gnomon_header {{"
    )?;
    for (field, doc) in HEADER_FIELDS.iter().zip(HEADER_DOCS) {
        writeln!(out, "\t{} {}; /* {doc} */", c_type(field), field.name)?;
    }
    writeln!(out, "}};\n")?;
    for (point, docs) in points() {
        writeln!(
            out,
            "/* {} */\nstruct gnomon_{} {{\n\tstruct gnomon_header header;",
            Joined(docs.doc),
            point.name
        )?;
        for (field, doc) in point.fields.iter().zip(docs.fields) {
            writeln!(out, "\t{} {}; /* {} */", c_type(field), field.name, Joined(doc))?;
        }
        writeln!(out, "}};\n")?;
    }
    out.write_str(CONVENIENCES)
}

//! Abstract values in words: what is known of a register.

use verifier::scalar::Scalar;
use verifier::value::{Kind, Region, Val};

use super::Scene;

/// What is known of a number.
pub fn number(n: &Scalar) -> String {
    if n.bits.mask == 0 {
        return signed_or_hex(n.bits.value);
    }
    let mut parts = Vec::new();
    let unsigned_known = n.umin != 0 || n.umax != u64::MAX;
    let signed_known = n.smin != i64::MIN || n.smax != i64::MAX;
    if signed_known && n.smin < 0 {
        parts.push(range(n.smin.into(), n.smax.into()));
    } else if unsigned_known {
        parts.push(range(n.umin.into(), n.umax.into()));
    }
    let step = 1u64 << n.bits.mask.trailing_zeros().min(63);
    if step > 1 && n.bits.value & (step - 1) == 0 {
        parts.push(format!("a multiple of {step}"));
    } else if parts.is_empty() && n.bits.mask != u64::MAX {
        parts.push(format!("bits {:#x} unknown, {:#x} set", n.bits.mask, n.bits.value));
    }
    match parts.is_empty() {
        true => "any number".into(),
        false => parts.join(", "),
    }
}

fn range(low: i128, high: i128) -> String {
    format!("{} to {}", plain(low), plain(high))
}

fn plain(x: i128) -> String {
    if x.unsigned_abs() >= 1 << 20 {
        let sign = if x < 0 { "-" } else { "" };
        format!("{sign}{:#x}", x.unsigned_abs())
    } else {
        x.to_string()
    }
}

fn signed_or_hex(x: u64) -> String {
    plain((x as i64).into())
}

/// What a pointer points into.
pub fn region(scene: &Scene<'_>, region: Region, extra: u32) -> String {
    match region {
        Region::Object(i) => scene.object(i),
        Region::Stack(_) => "the stack".into(),
        Region::MapValue(m) => format!("a value of {}", scene.map(m.into())),
        Region::MapKey(m) => format!("a key of {}", scene.map(m.into())),
        Region::Map(m) => scene.map(m.into()),
        Region::Packet => "the packet".into(),
        Region::PacketMeta => "the packet's metadata".into(),
        Region::PacketEnd => "the packet's end".into(),
        Region::Mem => format!("memory of {extra} bytes"),
        Region::Record => format!("a ring buffer record of {extra} bytes"),
        Region::Func => "a function".into(),
    }
}

/// What is known of a value.
pub fn value(scene: &Scene<'_>, v: &Val) -> String {
    match v.kind {
        Kind::Uninit => "never written".into(),
        Kind::Scalar => number(&v.num),
        Kind::Pointer { region: r, nullable } => {
            let offset = match v.num.bits.mask {
                0 if v.num.bits.value == 0 => String::new(),
                0 => format!(" at offset {}", signed_or_hex(v.num.bits.value)),
                _ => format!(" at an offset of {}", number(&v.num)),
            };
            let null = if nullable { ", or null" } else { "" };
            format!("a pointer to {}{offset}{null}", region(scene, r, v.extra))
        }
    }
}

//! ESR_EL2 in words (Arm ARM, ESR_EL2 "Exception Syndrome Register").

/// What the exception class says (field EC, bits 31:26).
pub fn class(esr: u64) -> &'static str {
    match esr >> 26 & 0x3f {
        0x00 => "an unknown or undefined instruction",
        0x01 => "a trapped WFI or WFE",
        0x07 => "a trapped SIMD or floating-point access",
        0x0e => "an illegal execution state",
        0x16 => "an HVC instruction",
        0x17 => "an SMC instruction",
        0x18 => "a trapped system register access",
        0x19 => "a trapped SVE access",
        0x20 | 0x21 => "an instruction fetch",
        0x22 => "a misaligned pc",
        0x24 | 0x25 => "a data access",
        0x26 => "a misaligned stack pointer",
        0x2f => "an SError interrupt",
        0x30..=0x35 => "a debug exception",
        0x3c => "a BRK instruction",
        _ => "an exception",
    }
}

/// What the fault status code says (field DFSC or IFSC, bits 5:0) of an abort.
pub fn status(esr: u64) -> String {
    let code = esr & 0x3f;
    let level = code & 3;
    match code {
        0x00..=0x03 => format!("address size fault, level {level}"),
        0x04..=0x07 => format!("translation fault, level {level}: nothing is mapped there"),
        0x08..=0x0b => format!("access flag fault, level {level}"),
        0x0c..=0x0f => format!("permission fault, level {level}"),
        0x10 => "external abort".into(),
        0x14..=0x17 => format!("external abort on a table walk, level {level}"),
        0x21 => "alignment fault".into(),
        0x30 => "TLB conflict".into(),
        _ => format!("fault status {code:#x}"),
    }
}

/// Whether the syndrome is of an abort from a lower exception level, so that address and status mean something.
pub fn is_abort(esr: u64) -> bool {
    matches!(esr >> 26 & 0x3f, 0x20 | 0x24)
}

/// The whole syndrome in one line: `a data access: write of 8 bytes, translation fault, level 1: …`.
pub fn words(esr: u64) -> String {
    let mut text = class(esr).to_string();
    if !is_abort(esr) {
        return text;
    }
    // WnR, and with ISV the size of the access (bits 6, 24, 23:22).
    if esr >> 26 & 0x3f == 0x24 {
        text += if esr >> 6 & 1 == 1 { ": write" } else { ": read" };
        if esr >> 24 & 1 == 1 {
            text += &format!(
                " of {}",
                ["1 byte", "2 bytes", "4 bytes", "8 bytes"][(esr >> 22 & 3) as usize]
            );
        }
        text += ",";
    } else {
        text += ":";
    }
    format!("{text} {}", status(esr))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn syndromes_read_as_sentences() {
        for (esr, text) in [
            (
                0x93c0_8046,
                "a data access: write of 8 bytes, translation fault, level 2: nothing is mapped there",
            ),
            (
                0x9200_0007,
                "a data access: read, translation fault, level 3: nothing is mapped there",
            ),
            (0x8200_000f, "an instruction fetch: permission fault, level 3"),
            (0x0200_0000, "an unknown or undefined instruction"),
            (0xf200_0000, "a BRK instruction"),
        ] {
            assert_eq!(words(esr), text, "{esr:#x}");
        }
    }
}

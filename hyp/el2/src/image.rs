//! Where the parts of the image are, as the linker placed them.

/// Kind of memory an address of the image is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Instructions of the hypervisor.
    Text,
    /// Constants.
    ReadOnly,
    /// Variables and stacks.
    Data,
    /// Page below a stack.
    Guard,
    /// Probe code memory.
    Code,
    /// Not part of the image.
    Outside,
}

macro_rules! linker_symbols {
    ($($(#[$m:meta])* $name:ident = $symbol:ident;)*) => {
        unsafe extern "C" { $(safe static $symbol: u8;)* }
        $( $(#[$m])* pub fn $name() -> u64 { core::ptr::from_ref(&$symbol).addr() as u64 } )*
    };
}

linker_symbols! {
    /// First byte of the image.
    start = __image_start;
    /// Past the image: the boot configuration, if the packer put one there.
    end = __image_end;
    text_start = __text_start;
    text_end = __text_end;
    rodata_start = __rodata_start;
    rodata_end = __rodata_end;
    /// First byte of probe code memory.
    code_start = __code_start;
    /// Past probe code memory.
    code_end = __code_end;
    /// First record of the probe site table.
    sites_start = __probe_sites_start;
    /// Past the probe site table.
    sites_end = __probe_sites_end;
}

/// What lives at `pa`.
pub fn section_of(pa: u64) -> Section {
    if pa < start() || pa >= end() {
        Section::Outside
    } else if (text_start()..text_end()).contains(&pa) {
        Section::Text
    } else if (rodata_start()..rodata_end()).contains(&pa) {
        Section::ReadOnly
    } else if (code_start()..code_end()).contains(&pa) {
        Section::Code
    } else if crate::percpu::is_guard(pa) {
        Section::Guard
    } else {
        Section::Data
    }
}

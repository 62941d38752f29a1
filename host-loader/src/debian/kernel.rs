//! Kernels as distributions ship them, unpacked to the plain arm64 `Image`.

use std::io::Read;

/// Most bytes of an unpacked kernel: four times what the largest of Debian has.
const IMAGE_MAX: u64 = 256 << 20;
/// An EFI zboot image (Linux: drivers/firmware/efi/libstub/zboot-header.S): "MZ", at 4 "zimg", payload offset and size, and
/// the name of the compression.
const ZBOOT_MAGIC_AT: usize = 4;
const ZBOOT_MAGIC: &[u8] = b"zimg";
const ZBOOT_OFFSET_AT: usize = 8;
const ZBOOT_SIZE_AT: usize = 12;
const ZBOOT_TYPE_AT: usize = 24;
const ZBOOT_TYPE_LEN: usize = 8;

/// Why a kernel cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The payload is not in the file.
    #[error("the kernel is cut off: its payload ends at byte {end}, the file at {len}")]
    Truncated {
        /// Where the payload ends.
        end: u64,
        /// Bytes of the file.
        len: u64,
    },
    /// Not gzip or zstd.
    #[error("the kernel is compressed by `{0}`, which Gnomon does not unpack (it knows gzip and zstd)")]
    Unknown(String),
    /// The decompressor refuses the data.
    #[error("the kernel's compressed data is damaged: {0}")]
    Damaged(String),
}

/// The plain image in `bytes`: unpacked if it is EFI zboot, gzip or zstd, else as it is.
///
/// # Errors
/// The packed data is damaged, cut off, or packed by a method that is not known.
pub fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, KernelError> {
    if bytes.starts_with(b"MZ") && bytes.get(ZBOOT_MAGIC_AT..ZBOOT_MAGIC_AT + 4) == Some(ZBOOT_MAGIC) {
        return zboot(&bytes);
    }
    match bytes.as_slice() {
        [0x1f, 0x8b, ..] => gzip(&bytes),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd(&bytes),
        _ => Ok(bytes),
    }
}

fn zboot(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    let len = bytes.len() as u64;
    let word = |at: usize| {
        let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
        field.map(u32::from_le_bytes).ok_or(KernelError::Truncated {
            end: at as u64 + 4,
            len,
        })
    };
    let (start, size) = (word(ZBOOT_OFFSET_AT)?, word(ZBOOT_SIZE_AT)?);
    let end = u64::from(start) + u64::from(size);
    let payload = bytes
        .get(start as usize..end as usize)
        .ok_or(KernelError::Truncated { end, len })?;
    let name = bytes
        .get(ZBOOT_TYPE_AT..ZBOOT_TYPE_AT + ZBOOT_TYPE_LEN)
        .unwrap_or_default();
    let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
    match name.as_slice() {
        b"gzip" => gzip(payload),
        b"zstd" | b"zstd22" => zstd(payload),
        other => Err(KernelError::Unknown(String::from_utf8_lossy(other).into_owned())),
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    whole(flate2::read::GzDecoder::new(bytes))
}

fn zstd(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(bytes);
    whole(decoder.map_err(|error| KernelError::Damaged(error.to_string()))?)
}

fn whole(decoder: impl Read) -> Result<Vec<u8>, KernelError> {
    let mut out = Vec::new();
    let read = decoder.take(IMAGE_MAX).read_to_end(&mut out);
    match read {
        Ok(_) => Ok(out),
        Err(error) => Err(KernelError::Damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zboot_of(payload: &[u8], kind: &[u8]) -> Vec<u8> {
        let mut out = b"MZ\0\0zimg".to_vec();
        out.extend(64u32.to_le_bytes());
        out.extend((payload.len() as u32).to_le_bytes());
        out.resize(ZBOOT_TYPE_AT, 0);
        out.extend(kind);
        out.resize(64, 0);
        out.extend(payload);
        out
    }

    #[test]
    fn plain_and_packed_kernels_unpack_to_the_same() {
        let plain = vec![7; 10_000];
        assert_eq!(unpack(plain.clone()), Ok(plain.clone()));
        assert_eq!(unpack(gzipped(&plain)), Ok(plain.clone()));
        assert_eq!(unpack(zboot_of(&gzipped(&plain), b"gzip")), Ok(plain.clone()));
        // One raw block of zstd (RFC 8878 3.1.1): single segment, content size 1 byte, block header last | raw | size 3.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, 1, 2, 3];
        assert_eq!(unpack(frame.to_vec()), Ok(vec![1, 2, 3]));
        assert_eq!(unpack(zboot_of(&frame, b"zstd22")), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn damaged_kernels_are_refused() {
        let good = zboot_of(&gzipped(&[7; 10_000]), b"gzip");
        assert!(matches!(
            unpack(good[..good.len() - 1].to_vec()),
            Err(KernelError::Truncated { .. })
        ));
        assert!(matches!(
            unpack(good[..10].to_vec()),
            Err(KernelError::Truncated { .. })
        ));
        assert_eq!(
            unpack(zboot_of(&[0; 8], b"xzkern")),
            Err(KernelError::Unknown("xzkern".into()))
        );
        let mut torn = gzipped(&[7; 10_000]);
        torn.truncate(torn.len() - 4);
        assert!(matches!(unpack(torn), Err(KernelError::Damaged(_))));
        for cut in 0..good.len() {
            let _ = unpack(good[..cut].to_vec());
        }
    }
}

//! One macro for every record: packed little-endian fields in declaration order, no padding.

/// A field of a wire record.
pub(crate) trait Field: Copy {
    /// Bytes on the wire.
    const LEN: usize;
    /// Reads from exactly `LEN` bytes.
    fn get(bytes: &[u8]) -> Option<Self>;
    /// Writes to exactly `LEN` bytes.
    fn put(self, bytes: &mut [u8]) -> Option<()>;
}

macro_rules! int_field {
    ($($t:ty),*) => {$(
        impl Field for $t {
            const LEN: usize = core::mem::size_of::<$t>();
            fn get(bytes: &[u8]) -> Option<Self> {
                Some(<$t>::from_le_bytes(bytes.try_into().ok()?))
            }
            fn put(self, bytes: &mut [u8]) -> Option<()> {
                bytes.get_mut(..Self::LEN)?.copy_from_slice(&self.to_le_bytes());
                Some(())
            }
        }
    )*};
}
int_field!(u8, u16, u32, u64, i64);

impl<T: Field + Default, const N: usize> Field for [T; N] {
    const LEN: usize = T::LEN * N;
    fn get(bytes: &[u8]) -> Option<Self> {
        let mut out = [T::default(); N];
        for (slot, chunk) in out.iter_mut().zip(bytes.chunks_exact(T::LEN)) {
            *slot = T::get(chunk)?;
        }
        (bytes.len() == Self::LEN).then_some(out)
    }
    fn put(self, bytes: &mut [u8]) -> Option<()> {
        for (value, chunk) in self
            .into_iter()
            .zip(bytes.get_mut(..Self::LEN)?.chunks_exact_mut(T::LEN))
        {
            value.put(chunk)?;
        }
        Some(())
    }
}

/// Declares a record with `SIZE`, `read(&[u8]) -> Option<Self>` and `write(&self, &mut [u8]) -> Option<()>`.
macro_rules! record {
    ($(#[$m:meta])* pub struct $name:ident { $($(#[$fm:meta])* pub $f:ident : $t:ty,)* }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$fm])* pub $f: $t,)* }
        impl $name {
            /// Bytes on the wire.
            pub const SIZE: usize = 0 $(+ <$t as $crate::wire::Field>::LEN)*;
            /// Name and bytes of each field, in order: for what states the layout in another language.
            pub const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($f), <$t as $crate::wire::Field>::LEN),)*];
            /// Decodes from the first `SIZE` bytes; `None` if there are fewer.
            pub fn read(bytes: &[u8]) -> Option<Self> {
                let mut at = 0;
                $(
                    let len = <$t as $crate::wire::Field>::LEN;
                    let $f = <$t as $crate::wire::Field>::get(bytes.get(at..at + len)?)?;
                    at += len;
                )*
                let _ = at;
                Some(Self { $($f,)* })
            }
            /// Encodes into the first `SIZE` bytes; `None` (and nothing complete written) if there are fewer.
            pub fn write(&self, bytes: &mut [u8]) -> Option<()> {
                let mut at = 0;
                $(
                    let len = <$t as $crate::wire::Field>::LEN;
                    $crate::wire::Field::put(self.$f, bytes.get_mut(at..at + len)?)?;
                    at += len;
                )*
                let _ = at;
                Some(())
            }
        }
    };
}

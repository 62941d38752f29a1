//! The macros that turn the declaration of points into types and tables.

/// What may be the type of a context's field. Sealed by being crate-private.
pub(crate) trait FieldType {
    const BYTES: u8;
}
impl FieldType for u32 {
    const BYTES: u8 = 4;
}
impl FieldType for u64 {
    const BYTES: u8 = 8;
}

/// Declares the points: number, name, context struct, fields with documentation and unit.
macro_rules! points {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident = $n:literal, $name:literal, $ctx:ident {
            $( $(#[doc = $fdoc:literal])* $field:ident: $ty:ident [$unit:ident], )*
        }
    )*) => {
        /// A point.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PointId { $( $(#[doc = $doc])* $variant = $n, )* }

        impl PointId {
            /// All points in the order of their numbers.
            pub const ALL: [PointId; POINT_COUNT] = [$(PointId::$variant,)*];
        }

        /// Number of points.
        pub const POINT_COUNT: usize = [$($n as u8,)*].len();

        $(
            #[doc = concat!("Context of `", $name, "`.")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[repr(C)]
            pub struct $ctx {
                /// What every context starts with.
                pub header: super::Header,
                $( $(#[doc = $fdoc])* pub $field: $ty, )*
            }

            const _: () = {
                // No padding: EL2 must not show a probe bytes that nobody wrote.
                let fields = 0 $(+ size_of::<$ty>())*;
                assert!(size_of::<$ctx>() == super::HEADER_BYTES + fields, "padding in a context");
                assert!(size_of::<$ctx>() <= super::CONTEXT_BYTES_MAX && size_of::<$ctx>() % 8 == 0);
            };
        )*

        /// All points in the order of their numbers.
        pub static POINTS: [super::Point; POINT_COUNT] = [$(super::Point {
            id: PointId::$variant,
            name: $name,
            bytes: size_of::<$ctx>() as u16,
            fields: &[$(super::Field {
                name: stringify!($field),
                offset: core::mem::offset_of!($ctx, $field) as u16,
                bytes: <$ty as super::declare::FieldType>::BYTES,
                unit: super::Unit::$unit,
            },)*],
        },)*];

        /// Documentation of points and fields: of the point first, then of each field, lines as in the source.
        /// Apart from [`POINTS`], so that EL2, which refers to that, carries no text.
        pub static POINT_DOCS: [PointDoc; POINT_COUNT] = [$(PointDoc {
            doc: &[$($doc,)*],
            fields: &[$(&[$($fdoc,)*],)*],
        },)*];
    };
}

/// Declares codes that fields of contexts hold: a Rust enum and its table for the C header.
macro_rules! codes {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident, $c:literal { $( $(#[doc = $vdoc:literal])* $variant:ident = $n:literal, $cname:literal; )* }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u32)]
            pub enum $name { $( $(#[doc = $vdoc])* $variant = $n, )* }
        )*

        /// All codes, for the C header.
        pub static CODES: &[CodeTable] = &[$(CodeTable {
            name: $c,
            doc: &[$($doc,)*],
            codes: &[$(($cname, $n, &[$($vdoc,)*]),)*],
        },)*];
    };
}

pub(super) use {codes, points};

//! Abstract values of registers and stack slots.

use crate::scalar::Scalar;

/// What a pointer points into. For every region the value's [`Scalar`] is the byte offset from the region's start
/// (stack: from the frame's r10, so negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// An object of the environment; 0 is the context.
    Object(u16),
    /// The stack of frame n, 0 outermost.
    Stack(u8),
    /// A value of the map of this index.
    MapValue(u16),
    /// A key of the map of this index (callbacks): read-only.
    MapKey(u16),
    /// The map itself (argument of helpers).
    Map(u16),
    /// Packet data; `extra` is the verified length from the pointer's base.
    Packet,
    /// Packet metadata.
    PacketMeta,
    /// One past the packet's end; never dereferenced.
    PacketEnd,
    /// Memory of `extra` bytes.
    Mem,
    /// A reserved ring buffer record of `extra` bytes, a reference.
    Record,
    /// Address of the subprogram at this slot (`extra`).
    Func,
}

/// Kind of an abstract value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing may be assumed, not even that it may be read.
    #[default]
    Uninit,
    /// A number.
    Scalar,
    /// A pointer.
    Pointer {
        /// Into what.
        region: Region,
        /// It may be null instead.
        nullable: bool,
    },
}

/// One abstract value.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Val {
    /// Kind.
    pub kind: Kind,
    /// Identity of the unknown it is made of, 0 for none: values of equal `id` are that unknown plus their `delta`.
    pub id: u32,
    /// Region-specific size, see [`Region`].
    pub extra: u32,
    /// Reference it holds, 0 for none.
    pub reference: u32,
    /// See `id`.
    pub delta: i64,
    /// The number, or the offset from the region's start.
    pub num: Scalar,
}

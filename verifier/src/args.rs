//! Helper arguments.

use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::{ArgKind, HelperProto, MapDesc};
use crate::reject::{Access, Why};
use crate::store::State;
use crate::value::{Kind, Region, Val};

/// What the arguments of one helper call came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Args {
    pub map: Option<(u16, MapDesc)>,
    pub alloc: Option<u32>,
    /// Greatest value of the first size argument.
    pub size: Option<u64>,
    pub callback: Option<u32>,
    pub release: u32,
    pub key_on_stack: bool,
    pub value_on_stack: bool,
}

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn check_arg(
        &mut self,
        s: &mut State,
        proto: &HelperProto,
        n: usize,
        args: &mut Args,
    ) -> Result<(), Fault> {
        let want = proto.args[n];
        if want == ArgKind::None {
            return Ok(());
        }
        let (reg, arg) = (n as u8 + 1, n as u8 + 1);
        let v = self.read(s, reg)?;
        let bad = Why::BadArgument {
            helper: proto.id,
            arg,
            want,
        };
        let constant = v.num.as_constant();
        let null = v.is_scalar() && constant == Some(0);
        let object = match v.kind {
            Kind::Pointer {
                region: Region::Object(n),
                nullable: false,
            } if constant == Some(0) => Some(n),
            _ => None,
        };
        let holds = |good: bool| if good { Ok(()) } else { Err(bad) };
        match want {
            ArgKind::None => Ok(()),
            ArgKind::Any if !v.is_scalar() && self.env.rules.hide_pointers => Err(Why::PointerLeak { reg }),
            ArgKind::Any => Ok(()),
            ArgKind::Ctx => holds(object == Some(0)),
            ArgKind::Object(o) => holds(object == Some(o)),
            ArgKind::ObjectOrNull(o) => holds(null || object == Some(o)),
            ArgKind::ObjectMask(mask) => holds(object.is_some_and(|o| o < 64 && mask & 1 << o != 0)),
            ArgKind::ReleaseObject(mask) => {
                holds(object.is_some_and(|o| o < 64 && mask & 1 << o != 0) && v.reference != 0)?;
                args.release = v.reference;
                Ok(())
            }
            ArgKind::ConstMap(mask) => {
                let Some(Region::Map(index)) = v.region().filter(|_| !v.nullable()) else {
                    return Err(bad);
                };
                let map = self.map(index.into())?;
                if mask & map.kind.bit() == 0 {
                    return Err(Why::WrongMap {
                        helper: proto.id,
                        arg,
                        map: index,
                    });
                }
                if args.map.is_none() {
                    args.map = Some((index, map));
                }
                Ok(())
            }
            _ => self.check_memory_arg(s, proto, n, &v, args),
        }
    }

    /// Arguments that are memory, sizes and constants.
    fn check_memory_arg(
        &mut self,
        s: &mut State,
        proto: &HelperProto,
        n: usize,
        v: &Val,
        args: &mut Args,
    ) -> Result<(), Fault> {
        let want = proto.args[n];
        let (reg, arg) = (n as u8 + 1, n as u8 + 1);
        let bad = Why::BadArgument {
            helper: proto.id,
            arg,
            want,
        };
        let null = v.is_scalar() && v.num.as_constant() == Some(0);
        let on_stack = matches!(v.region(), Some(Region::Stack(_)));
        let holds = |good: bool| if good { Ok(()) } else { Err(bad) };
        match want {
            ArgKind::MapKeyOrNull | ArgKind::MapValueOrNull if null => Ok(()),
            ArgKind::MapKey | ArgKind::MapKeyOrNull => {
                args.key_on_stack = on_stack;
                let bytes = args.map.map_or(0, |m| m.1.key_bytes);
                self.memory(s, reg, bytes, Access::HelperRead(arg), bad)
            }
            ArgKind::MapValue | ArgKind::MapValueOrNull => {
                args.value_on_stack = on_stack;
                let bytes = args.map.map_or(0, |m| m.1.value_bytes);
                self.memory(s, reg, bytes, Access::HelperRead(arg), bad)
            }
            ArgKind::MapValueOut => {
                args.value_on_stack = on_stack;
                let bytes = args.map.map_or(0, |m| m.1.value_bytes);
                self.memory(s, reg, bytes, Access::Helper(arg), bad)
            }
            ArgKind::FixedOut(bytes) => self.memory(s, reg, bytes, Access::Helper(arg), bad),
            ArgKind::FixedRead(bytes) => self.memory(s, reg, bytes, Access::HelperRead(arg), bad),
            ArgKind::MemRead | ArgKind::MemOut | ArgKind::MemReadWrite => {
                args.value_on_stack |= on_stack;
                holds(!v.is_scalar())
            }
            ArgKind::MemReadOrNull | ArgKind::MemOutOrNull => {
                args.value_on_stack |= on_stack;
                holds(null || !v.is_scalar())
            }
            ArgKind::Size(max) => self.sized(s, proto, n, v, (1, max), args),
            ArgKind::SizeOrZero(max) => self.sized(s, proto, n, v, (0, max), args),
            _ => self.check_constant_arg(s, proto, n, v, args),
        }
    }

    /// Arguments that must be known at verification, and the remaining kinds.
    fn check_constant_arg(
        &mut self,
        s: &State,
        proto: &HelperProto,
        n: usize,
        v: &Val,
        args: &mut Args,
    ) -> Result<(), Fault> {
        let want = proto.args[n];
        let bad = Why::BadArgument {
            helper: proto.id,
            arg: n as u8 + 1,
            want,
        };
        let constant = v.num.as_constant();
        let null = v.is_scalar() && constant == Some(0);
        let holds = |good: bool| if good { Ok(()) } else { Err(bad) };
        match want {
            ArgKind::ConstAlloc(max) => {
                let Some(bytes) = constant.filter(|c| v.is_scalar() && *c > 0 && *c <= u64::from(max)) else {
                    return Err(bad);
                };
                args.alloc = Some(bytes as u32);
                Ok(())
            }
            ArgKind::Record => {
                let record = v.region() == Some(Region::Record) && !v.nullable() && constant == Some(0);
                holds(record && s.references().iter().any(|r| r.0 == v.reference))?;
                args.release = v.reference;
                Ok(())
            }
            ArgKind::Callback => {
                holds(v.region() == Some(Region::Func))?;
                args.callback = Some(v.extra);
                Ok(())
            }
            ArgKind::StackOrNull => holds(null || matches!(v.region(), Some(Region::Stack(_)))),
            ArgKind::AnyMapValue => {
                holds(matches!(v.region(), Some(Region::MapValue(_))) && !v.nullable() && constant.is_some())
            }
            ArgKind::ConstString => {
                let Some(Region::MapValue(index)) = v.region().filter(|_| !v.nullable()) else {
                    return Err(bad);
                };
                let map = self.map(index.into())?;
                holds(!map.writable && constant.is_some_and(|c| c < u64::from(map.value_bytes)))
            }
            ArgKind::Zero => holds(null),
            _ => Err(bad),
        }
    }

    /// A size argument, and the memory in the argument before it.
    pub(crate) fn sized(
        &mut self,
        s: &mut State,
        proto: &HelperProto,
        n: usize,
        v: &Val,
        (least, limit): (i64, u32),
        args: &mut Args,
    ) -> Result<(), Fault> {
        let arg = n as u8 + 1;
        if !v.is_scalar() {
            return Err(Why::BadArgument {
                helper: proto.id,
                arg,
                want: proto.args[n],
            });
        }
        let (min, max) = (v.num.smin, v.num.umax);
        if min < least || max > u64::from(limit) {
            return Err(Why::BadSize {
                helper: proto.id,
                arg,
                min,
                max,
                limit,
            });
        }
        args.size = args.size.or(Some(max));
        let Some(before) = n.checked_sub(1) else {
            return Err(Why::Internal { line: line!() });
        };
        let want = proto.args[before];
        let bad = Why::BadArgument {
            helper: proto.id,
            arg: arg - 1,
            want,
        };
        let reg = n as u8;
        let pointer = self.read(s, reg)?;
        let nothing = matches!(want, ArgKind::MemReadOrNull | ArgKind::MemOutOrNull) && pointer.is_scalar();
        if nothing {
            return if max == 0 { Ok(()) } else { Err(bad) };
        }
        let access = match want {
            ArgKind::MemRead | ArgKind::MemReadOrNull => Access::HelperRead(arg - 1),
            ArgKind::MemReadWrite => {
                self.memory(s, reg, max as u32, Access::HelperRead(arg - 1), bad)?;
                Access::Helper(arg - 1)
            }
            _ => Access::Helper(arg - 1),
        };
        // A size that varies leaves bytes past the least one unwritten.
        let varies = min as u64 != max;
        self.memory_of(s, reg, max as u32, access, bad, !varies)
    }

    pub(crate) fn memory(&mut self, s: &mut State, reg: u8, bytes: u32, access: Access, bad: Why) -> Result<(), Fault> {
        self.memory_of(s, reg, bytes, access, bad, true)
    }

    /// Checks `bytes` of memory at register `reg`, and what becomes of them.
    pub(crate) fn memory_of(
        &mut self,
        s: &mut State,
        reg: u8,
        bytes: u32,
        access: Access,
        bad: Why,
        all: bool,
    ) -> Result<(), Fault> {
        let v = self.read(s, reg)?;
        if v.is_scalar() {
            return Err(bad);
        }
        let target = self.target(reg, &v, 0, bytes, access)?;
        let crate::access::Target::Stack { frame, lo, hi, fixed } = target else {
            return Ok(());
        };
        match access {
            Access::HelperRead(_) => self.stack_readable(s, reg, frame, (lo, hi)),
            _ if all && fixed => self.stack_scribble(s, reg, frame, (lo, hi), true),
            _ => {
                // Bytes the helper may leave alone must be readable already, or stay unreadable.
                self.stack_scribble(s, reg, frame, (lo, hi), false)
            }
        }
    }
}

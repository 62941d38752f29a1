//! Read-modify-writes.

use crate::access::Target;
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::insn::{AtomicOp, Insn, Size};
use crate::reject::{Access, Why};
use crate::scalar::Scalar;
use crate::store::State;
use crate::value::{Region, Val};

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn atomic(
        &mut self,
        s: &mut State,
        i: &Insn,
        size: Size,
        op: AtomicOp,
        fetch: bool,
        pc: u32,
    ) -> Result<(), Fault> {
        let src = self.read(s, i.src)?;
        let v = self.read(s, i.dst)?;
        let hide = self.env.rules.hide_pointers;
        if op == AtomicOp::Cmpxchg && !self.read(s, 0)?.is_scalar() && hide {
            return Err(Why::PointerLeak { reg: 0 });
        }
        if !src.is_scalar() && hide {
            return Err(Why::PointerLeak { reg: i.src });
        }
        let bytes = size.bytes();
        if matches!(
            v.region(),
            Some(Region::Packet | Region::PacketMeta | Region::Object(_))
        ) {
            return Err(Why::NotAPointer {
                reg: i.dst,
                access: Access::Atomic,
            });
        }
        let target = self.target(i.dst, &v, i.off.into(), bytes, Access::Atomic)?;
        self.same_kind(i.dst, &v, pc)?;
        let mut old = Val::scalar(Scalar::zero_extended(8 * bytes));
        if let Target::Stack { frame, lo, hi, fixed } = target {
            if !fixed {
                return Err(Why::VariableStack { reg: i.dst });
            }
            old = self.stack_load(s, i.dst, frame, (lo, hi), bytes, true)?;
            if !old.is_scalar() {
                return Err(Why::PointerLeak { reg: i.dst });
            }
            self.stack_store(
                s,
                i.dst,
                frame,
                lo,
                bytes,
                Val::scalar(Scalar::zero_extended(8 * bytes)),
            )?;
        } else if let Some(Region::MapValue(n)) = v.region() {
            if !self.map(n.into())?.readable {
                return Err(Why::WriteOnly {
                    reg: i.dst,
                    region: Region::MapValue(n),
                });
            }
        }
        if fetch {
            let to = if op == AtomicOp::Cmpxchg { 0 } else { i.src };
            self.store.set_reg(s, to, Val::scalar(old.num));
        }
        Ok(())
    }
}

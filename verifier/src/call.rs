//! Calls: subprograms, helpers with their arguments, callbacks, exits.

use crate::act::{Act, Scope};
use crate::args::Args;
use crate::cost::{CallFacts, CostModel};
use crate::engine::{Fault, Verifier};
use crate::env::{HelperProto, Lookup, Ret};
use crate::exec::Flow;
use crate::insn::{Insn, Size};
use crate::reject::Why;
use crate::scalar::Scalar;
use crate::store::{NIL, REFS, State};
use crate::value::{Kind, Region, Val};
use crate::view::Observer;

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn initial_state(&mut self) -> State {
        let mut s = State::BLANK;
        let bytes = self.env.rules.memory_arg_bytes;
        if bytes > 0 {
            self.store.set_reg(
                &mut s,
                1,
                Val {
                    extra: bytes,
                    ..Val::pointer(Region::Mem)
                },
            );
            self.store
                .set_reg(&mut s, 2, Val::scalar(Scalar::constant(bytes.into())));
        } else {
            self.store.set_reg(&mut s, 1, Val::pointer(Region::Object(0)));
        }
        s
    }

    /// The function whose frame is the current one.
    pub(crate) fn function(&self) -> Act {
        let acts = self.m.acts.get(..self.acts).unwrap_or(&[]);
        acts.iter()
            .rev()
            .find(|a| a.scope != Scope::Loop)
            .copied()
            .unwrap_or(Act::BLANK)
    }

    pub(crate) fn check_exit(&mut self, s: &State) -> Result<(), Fault> {
        let function = self.function();
        if function.scope == Scope::Callback || function.depth > 0 {
            return Ok(());
        }
        let v = self.read(s, 0)?;
        if !v.is_scalar() {
            if self.env.rules.hide_pointers || self.env.rules.returns.is_some() {
                return Err(Why::PointerLeak { reg: 0 });
            }
            return self.check_refs(s);
        }
        if let Some((want_min, want_max)) = self.env.rules.returns {
            let (min, max) = (v.num.smin, v.num.smax);
            if min < want_min || max > want_max {
                return Err(Why::ReturnValue {
                    min,
                    max,
                    want_min,
                    want_max,
                });
            }
        }
        self.check_refs(s)
    }

    pub(crate) fn check_refs(&self, s: &State) -> Result<(), Fault> {
        match s.references().first() {
            Some(&(_, acquired)) => Err(Why::Unreleased { acquired }),
            None => Ok(()),
        }
    }

    /// The reference is gone: so is everything that holds it.
    pub(crate) fn forget_reference(&mut self, s: &mut State, reference: u32) {
        let mut keep = 0;
        let held = s.refs;
        for r in held.into_iter().take(usize::from(s.refs_len)) {
            if let (true, Some(cell)) = (r.0 != reference, s.refs.get_mut(keep)) {
                *cell = r;
                keep += 1;
            }
        }
        s.refs_len = keep as u8;
        self.store.update(
            s,
            |v| v.reference == reference && !v.is_scalar(),
            |slot| slot.val = Val::UNINIT,
        );
    }

    pub(crate) fn function_act(&self, target: u32, depth: u8, pc: u32) -> Option<Act> {
        let sub = crate::graph::find_sub(&self.m, self.graph.subs, target);
        let sub = self.m.subprograms.get(sub).filter(|s| s.entry == target)?;
        let head = self.block_at(target);
        let end = if sub.end >= self.slots {
            self.graph.blocks
        } else {
            self.block_at(sub.end)
        };
        Some(Act {
            base: head,
            end,
            cursor: head,
            head,
            depth,
            call_pc: pc,
            visits_before: self.visits,
            ..Act::BLANK
        })
    }

    pub(crate) fn call_local(&mut self, s: &mut State, i: &Insn, target: u32, pc: u32) -> Result<Flow, Fault> {
        let act = self
            .function_act(target, s.depth + 1, pc)
            .ok_or(Why::Internal { line: line!() })?;
        let live = self.block(self.block_at(pc + 1)).live;
        self.push_frame(s, live)?;
        let cost = self
            .cost
            .insn(pc, i, crate::cost::Edge::Next)
            .saturating_add(self.cost.frame(target));
        s.time = s.time.saturating_add(cost);
        self.push_act(act)?;
        let state = core::mem::replace(s, State::BLANK);
        let parked = self.store.park(state);
        if let Some(b) = self.m.blocks.get_mut(act.head as usize) {
            b.pending = parked;
        }
        Ok(Flow::Gone)
    }

    pub(crate) fn packet_load(
        &mut self,
        s: &mut State,
        i: &Insn,
        size: Size,
        ind: bool,
        pc: u32,
    ) -> Result<Flow, Fault> {
        let context = self.store.reg(s, 6);
        let good = context.region() == Some(Region::Object(0)) && context.num.as_constant() == Some(0);
        // A failing load leaves the program at once: no frame below may wait for a result, no reference may be held.
        if !good || !self.env.rules.packet_loads || s.depth > 0 {
            return Err(Why::PacketLoad);
        }
        self.check_refs(s)?;
        if ind && !self.read(s, i.src)?.is_scalar() {
            return Err(Why::PointerLeak { reg: i.src });
        }
        if let Some((want_min, want_max)) = self.env.rules.returns {
            if want_min > 0 || want_max < 0 {
                return Err(Why::ReturnValue {
                    min: 0,
                    max: 0,
                    want_min,
                    want_max,
                });
            }
        }
        for r in 1..6 {
            self.store.set_reg(s, r, Val::UNINIT);
        }
        self.store
            .set_reg(s, 0, Val::scalar(Scalar::zero_extended(8 * size.bytes())));
        let _ = pc;
        Ok(Flow::Next)
    }

    pub(crate) fn call_helper(
        &mut self,
        s: &mut State,
        i: &Insn,
        id: u32,
        pc: u32,
        observer: &mut impl Observer,
    ) -> Result<Flow, Fault> {
        let Some(&proto) = self.env.helper(id) else {
            return Err(Why::UnknownHelper { id });
        };
        let mut args = Args::default();
        for n in 0..proto.args.len() {
            self.check_arg(s, &proto, n, &mut args)?;
        }
        let facts = CallFacts {
            helper: id,
            map: args.map.map(|m| m.0),
            key_on_stack: args.key_on_stack,
            value_on_stack: args.value_on_stack,
            bytes_max: args
                .size
                .map_or(args.alloc.unwrap_or(0), |n| n.min(u32::MAX.into()) as u32),
        };
        let time = self.site_cost(pc, facts);
        s.time = s.time.saturating_add(time);
        if let (Some(callback), Some(target)) = (proto.callback, args.callback) {
            s.time = s.time.saturating_add(self.cost.insn(pc, i, crate::cost::Edge::Next));
            return self.call_back(s, &callback, target, &args, pc, observer);
        }
        if args.release != 0 {
            self.forget_reference(s, args.release);
        }
        if proto.changes_packet {
            let packet = |v: &Val| {
                matches!(
                    v.region(),
                    Some(Region::Packet | Region::PacketMeta | Region::PacketEnd)
                )
            };
            self.store.update(s, packet, |slot| slot.val = Val::UNINIT);
        }
        for r in 1..6 {
            self.store.set_reg(s, r, Val::UNINIT);
        }
        let v = self.result(s, &proto, &args, pc)?;
        self.store.set_reg(s, 0, v);
        Ok(Flow::Next)
    }

    /// Time inside the helper, under everything that was ever seen at this site.
    pub(crate) fn site_cost(&mut self, pc: u32, facts: CallFacts) -> u64 {
        let sites = self.m.sites.get(..self.graph.sites as usize).unwrap_or(&[]);
        let at = sites.binary_search_by_key(&pc, |s| s.pc).unwrap_or(0);
        let old = sites.get(at).and_then(|s| s.facts);
        let merged = match old {
            None => facts,
            Some(o) => CallFacts {
                helper: facts.helper,
                map: o.map.filter(|m| Some(*m) == facts.map),
                key_on_stack: o.key_on_stack && facts.key_on_stack,
                value_on_stack: o.value_on_stack && facts.value_on_stack,
                bytes_max: o.bytes_max.max(facts.bytes_max),
            },
        };
        let cost = self.helper_cost(pc, &merged);
        if let Some(o) = old.filter(|o| *o != merged) {
            self.stale_costs |= self.helper_cost(pc, &o) < cost;
        }
        if let Some(site) = self.m.sites.get_mut(at) {
            site.facts = Some(merged);
        }
        cost
    }

    /// Time inside the helper called at `pc`, by what is proven of the site.
    pub(crate) fn site_time(&self, pc: u32) -> u64 {
        let sites = self.m.sites.get(..self.graph.sites as usize).unwrap_or(&[]);
        let at = sites.binary_search_by_key(&pc, |s| s.pc).ok();
        at.and_then(|at| sites.get(at)?.facts)
            .map_or(0, |facts| self.helper_cost(pc, &facts))
    }

    pub(crate) fn helper_cost(&self, pc: u32, facts: &CallFacts) -> u64 {
        let map = facts.map.and_then(|m| self.m.maps.get(usize::from(m)));
        self.cost.helper(pc, facts, map)
    }

    pub(crate) fn result(&mut self, s: &mut State, proto: &HelperProto, args: &Args, pc: u32) -> Result<Val, Fault> {
        self.ids += 1;
        let id = self.ids;
        let fresh = |region, nullable| Val {
            kind: Kind::Pointer { region, nullable },
            id,
            ..Val::pointer(region)
        };
        let (index, map) = match args.map {
            Some(m) => m,
            None => (0, crate::memory::blank_map()),
        };
        Ok(match proto.ret {
            Ret::Scalar => Val::UNKNOWN,
            Ret::Range(min, max) => Val::scalar(Scalar::signed_range(min, max)),
            Ret::UpToSize(min) => {
                let max = args.size.unwrap_or(u64::MAX).min(i64::MAX as u64) as i64;
                Val::scalar(Scalar::signed_range(min, max.max(min)))
            }
            Ret::Void => Val::UNINIT,
            Ret::Lookup => match map.lookup {
                Lookup::Value => fresh(Region::MapValue(index), true),
                Lookup::Map(inner) => fresh(Region::Map(inner), true),
                Lookup::Object(o) => fresh(Region::Object(o), true),
                Lookup::Refused => {
                    return Err(Why::WrongMap {
                        helper: proto.id,
                        arg: 1,
                        map: index,
                    });
                }
            },
            Ret::MapValue => fresh(Region::MapValue(index), false),
            Ret::MemOrNull(bytes) => Val {
                extra: bytes,
                ..fresh(Region::Mem, true)
            },
            Ret::Mem(bytes) => Val {
                extra: bytes,
                ..fresh(Region::Mem, false)
            },
            Ret::AllocOrNull => Val {
                extra: args.alloc.unwrap_or(0),
                ..fresh(Region::Mem, true)
            },
            Ret::RecordOrNull => {
                let reference = self.acquire(s, id, pc)?;
                Val {
                    extra: args.alloc.unwrap_or(0),
                    reference,
                    ..fresh(Region::Record, true)
                }
            }
            Ret::ObjectOrNull { index, acquire } => {
                let reference = if acquire { self.acquire(s, id, pc)? } else { 0 };
                Val {
                    reference,
                    ..fresh(Region::Object(index), true)
                }
            }
            Ret::Object(index) => fresh(Region::Object(index), false),
        })
    }

    pub(crate) fn acquire(&mut self, s: &mut State, id: u32, pc: u32) -> Result<u32, Fault> {
        let at = usize::from(s.refs_len);
        let max = REFS as u32;
        *s.refs.get_mut(at).ok_or(Why::TooManyReferences { max })? = (id, pc);
        s.refs_len += 1;
        Ok(id)
    }
}

const _: () = assert!(NIL == u16::MAX);

//! Calls: subprograms, helpers with their arguments, callbacks, exits.

use crate::cost::{CallFacts, CostModel};
use crate::engine::{Act, Fault, Observer, Scope, Verifier};
use crate::env::{ArgKind, CallbackArg, HelperProto, Lookup, MapDesc, Repeat, Ret};
use crate::exec::Flow;
use crate::insn::{Insn, Size};
use crate::loops::Mode;
use crate::reject::{Access, Why};
use crate::scalar::Scalar;
use crate::store::{NIL, REFS, State};
use crate::value::{Kind, Region, Val};

/// What the arguments of one helper call came to.
#[derive(Clone, Copy, Debug, Default)]
struct Args {
    map: Option<(u16, MapDesc)>,
    alloc: Option<u32>,
    /// Greatest value of the first size argument.
    size: Option<u64>,
    callback: Option<u32>,
    release: u32,
    key_on_stack: bool,
    value_on_stack: bool,
}

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
    fn function(&self) -> Act {
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
            return if self.env.rules.hide_pointers {
                Err(Why::PointerLeak { reg: 0 })
            } else {
                self.check_refs(s)
            };
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

    fn check_refs(&self, s: &State) -> Result<(), Fault> {
        match s.references().first() {
            Some(&(_, acquired)) => Err(Why::Unreleased { acquired }),
            None => Ok(()),
        }
    }

    /// The reference is gone: so is everything that holds it.
    pub(crate) fn forget_reference(&mut self, s: &mut State, reference: u32) {
        let mut keep = 0;
        for i in 0..usize::from(s.refs_len).min(REFS) {
            if s.refs[i].0 != reference {
                s.refs[keep] = s.refs[i];
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

    fn function_act(&self, target: u32, depth: u8, pc: u32) -> Option<Act> {
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
        if self.env.rules.no_local_calls {
            return Err(Why::CallNotAllowed { helper: u32::MAX });
        }
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
    fn site_cost(&mut self, pc: u32, facts: CallFacts) -> u64 {
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

    fn helper_cost(&self, pc: u32, facts: &CallFacts) -> u64 {
        let map = facts.map.and_then(|m| self.m.maps.get(usize::from(m)));
        self.cost.helper(pc, facts, map)
    }

    fn check_arg(&mut self, s: &mut State, proto: &HelperProto, n: usize, args: &mut Args) -> Result<(), Fault> {
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
            ArgKind::MapKeyOrNull | ArgKind::MapValueOrNull if null => Ok(()),
            ArgKind::MapKey | ArgKind::MapKeyOrNull => {
                args.key_on_stack = matches!(v.region(), Some(Region::Stack(_)));
                let bytes = args.map.map_or(0, |m| m.1.key_bytes);
                self.memory(s, reg, bytes, Access::HelperRead(arg), bad)
            }
            ArgKind::MapValue | ArgKind::MapValueOrNull => {
                args.value_on_stack = matches!(v.region(), Some(Region::Stack(_)));
                let bytes = args.map.map_or(0, |m| m.1.value_bytes);
                self.memory(s, reg, bytes, Access::HelperRead(arg), bad)
            }
            ArgKind::MapValueOut => {
                args.value_on_stack = matches!(v.region(), Some(Region::Stack(_)));
                let bytes = args.map.map_or(0, |m| m.1.value_bytes);
                self.memory(s, reg, bytes, Access::Helper(arg), bad)
            }
            ArgKind::FixedOut(bytes) => self.memory(s, reg, bytes, Access::Helper(arg), bad),
            ArgKind::FixedRead(bytes) => self.memory(s, reg, bytes, Access::HelperRead(arg), bad),
            ArgKind::MemRead | ArgKind::MemOut | ArgKind::MemReadWrite => {
                args.value_on_stack |= matches!(v.region(), Some(Region::Stack(_)));
                holds(!v.is_scalar())
            }
            ArgKind::MemReadOrNull | ArgKind::MemOutOrNull => {
                args.value_on_stack |= matches!(v.region(), Some(Region::Stack(_)));
                holds(null || !v.is_scalar())
            }
            ArgKind::Size(max) => self.sized(s, proto, n, &v, (1, max), args),
            ArgKind::SizeOrZero(max) => self.sized(s, proto, n, &v, (0, max), args),
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
            ArgKind::Refused => Err(bad),
        }
    }

    /// A size argument, and the memory in the argument before it.
    fn sized(
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

    fn memory(&mut self, s: &mut State, reg: u8, bytes: u32, access: Access, bad: Why) -> Result<(), Fault> {
        self.memory_of(s, reg, bytes, access, bad, true)
    }

    /// Checks `bytes` of memory at register `reg`, and what becomes of them.
    fn memory_of(
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

    fn result(&mut self, s: &mut State, proto: &HelperProto, args: &Args, pc: u32) -> Result<Val, Fault> {
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

    fn acquire(&mut self, s: &mut State, id: u32, pc: u32) -> Result<u32, Fault> {
        let at = usize::from(s.refs_len);
        let max = REFS as u32;
        *s.refs.get_mut(at).ok_or(Why::TooManyReferences { max })? = (id, pc);
        s.refs_len += 1;
        Ok(id)
    }

    fn call_back(
        &mut self,
        s: &mut State,
        callback: &crate::env::CallbackProto,
        target: u32,
        args: &Args,
        pc: u32,
        observer: &mut impl Observer,
    ) -> Result<Flow, Fault> {
        let count = match callback.repeat {
            Repeat::Count { arg, max } => {
                let v = self.read(s, arg)?;
                if !v.is_scalar() {
                    return Err(Why::PointerLeak { reg: arg });
                }
                // More than `max` is an error the helper returns without calling back.
                let least = if v.num.umax > max.into() { 0 } else { v.num.umin };
                (least, v.num.umax.min(max.into()))
            }
            Repeat::EachEntry => (0, args.map.map_or(0, |m| u64::from(m.1.entries))),
            Repeat::Once => (0, 1),
        };
        let values = core::array::from_fn(|n| match callback.args[n] {
            CallbackArg::None => Val::UNINIT,
            CallbackArg::Index => Val::UNKNOWN,
            CallbackArg::Passed(r) => self.store.reg(s, r),
            CallbackArg::Map => Val::pointer(Region::Map(args.map.map_or(0, |m| m.0))),
            CallbackArg::Key => Val::pointer(Region::MapKey(args.map.map_or(0, |m| m.0))),
            CallbackArg::Value => Val::pointer(Region::MapValue(args.map.map_or(0, |m| m.0))),
        });
        let act = self
            .function_act(target, s.depth + 1, pc)
            .ok_or(Why::BadCallback { target })?;
        for r in 0..6 {
            self.store.set_reg(s, r, Val::UNINIT);
        }
        let state = core::mem::replace(s, State::BLANK);
        let entry = self.store.park(state);
        let index = callback
            .args
            .iter()
            .position(|a| *a == CallbackArg::Index)
            .map_or(0, |n| n as u8 + 1);
        self.push_act(Act {
            scope: Scope::Callback,
            entry,
            count,
            values,
            index,
            ..act
        })?;
        self.begin_callback(self.acts - 1, observer)?;
        Ok(Flow::Gone)
    }

    /// One state at the head of a callback activation: the helper may be done, or calls back once more.
    pub(crate) fn callback_head(&mut self, at: usize, s: State) -> Result<(), Fault> {
        let act = *self.act(at);
        let (least, most) = act.count;
        let ghost = usize::from(act.ghost);
        let round = act.iterations;
        let (may_end, may_go) = match act.mode {
            Mode::Follow => (round >= least, round < most),
            _ => (true, most > 0),
        };
        if may_end {
            let mut end = self.store.fork(&s);
            if let (true, Some(g)) = (act.mode.summary(), end.ghosts.get_mut(ghost)) {
                (g.lo, g.hi) = (least.min(g.hi), g.hi);
            }
            self.callback_done(at, end)?;
        }
        if !may_go {
            self.store.drop_state(&s);
            return Ok(());
        }
        let mut s = s;
        let live = self.block(self.block_at(act.call_pc + 1)).live;
        self.push_frame(&mut s, live)?;
        for r in 1..6u8 {
            let mut v = act.values[usize::from(r) - 1];
            if r == act.index {
                v = match act.mode {
                    Mode::Follow => Val::scalar(Scalar::constant(round)),
                    _ => Val::scalar(Scalar::range(0, most - 1)),
                };
            }
            self.store.set_reg(&mut s, r, v);
        }
        if let (true, Some(g)) = (act.mode.summary(), s.ghosts.get_mut(ghost)) {
            g.hi = g.hi.min(most - 1);
        }
        let target = self.block(act.head).start;
        let cost = self.cost.iteration(act.call_pc, self.helper_at(act.call_pc));
        s.time = s.time.saturating_add(cost).saturating_add(self.cost.frame(target));
        let list = self.add_state(self.block(act.head).pending, s)?;
        if let Some(b) = self.m.blocks.get_mut(act.head as usize) {
            b.pending = list;
        }
        Ok(())
    }

    fn helper_at(&self, pc: u32) -> u32 {
        Insn::decode(self.m.text, pc).map_or(0, |i| i.imm as u32)
    }

    /// The helper returns to the program with the number of iterations it did.
    fn callback_done(&mut self, at: usize, mut s: State) -> Result<(), Fault> {
        let act = *self.act(at);
        let n = Scalar::signed_range(-4096, act.count.1.min(i64::MAX as u64) as i64);
        self.store.set_reg(&mut s, 0, Val::scalar(n));
        let target = self.block_at(act.call_pc + 1);
        self.arrive(at, s, target)
    }

    /// A callback returned `r0`, its frame is gone.
    pub(crate) fn callback_returned(&mut self, at: usize, mut s: State, r0: Val) -> Result<(), Fault> {
        if r0.kind == Kind::Uninit {
            return Err(Why::UninitRegister { reg: 0 });
        }
        let (min, max) = (r0.num.smin, r0.num.smax);
        if !r0.is_scalar() || min < 0 || max > 1 {
            return Err(Why::ReturnValue {
                min,
                max,
                want_min: 0,
                want_max: 1,
            });
        }
        self.store.set_reg(&mut s, 0, Val::UNINIT);
        if max == 1 {
            let end = self.store.fork(&s);
            // The iteration that stops is part of the way out.
            self.callback_done(at, end)?;
        }
        if min == 1 {
            self.store.drop_state(&s);
            return Ok(());
        }
        let list = self.add_state(self.act(at).next, s)?;
        self.act_mut(at).next = list;
        Ok(())
    }

    /// A callback activation was pushed, its one state in its entry list.
    fn begin_callback(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let summaries = self.m.acts.iter().take(at).filter(|a| a.mode.summary()).count();
        let trips = self.act(at).count.1;
        if trips > 1 && summaries < crate::store::GHOSTS {
            let act = self.act_mut(at);
            act.ghost = summaries as u8;
            act.trips = trips;
            return self.prove_callback(at, observer);
        }
        self.follow(at)
    }
}

const _: () = assert!(NIL == u16::MAX);

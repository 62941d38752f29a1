//! Helpers that call back: each call is an iteration of a loop whose count the helper is given.

use crate::act::{Act, Scope};
use crate::args::Args;
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::{CallbackArg, Repeat};
use crate::exec::Flow;
use crate::insn::Insn;
use crate::loops::Mode;
use crate::reject::Why;
use crate::scalar::Scalar;
use crate::store::{List, State};
use crate::value::{Kind, Region, Val};
use crate::view::Observer;

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn call_back(
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
            index,
            ..act
        })?;
        self.ties_mut(self.acts - 1).values = values;
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
            let mut v = self
                .ties(at)
                .values
                .get(usize::from(r) - 1)
                .copied()
                .unwrap_or(Val::UNINIT);
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
        self.post(s, List::Pending(act.head));
        Ok(())
    }

    pub(crate) fn helper_at(&self, pc: u32) -> u32 {
        Insn::decode(self.m.text, pc).map_or(0, |i| i.imm as u32)
    }

    /// The helper returns to the program with the number of iterations it did.
    pub(crate) fn callback_done(&mut self, at: usize, mut s: State) -> Result<(), Fault> {
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
        self.post(s, List::Next(at as u16));
        Ok(())
    }

    /// A callback activation was pushed, its one state in its entry list.
    pub(crate) fn begin_callback(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
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

//! The work on one program: clear its maps, plan its code, verify it, compile it. Every step is bounded and resumes where it stopped.
//!
//! What is under way borrows from what was made before (the verifier from the plan, the compiler from the proof), so it all lives in a
//! [`Workshop`] of one lifetime, which the job uses up. Who gives workshops out may make a new one of the same memory when the job is gone.

use hyp_abi::Status;
use hyp_abi::record::Pool;
use probe_vm::env::{environment, layout};
use probe_vm::image::limits;
use probe_vm::jit::{Compiler, Entry, JitCost, Links, MapLink, Plan};
use verifier::{MapDesc, Memory, ObjectLayout, Program, Step, Verified, Verifier};

use super::compile::Compiled;
use super::maps::{Clearing, MapTable, Taken};
use super::publish::{CodeMemory, ProbeCode};
use super::stage::Staged;
use super::workshop::{Desk, Shelf};
use super::{COMPILE_SLOTS, Caller, Platform, Probes, Refused, State, VERIFY_UNITS_MAX};

/// Slots of planning that one unit pays for.
const PLAN_SLOTS: u32 = 4;

/// What the stages after planning still need.
#[derive(Debug)]
struct Rest<'w> {
    text: &'w [u64],
    maps: &'w [MapDesc],
    memory: Memory<'w>,
    layout: &'w [ObjectLayout<'static>],
    plan: &'w mut Option<Plan<'w>>,
    verifier: &'w mut Option<Verifier<'w, 'w, JitCost<'w>>>,
    verified: &'w mut Option<Verified<'w>>,
    offsets: &'w mut [u32],
}

/// What compiling needs.
#[derive(Debug)]
struct Proof<'w> {
    verified: &'w Verified<'w>,
    plan: &'w Plan<'w>,
    offsets: &'w mut [u32],
}

#[derive(Debug)]
enum Stage<'w> {
    Clearing(Clearing, Plan<'w>, Rest<'w>),
    Planning(Plan<'w>, Rest<'w>),
    Verifying(
        &'w mut Verifier<'w, 'w, JitCost<'w>>,
        &'w Plan<'w>,
        &'w mut Option<Verified<'w>>,
        &'w mut [u32],
    ),
    Verified(Proof<'w>),
    Compiling {
        compiler: Compiler<'w>,
        at: u32,
        words: u32,
        insn_bound: u64,
        time_bound: u64,
    },
    /// A step failed; the job is dropped by its caller.
    Broken,
}

/// The program under way.
#[derive(Debug)]
pub(super) struct Job<'w> {
    slot: usize,
    touched_ns: u64,
    image: &'w [u8],
    platform: &'w Platform<'w>,
    links: Option<&'w Links<'w>>,
    units: u64,
    /// The stage has ended: the next one begins with the next unit.
    ended: bool,
    stage: Stage<'w>,
}

/// Answer of a verify step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The proof is there.
    pub done: bool,
    /// Units spent so far.
    pub units: u64,
    /// Proven bounds; 0 before.
    pub insn_bound: u64,
    /// In units of the timing model.
    pub time_bound: u64,
}

/// Answer of a compile step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compilation {
    /// The code is published.
    pub done: bool,
    /// Its bytes; 0 before.
    pub code_bytes: u64,
    /// As verified.
    pub time_bound: u64,
}

/// How a failed step is told: pc and reason number of a code generator's refusal, which the verifier did not make.
const REASON_CODE: u64 = 1000;

impl<'w> Job<'w> {
    pub(super) fn start(
        slot: usize,
        staged: Staged<'w>,
        now_ns: u64,
        platform: &'w Platform<'w>,
        table: &MapTable,
        taken: &Taken,
        desk: Desk<'w>,
    ) -> Self {
        let Desk {
            flags,
            offsets,
            memory,
            shelf,
        } = desk;
        let Shelf {
            maps,
            map_links,
            layout: place,
            links,
            plan,
            verifier,
            verified,
        } = shelf;
        for (i, s) in taken.slots.iter().take(taken.count).enumerate() {
            if let (Some((desc, link)), Some(d), Some(l)) = (
                table.describe(*s, platform.map_base),
                maps.get_mut(i),
                map_links.get_mut(i),
            ) {
                (*d, *l) = (desc, link);
            }
        }
        let maps: &'w [MapDesc] = maps.get(..taken.count).unwrap_or(&[]);
        let map_links: &'w [MapLink] = map_links.get(..taken.count).unwrap_or(&[]);
        let links: &'w Links<'w> = links.insert(link(platform, map_links));
        let layout: &'w [ObjectLayout<'static>] = place.insert([layout(staged.point)]);
        let rest = Rest {
            text: staged.text,
            maps,
            memory,
            layout,
            plan,
            verifier,
            verified,
            offsets,
        };
        let stage = match Plan::start(staged.text, maps, flags) {
            Ok(p) => Stage::Clearing(Clearing::new(*taken), p, rest),
            Err(_) => Stage::Broken,
        };
        Self {
            slot,
            touched_ns: now_ns,
            image: staged.image,
            platform,
            links: Some(links),
            units: 0,
            ended: false,
            stage,
        }
    }

    pub(super) const fn slot(&self) -> usize {
        self.slot
    }

    pub(super) const fn touched_ns(&self) -> u64 {
        self.touched_ns
    }

    pub(super) const fn state(&self) -> State {
        match self.stage {
            Stage::Verified(_) => State::Verified,
            Stage::Compiling { .. } => State::Compiled,
            _ => State::Staged,
        }
    }

    /// Code memory that an unfinished compilation holds.
    pub(super) const fn code(&self) -> Option<u32> {
        match self.stage {
            Stage::Compiling { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Up to `units` units of clearing, planning and verifying. On an error the job is of no more use.
    fn verify(&mut self, units: u64, table: &MapTable) -> Result<Verification, Refused> {
        let links = self.links.ok_or(Refused::new(Status::BadState))?;
        let mut left = units.min(VERIFY_UNITS_MAX);
        while left > 0 {
            if core::mem::take(&mut self.ended) {
                // What begins a stage is as much as a call should do.
                self.advance(links)?;
                self.units += 1;
                break;
            }
            let (mut spent, mut full) = (1, false);
            // Only a stage that has ended is moved: what it holds is large.
            self.ended = match &mut self.stage {
                Stage::Clearing(clearing, ..) => clearing.step(table, self.platform, self.image),
                Stage::Planning(plan, _) => plan.step(links, PLAN_SLOTS).map_err(unplannable)?,
                Stage::Verifying(verifier, ..) => {
                    let before = verifier.units();
                    let ended = match verifier.step(left as u32) {
                        Step::More => false,
                        Step::Rejected(r) => return Err(rejected(&r)),
                        Step::Done(_) => true,
                    };
                    spent = verifier.units() - before;
                    // What does not fit the units that are left is the next call's.
                    full = !ended;
                    ended
                }
                _ => break,
            };
            self.units += spent;
            left = if full { 0 } else { left.saturating_sub(spent) };
        }
        Ok(match &self.stage {
            Stage::Verified(proof) => Verification {
                done: true,
                units: self.units,
                insn_bound: proof.verified.insn_bound(),
                time_bound: proof.verified.time_bound(),
            },
            Stage::Broken => return Err(Refused::no_space(Pool::Verifier, limits::INSNS_MAX as u64)),
            Stage::Compiling {
                insn_bound, time_bound, ..
            } => Verification {
                done: true,
                units: self.units,
                insn_bound: *insn_bound,
                time_bound: *time_bound,
            },
            _ => Verification {
                done: false,
                units: self.units,
                insn_bound: 0,
                time_bound: 0,
            },
        })
    }

    /// From a stage that has ended to the next.
    fn advance(&mut self, links: &'w Links<'w>) -> Result<(), Refused> {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Clearing(_, plan, rest) => Stage::Planning(plan, rest),
            Stage::Planning(plan, rest) => begin_verifying(plan, rest, links, self.platform),
            // Asked again, so that the answer can be borrowed for as long as the workshop.
            Stage::Verifying(verifier, plan, place, offsets) => finish_verifying(verifier, plan, place, offsets)?,
            other => other,
        };
        Ok(())
    }
}

fn link<'w>(platform: &'w Platform<'w>, maps: &'w [MapLink]) -> Links<'w> {
    let last = platform.code_base + u64::from(platform.code_words).saturating_sub(1) * 4;
    Links {
        maps,
        helpers: platform.helpers,
        helper_times: platform.helper_times,
        window: (platform.code_base, last),
        cpu: platform.cpu,
        time: platform.time,
        lse: platform.lse,
        entry: Entry::Point(platform.context),
        dispatch: 0,
    }
}

fn begin_verifying<'w>(plan: Plan<'w>, rest: Rest<'w>, links: &'w Links<'w>, platform: &'w Platform<'w>) -> Stage<'w> {
    let plan: &'w Plan<'w> = rest.plan.insert(plan);
    let cost = JitCost::new(plan, links, platform.core);
    let program = Program {
        text: rest.text,
        maps: rest.maps,
    };
    let verifier = rest
        .verifier
        .insert(Verifier::start(rest.memory, &program, environment(rest.layout), cost));
    Stage::Verifying(verifier, plan, rest.verified, rest.offsets)
}

fn finish_verifying<'w>(
    verifier: &'w mut Verifier<'w, 'w, JitCost<'w>>,
    plan: &'w Plan<'w>,
    place: &'w mut Option<Verified<'w>>,
    offsets: &'w mut [u32],
) -> Result<Stage<'w>, Refused> {
    match verifier.step(0) {
        Step::Done(v) => Ok(Stage::Verified(Proof {
            verified: place.insert(v),
            plan,
            offsets,
        })),
        Step::Rejected(r) => Err(rejected(&r)),
        Step::More => Err(Refused::new(Status::BadState)),
    }
}

/// x1 = pc, x2 = reason. The host verifies the same program with the same environment for a readable diagnosis.
fn rejected(r: &verifier::Rejected) -> Refused {
    let reason = super::compile::reason_number(&r.why);
    Refused::with(Status::Rejected, &[u64::from(r.pc), reason])
}

fn unplannable(e: probe_vm::jit::CompileError) -> Refused {
    let (pc, number) = super::compile::error_number(&e);
    Refused::with(Status::Rejected, &[pc, REASON_CODE + number])
}

impl<'w, C: ProbeCode> Probes<'w, C> {
    /// ProbeVerify: spends up to `units` units (capped to [`VERIFY_UNITS_MAX`]). A rejected program is unloaded at once.
    pub fn verify(&mut self, caller: Caller, handle: u64, units: u64, now_ns: u64) -> Result<Verification, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        if p.published.is_some() {
            return Ok(Verification {
                done: true,
                units: 0,
                insn_bound: p.insn_bound,
                time_bound: p.time_bound,
            });
        }
        let Some(job) = self.job.as_mut().filter(|j| j.slot == slot) else {
            return Err(Refused::state(State::Staged));
        };
        job.touched_ns = now_ns;
        let answer = job.verify(units, &self.maps);
        match answer {
            Ok(v) if v.done => {
                let p = self.program_mut(slot)?;
                (p.insn_bound, p.time_bound) = (v.insn_bound, v.time_bound);
            }
            Ok(_) => {}
            Err(_) => self.drop_program(slot),
        }
        answer
    }

    /// ProbeCompile: [`COMPILE_SLOTS`] slots of compilation; at the end the code is published.
    pub fn compile(
        &mut self,
        caller: Caller,
        handle: u64,
        now_ns: u64,
        memory: &mut impl CodeMemory<Code = C>,
    ) -> Result<Compilation, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        if let Some(done) = &p.published {
            let code_bytes = u64::from(done.words()) * 4;
            return Ok(Compilation {
                done: true,
                code_bytes,
                time_bound: p.time_bound,
            });
        }
        if self
            .job
            .as_ref()
            .is_none_or(|j| j.slot != slot || j.state() == State::Staged)
        {
            return Err(Refused::state(State::Staged));
        }
        let answer = self.compile_step(slot, now_ns, memory);
        if answer.is_err() {
            self.drop_program(slot);
        }
        answer
    }

    fn compile_step(
        &mut self,
        slot: usize,
        now_ns: u64,
        memory: &mut impl CodeMemory<Code = C>,
    ) -> Result<Compilation, Refused> {
        let no_code = Refused::no_space(Pool::Code, u64::from(self.platform.code_words) * 4);
        let job = self.job.as_mut().ok_or(Refused::state(State::Staged))?;
        job.touched_ns = now_ns;
        if let Stage::Verified(_) = job.stage
            && let Stage::Verified(proof) = core::mem::replace(&mut job.stage, Stage::Broken)
        {
            let links = job.links.ok_or(Refused::new(Status::BadState))?;
            let (at, words) = self.code.take_largest().ok_or(no_code)?;
            let base = job.platform.code_base + u64::from(at) * 4;
            let (insn_bound, time_bound) = (proof.verified.insn_bound(), proof.verified.time_bound());
            match Compiler::start(proof.verified, proof.plan, links, proof.offsets, base) {
                Ok(compiler) => {
                    job.stage = Stage::Compiling {
                        compiler,
                        at,
                        words,
                        insn_bound,
                        time_bound,
                    }
                }
                Err(e) => {
                    self.code.shrink(at, 0);
                    return Err(super::compile::failed(&e));
                }
            }
        }
        let Stage::Compiling {
            compiler,
            at,
            words,
            insn_bound,
            time_bound,
        } = &mut job.stage
        else {
            return Err(Refused::state(State::Staged));
        };
        let (at, room, insn_bound, time_bound) = (*at, *words, *insn_bound, *time_bound);
        let buffer = memory.writable(at, room).ok_or(no_code)?;
        let Some(code) = compiler
            .step(buffer, COMPILE_SLOTS)
            .map_err(|e| super::compile::failed(&e))?
        else {
            return Ok(Compilation {
                done: false,
                code_bytes: 0,
                time_bound,
            });
        };
        let compiled = Compiled::new(&code, at, insn_bound, time_bound);
        self.name_maps(slot, memory);
        let published = self.publish(compiled, memory)?;
        let code_bytes = u64::from(published.words()) * 4;
        self.program_mut(slot)?.published = Some(published);
        self.job = None;
        Ok(Compilation {
            done: true,
            code_bytes,
            time_bound,
        })
    }
}

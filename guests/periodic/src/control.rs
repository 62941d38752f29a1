//! What the loop controls: a mass on a damped slide that a constant load pulls back, by a PI controller, in fixed point.
//! It settles within 150 periods.

/// One unit of position, in fixed point.
const ONE: i64 = 1 << 16;
/// Where the mass should be.
const TARGET: i64 = ONE;
/// The loop has settled when it is this near.
const NEAR: i64 = ONE / 100;
/// Bounds of the actuator: anti-windup clamps to them, too.
const FORCE_MAX: i64 = 8 * ONE;
/// What pulls the mass back.
const LOAD: i64 = ONE / 2;

/// The simulated plant.
pub struct Plant {
    position: i64,
    velocity: i64,
}

impl Plant {
    /// At rest at 0.
    pub const fn new() -> Self {
        Self {
            position: 0,
            velocity: 0,
        }
    }

    /// As the sensor reads it.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// One period under `force`.
    pub fn step(&mut self, force: i64) {
        self.velocity += (force - LOAD) / 16 - self.velocity / 4;
        self.position += self.velocity / 16;
    }

    /// Whether the mass is where it should be.
    pub fn is_settled(&self) -> bool {
        (self.position - TARGET).abs() < NEAR
    }
}

/// PI with clamping.
pub struct Controller {
    integral: i64,
}

impl Controller {
    /// With an empty integral.
    pub const fn new() -> Self {
        Self { integral: 0 }
    }

    /// The force for a measured position.
    pub fn step(&mut self, position: i64) -> i64 {
        let error = TARGET - position;
        self.integral = (self.integral + error / 32).clamp(-FORCE_MAX, FORCE_MAX);
        (4 * error + self.integral).clamp(-FORCE_MAX, FORCE_MAX)
    }
}

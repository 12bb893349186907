//! Every encoding against the host's own, stack and tags included; and what the host cannot tell: faults.

mod faults;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host;

use crate::cpu::x86::family::testing::direct::{DATA, Machine};
use crate::cpu::x86::state::CR0_NE;

/// As a system sets the FPU up.
fn new_machine() -> Machine {
    let mut machine = Machine::new(super::handler);
    machine.vcpu().cr0 |= CR0_NE;
    machine.vcpu().r[3] = DATA;
    machine.run("db e3").unwrap();
    machine
}

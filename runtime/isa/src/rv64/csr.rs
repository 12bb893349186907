//! Numbers and names of the control and status registers that user and supervisor mode can reach.
//! (Privileged manual, "CSR Listing".)

/// fflags: accrued exceptions.
pub const FFLAGS: u16 = 0x001;
/// frm: dynamic rounding mode.
pub const FRM: u16 = 0x002;
/// fcsr: both.
pub const FCSR: u16 = 0x003;
/// sstatus: interrupts, privileges, state of the FPU.
pub const SSTATUS: u16 = 0x100;
/// sscratch: for the trap handler.
pub const SSCRATCH: u16 = 0x140;
/// sepc: where the trap came from.
pub const SEPC: u16 = 0x141;
/// scause: why there was a trap.
pub const SCAUSE: u16 = 0x142;
/// stval: more about the trap.
pub const STVAL: u16 = 0x143;

const NAMES: &[(u16, &str)] = &[
    (FFLAGS, "fflags"),
    (FRM, "frm"),
    (FCSR, "fcsr"),
    (SSTATUS, "sstatus"),
    (0x104, "sie"),
    (0x105, "stvec"),
    (0x106, "scounteren"),
    (0x10a, "senvcfg"),
    (SSCRATCH, "sscratch"),
    (SEPC, "sepc"),
    (SCAUSE, "scause"),
    (STVAL, "stval"),
    (0x144, "sip"),
    (0x14d, "stimecmp"),
    (0x180, "satp"),
    (0xc00, "cycle"),
    (0xc01, "time"),
    (0xc02, "instret"),
];

/// The register's name, if it is one of user or supervisor mode.
pub fn name(number: u16) -> Option<&'static str> {
    NAMES.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

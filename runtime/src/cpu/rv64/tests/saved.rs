//! Saved state: what is saved comes back, and a state that no hart was ever in is made into one.

use super::super::state::{HartState, Privilege};
use super::{code, hart, run};
use crate::memory::GuestMemory;
use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op, random::Rng};

#[test]
fn what_is_saved_comes_back() {
    let mem = GuestMemory::new(1 << 20, None).unwrap();
    let mut rng = Rng::new(51);
    for _ in 0..200 {
        let mut cpu = hart(&mem);
        let h = &mut *cpu.hart;
        for x in h.x.iter_mut().skip(1).chain(&mut h.f) {
            *x = rng.next_u64();
        }
        (h.pc, h.instret, h.sepc) = (rng.next_u64() & !1, rng.next_u64(), rng.next_u64() & !1);
        (h.fflags, h.frm, h.fs) = (rng.below(32) as u8, rng.below(8) as u8, rng.below(4) as u8);
        (h.sie_enabled, h.spie, h.sum, h.mxr) = (rng.one_in(2), rng.one_in(2), rng.one_in(2), rng.one_in(2));
        (h.privilege, h.spp) = (rng.pick(&[Privilege::User, Privilege::Supervisor]), Privilege::Supervisor);
        (h.sie, h.sip, h.stvec) = (rng.next_u64() & 0x222, rng.next_u64() & 2, rng.next_u64() & !2);
        (h.sscratch, h.scause, h.stval) = (rng.next_u64(), rng.next_u64(), rng.next_u64());
        (h.satp, h.stimecmp) = (8 << 60 | rng.next_u64() >> 4, rng.next_u64());
        (h.scounteren, h.senvcfg, h.reservation) = (rng.below(8) as u64, rng.below(2) as u64, rng.next_u64());
        let state = h.save();
        let bytes = postcard::to_allocvec(&state).unwrap();
        let mut other = hart(&mem);
        other.hart.restore(&postcard::from_bytes::<HartState>(&bytes).unwrap());
        assert_eq!(other.hart.save(), state);
        assert_eq!((other.hart.x, other.hart.f), (cpu.hart.x, cpu.hart.f));
        assert!(other.hart.dtlb.is_empty());
    }
}

#[test]
fn a_wild_state_becomes_a_legal_one() {
    let mut mem = GuestMemory::new(1 << 20, None).unwrap();
    let mut wild = hart(&mem);
    let h = &mut *wild.hart;
    h.x = [u64::MAX; 32];
    (h.pc, h.sepc, h.stvec) = (u64::MAX, u64::MAX, u64::MAX);
    (h.fflags, h.frm, h.fs, h.max_satp_mode) = (255, 255, 255, 255);
    (h.sie, h.sip, h.satp) = (u64::MAX, u64::MAX, u64::MAX);
    (h.scounteren, h.senvcfg) = (u64::MAX, u64::MAX);
    let state = h.save();
    let mut cpu = hart(&mem);
    cpu.hart.restore(&state);
    let h = &mut *cpu.hart;
    assert_eq!((h.x[0], h.x[1]), (0, u64::MAX));
    assert_eq!((h.pc, h.sepc, h.stvec), (u64::MAX - 1, u64::MAX - 1, u64::MAX - 3));
    assert_eq!((h.fflags, h.frm, h.fs, h.max_satp_mode), (31, 7, 3, 9));
    assert_eq!((h.sie, h.sip, h.satp, h.scounteren, h.senvcfg), (0x222, 2, 0, 7, 1));
    assert!(!h.user_only);
    // And runs: a reserved rounding mode is an exception, not a panic.
    h.user_only = true;
    h.privilege = Privilege::User;
    let none = Fields::default();
    let program = code(&[(Op::FaddD, Fields { rm: 7, ..none }), (Op::Ebreak, none)]);
    assert!(mem.write(RAM_BASE, &program));
    assert_eq!(run(&mut cpu, &mut mem, RAM_BASE).0, 2);
    assert_eq!(run(&mut cpu, &mut mem, u64::MAX - 1).0, 1);
}

//! The reference itself: known results, and the same result each time.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use forelift_oracle::case::*;
use forelift_oracle::host::Host;
use forelift_oracle::layout::*;

fn breakpoint() -> Stop {
    Stop::Trap { vector: vector::BP, code: 0, address: 0 }
}

#[test]
fn registers_go_in_and_come_out() {
    let mut host = Host::new();
    for mode in [Mode::Long, Mode::Compat] {
        let mut case = Case::new(mode, &[0x90]);
        let general = if mode == Mode::Long { 16 } else { 8 };
        for (i, r) in case.state.r.iter_mut().take(general).enumerate() {
            *r = 0x1111_1111 * (i as u64 + 1);
        }
        if mode == Mode::Long {
            case.state.r[9] = 0xfedc_ba98_7654_3210;
            case.state.fs_base = 0x1234_5678_9abc;
            case.state.gs_base = 0xffff_8000_0000_0000;
        }
        case.state.flags |= flag::ARITHMETIC | flag::DF;
        for i in 0..16 {
            case.state.fx.xmm[i] = u128::MAX / 3 * i as u128;
        }
        for i in 0..8 {
            case.state.fx.st[i] = (0x3fff_u128 + i as u128) << 64 | 1 << 63;
        }
        case.state.fx.tag = 0xa5;
        case.state.fx.sw = 5 << 11;
        case.state.fx.cw = 0x27f;
        case.state.fx.mxcsr = 0x7fbf;
        for (i, b) in case.memory.iter_mut().enumerate() {
            *b = (i * 7) as u8;
        }
        let out = host.run_one(&case);
        assert_eq!(out.stop, breakpoint());
        let mut expected = case.state.clone();
        expected.rip = CODE + 2;
        expected.fx.mxcsr_mask = out.state.fx.mxcsr_mask;
        assert_eq!(format!("{:?}", out.state), format!("{expected:?}"), "{mode:?}");
        assert!(out.memory == case.memory);
    }
}

#[test]
fn known_results() {
    let mut host = Host::new();
    // add al, 1 with al = 0x7f
    let mut case = Case::new(Mode::Long, &[0x04, 0x01]);
    case.state.r[RAX] = 0xff7f;
    let out = host.run_one(&case);
    assert_eq!(out.state.r[RAX], 0xff80);
    assert_eq!(out.state.flags & flag::ARITHMETIC, flag::OF | flag::SF | flag::AF);
    // mov [rdi], rax just before the end of the data
    let mut case = Case::new(Mode::Long, &[0x48, 0x89, 0x07]);
    case.state.r[RAX] = 0x0807_0605_0403_0201;
    case.state.r[RDI] = HIGH + DATA_SIZE as u64 - 8;
    let out = host.run_one(&case);
    assert_eq!(out.stop, breakpoint());
    assert_eq!(out.memory[DATA_SIZE - 8..DATA_SIZE], [1, 2, 3, 4, 5, 6, 7, 8]);
    // ... and across it
    case.state.r[RDI] += 1;
    let out = host.run_one(&case);
    assert_eq!(out.stop, Stop::Trap { vector: vector::PF, code: 6, address: HIGH + DATA_SIZE as u64 });
    assert_eq!(out.state.rip, CODE);
    assert!(out.memory == case.memory);
    // In 32-bit code, 0x48 is dec eax, and 0x40 inc eax.
    let mut case = Case::new(Mode::Compat, &[0x48, 0x48, 0x40, 0xa3, 0, 0, 0, 0x20]);
    case.state.r[RAX] = 0;
    let out = host.run_one(&case);
    assert_eq!(out.stop, breakpoint());
    assert_eq!((out.state.r[RAX], out.state.rip), (0xffff_ffff, CODE + 9));
    assert_eq!(out.memory[..4], [0xff; 4]);
}

#[test]
fn faults_have_their_vectors() {
    let mut host = Host::new();
    let mut stop = |code: &[u8], change: &dyn Fn(&mut Case)| {
        let mut case = Case::new(Mode::Long, code);
        change(&mut case);
        match host.run_one(&case).stop {
            Stop::Trap { vector, code, .. } => (vector, code),
            other => panic!("{other:?}"),
        }
    };
    let nothing = |_: &mut Case| ();
    assert_eq!(stop(&[0x0f, 0x0b], &nothing), (vector::UD, 0)); // ud2
    assert_eq!(stop(&[0xf7, 0xf0], &nothing), (vector::DE, 0)); // div eax
    assert_eq!(stop(&[0xf4], &nothing), (vector::GP, 0)); // hlt
    assert_eq!(stop(&[0x8b, 0x00], &|c| c.state.r[RAX] = 1 << 63), (vector::GP, 0)); // not canonical
    assert_eq!(stop(&[0x50], &|c| c.state.r[RSP] = 1 << 63), (vector::SS, 0)); // push rax
    assert_eq!(stop(&[0x0f, 0x28, 0x00], &|c| c.state.r[RAX] = DATA + 8), (vector::GP, 0)); // movaps
    assert_eq!(stop(&[0xff, 0xe0], &|c| c.state.r[RAX] = DATA), (vector::PF, 0x15)); // jmp to data
    assert_eq!(stop(&[0x88, 0x00], &|c| c.state.r[RAX] = READ_ONLY), (vector::PF, 7)); // a write
    // fsqrt
    assert_eq!(stop(&[0xd9, 0xfa], &|c| (c.state.fx.sw, c.state.fx.cw) = (0x81, 0x37e)), (vector::MF, 0));
    assert_eq!(stop(&[0x0f, 0x5e, 0xc0], &|c| c.state.fx.mxcsr = 0), (vector::XM, 0)); // divps of zeros
}

#[test]
fn nothing_that_a_case_does_ends_the_tests() {
    let mut host = Host::new();
    let good = Case::new(Mode::Long, &[0x90]);
    let endless = Case::new(Mode::Long, &[0xeb, 0xfe]);
    // mov eax, 39; syscall
    let call = Case::new(Mode::Long, &[0xb8, 39, 0, 0, 0, 0x0f, 0x05]);
    let call32 = Case::new(Mode::Compat, &[0xb8, 20, 0, 0, 0, 0xcd, 0x80]);
    let cases = [good.clone(), endless, good.clone(), call, call32, good.clone()];
    for _ in 0..3 {
        let stops: Vec<_> = host.run(&cases).iter().map(|o| o.stop).collect();
        assert_eq!(stops, [breakpoint(), Stop::Endless, breakpoint(), Stop::Lost, Stop::Lost, breakpoint()]);
    }
    assert_eq!(host.restarts, 0);
    // rep stosb over the memory that the reference itself works with.
    let mut wild = Case::new(Mode::Long, &[0xf3, 0xaa]);
    wild.state.r[RDI] = 0x6f00_0000_0000;
    wild.state.r[RCX] = 1 << 40;
    assert_eq!(host.run_one(&wild).stop, Stop::Lost);
    assert_eq!(host.restarts, 1);
    assert_eq!(host.run_one(&good).stop, breakpoint());
}

#[test]
fn single_steps() {
    let mut host = Host::new();
    // xor eax, eax; l: inc eax; jmp l
    let mut case = Case::new(Mode::Long, &[0x31, 0xc0, 0xff, 0xc0, 0xeb, 0xfc]);
    for steps in 1..20 {
        case.steps = steps;
        let out = host.run_one(&case);
        assert_eq!(out.stop, Stop::Trap { vector: vector::DB, code: 0, address: 0 });
        assert_eq!(out.state.r[RAX], u64::from(steps / 2));
    }
}

use super::*;
use crate::host::NoHost;
use forelift_isa::rv64::{Fields, Op, encode};

/// A kernel image: the header, whose first instruction jumps over it, and `code`.
fn kernel(code: &[u32]) -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..4].copy_from_slice(&encode(Op::Jal, &Fields { imm: 64, ..Fields::default() }).to_le_bytes());
    image[8..16].copy_from_slice(&KERNEL_OFFSET.to_le_bytes());
    image[16..24].copy_from_slice(&0x1_0000u64.to_le_bytes());
    image[0x38..0x3c].copy_from_slice(b"RSC\x05");
    image.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    image
}

fn addi(rd: u8, rs1: u8, imm: i32) -> u32 {
    encode(Op::Addi, &Fields { rd, rs1, imm, ..Fields::default() })
}

fn plain(op: Op) -> u32 {
    encode(op, &Fields::default())
}

fn jump(imm: i32) -> u32 {
    encode(Op::Jal, &Fields { imm, ..Fields::default() })
}

const RAM: usize = 64 << 20;

fn boot(kernel: &[u8], ram: usize) -> Result<Machine, MachineError> {
    let memory = GuestMemory::new(ram, None).unwrap();
    let source = BootSource { kernel, initrd: b"initial", cmdline: "quiet", rng_seed: &[1; 32] };
    Machine::boot(memory, source, ConsoleLog::Keep)
}

fn why(code: &[u32]) -> String {
    let mut machine = boot(&kernel(code), RAM).unwrap();
    machine.boot_to_ready(&mut NoHost::default(), &mut |_| {}).unwrap_err().to_string()
}

#[test]
fn a_guest_that_never_gets_ready_is_told_apart() {
    assert!(why(&[plain(Op::Wfi), jump(-4)]).contains("waits for something that never comes"));
    // An illegal instruction, and no handler: nothing retires, ever.
    assert!(why(&[0]).contains("faults for ever"));
    // SBI system reset: a7 = "SRST", a6 = 0, a0 = shutdown, a1 = no reason.
    let lui = encode(Op::Lui, &Fields { rd: 17, imm: 0x5352_5000, ..Fields::default() });
    let shutdown =
        [lui, addi(17, 17, 0x354), addi(16, 0, 0), addi(10, 0, 0), addi(11, 0, 0), plain(Op::Ecall)];
    assert!(why(&shutdown).contains("switched itself off"));
}

#[test]
fn words_on_the_debug_console_are_in_the_error() {
    // DBCN console_write_byte, function 2.
    let lui = encode(Op::Lui, &Fields { rd: 17, imm: 0x4442_4000, ..Fields::default() });
    let mut code = vec![lui, addi(17, 17, 0x34e), addi(16, 0, 2)];
    for byte in b"help" {
        code.extend([addi(10, 0, i32::from(*byte)), plain(Op::Ecall)]);
    }
    code.extend([plain(Op::Wfi), jump(-4)]);
    assert!(why(&code).ends_with("help"), "{}", why(&code));
}

#[test]
fn saved_restored_and_saved_again_is_the_same() {
    // Counts in a5 for ever.
    let mut machine = boot(&kernel(&[addi(15, 15, 1), jump(-4)]), RAM).unwrap();
    for round in 1..4 {
        let before = machine.instructions();
        assert_eq!(machine.slice(&mut NoHost::default()), Exit::Budget);
        assert!(machine.instructions() >= before + SLICE);
        let state = machine.save(&mut NoHost::default());
        let counted = machine.cpu.hart.x[15];
        assert!(counted >= round * SLICE / 2 - 1);
        let memory = machine.into_memory();
        machine = Machine::restore(memory, &state, &mut NoHost::default(), ConsoleLog::Keep).unwrap();
        assert_eq!(machine.save(&mut NoHost::default()), state, "round {round}");
        assert_eq!(machine.cpu.hart.x[15], counted);
    }
}

#[test]
fn a_snapshot_of_other_memory_or_with_damage_is_refused() {
    let mut machine = boot(&kernel(&[jump(0)]), RAM).unwrap();
    let state = machine.save(&mut NoHost::default());
    let restore = |ram, state: &[u8]| {
        let memory = GuestMemory::new(ram, None).unwrap();
        Machine::restore(memory, state, &mut NoHost::default(), ConsoleLog::Keep)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(restore(RAM / 2, &state).contains("made for RAM"));
    machine.slice(&mut NoHost::default());
    for at in (0..state.len()).step_by(7) {
        let mut bad = state.clone();
        bad[at] ^= 0x10;
        assert!(restore(RAM, &bad).starts_with("snapshot:"), "byte {at}");
        assert!(restore(RAM, &state[..at]).starts_with("snapshot:"), "cut at {at}");
    }
}

#[test]
fn kernels_and_memory_that_do_not_fit_are_refused() {
    let good = kernel(&[jump(0)]);
    let refused = |image: &[u8], ram| boot(image, ram).map(|_| ()).unwrap_err().to_string();
    assert!(boot(&good, RAM).is_ok());
    assert!(refused(&good[..63], RAM).contains("shorter than its header"));
    assert!(refused(&vec![0; 4096], RAM).contains("bad magic"));
    assert!(refused(&good, 8 << 20).contains("--memory"));
    let mut bad = good.clone();
    bad[8] = 1;
    assert!(refused(&bad, RAM).contains("load offset"));
    let mut bad = good.clone();
    bad[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refused(&bad, RAM).contains("size field"));
    let mut big = good;
    big[16..24].copy_from_slice(&(1u64 << 29).to_le_bytes());
    assert!(refused(&big, RAM).contains("--memory"));
}

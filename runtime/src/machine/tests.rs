use super::*;
use crate::host::NoHost;
use forelift_abi::config::Arch;
use forelift_abi::layout::KERNEL_OFFSET;
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
    let source =
        BootSource { arch: Arch::Riscv64, kernel, initrd: b"initial", cmdline: "quiet", rng_seed: &[1; 32] };
    Machine::boot(memory, source, ConsoleLog::Keep)
}

fn why(code: &[u32]) -> String {
    let mut machine = boot(&kernel(code), RAM).unwrap();
    machine.boot_to_ready(&mut NoHost::default(), 0, &mut |_| {}).unwrap_err().to_string()
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

fn a5(machine: &Machine) -> u64 {
    match &machine.cpu {
        Cpu::Riscv64(cpu) => cpu.hart.x[15],
        #[cfg(feature = "x86_64")]
        Cpu::X86_64(_) => panic!("a riscv64 kernel was booted"),
    }
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
        let counted = a5(&machine);
        assert!(counted >= round * SLICE / 2 - 1);
        let memory = machine.into_memory();
        machine = Machine::restore(memory, &state, &mut NoHost::default(), ConsoleLog::Keep).unwrap();
        assert_eq!(machine.save(&mut NoHost::default()), state, "round {round}");
        assert_eq!(a5(&machine), counted);
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

mod x86_64 {
    use super::*;
    use crate::platform::x86_64::testing::executable;

    /// A `vmlinux` of machine code.
    fn machine(code: &[u8]) -> Machine {
        let kernel = executable(0x100_0000, 0x100_0000, code, 0x1_0000);
        let memory = GuestMemory::new(RAM, None).unwrap();
        let source = BootSource {
            arch: Arch::X86_64,
            kernel: &kernel,
            initrd: b"initial",
            cmdline: "",
            rng_seed: &[1; 32],
        };
        Machine::boot(memory, source, ConsoleLog::Keep).unwrap()
    }

    fn why(code: &[u8]) -> String {
        machine(code).boot_to_ready(&mut NoHost::default(), 0, &mut |_| {}).unwrap_err().to_string()
    }

    #[test]
    fn ways_to_stop_are_told_apart() {
        // hlt, with interrupts off.
        assert!(why(&[0xf4]).contains("switched itself off"));
        // sti; hlt; jmp to hlt.
        assert!(why(&[0xfb, 0xf4, 0xeb, 0xfd]).contains("waits for something that never comes"));
        // ud2, without an interrupt table: a triple fault.
        assert!(why(&[0x0f, 0x0b]).contains("switched itself off"));
        // mov al, 0xfe; out 0x64, al; jmp to itself.
        assert!(why(&[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]).contains("switched itself off"));
    }

    #[test]
    fn words_on_ports_are_in_the_error() {
        let mut code = vec![];
        for byte in b"help" {
            // mov al, byte; out 0xe9, al.
            code.extend([0xb0, *byte, 0xe6, 0xe9]);
        }
        // mov dx, 0x3f8; out dx, al; hlt.
        code.extend([0x66, 0xba, 0xf8, 0x03, 0xee, 0xf4]);
        assert!(why(&code).ends_with("helpp"), "{}", why(&code));
    }

    #[test]
    fn a_timer_of_the_local_apic_ends_a_wait() {
        // An interrupt gate for vector 0x40 at 0x30400 in an IDT at 0x30000 that leads to 0x1000100; there:
        // log, switch off.
        let code = [
            // mov ebx, 0xfee00320; mov dword [rbx], 0x40
            &[0xbb, 0x20, 0x03, 0xe0, 0xfe, 0xc7, 0x03, 0x40, 0, 0, 0][..],
            // mov dword [0x30400], 0x00100100; mov dword [0x30404], 0x01008e00
            &[0xc7, 0x04, 0x25, 0x00, 0x04, 0x03, 0, 0x00, 0x01, 0x10, 0x00],
            &[0xc7, 0x04, 0x25, 0x04, 0x04, 0x03, 0, 0x00, 0x8e, 0x00, 0x01],
            // mov word [0x31000], 0xfff; mov dword [0x31002], 0x30000; lidt [0x31000]
            &[0x66, 0xc7, 0x04, 0x25, 0x00, 0x10, 0x03, 0, 0xff, 0x0f],
            &[0xc7, 0x04, 0x25, 0x02, 0x10, 0x03, 0, 0x00, 0x00, 0x03, 0x00],
            &[0x0f, 0x01, 0x1c, 0x25, 0x00, 0x10, 0x03, 0],
            // mov dword [rbx + 0x60], 25000000: the initial count, at a divisor of 2 for two seconds; sti;
            // hlt; hlt
            &[0xc7, 0x43, 0x60, 0x40, 0x78, 0x7d, 0x01, 0xfb, 0xf4, 0xf4],
        ]
        .concat();
        let mut all = code;
        all.resize(0x100, 0x90);
        // mov al, 'T'; out 0xe9, al; cli; hlt.
        all.extend([0xb0, b'T', 0xe6, 0xe9, 0xfa, 0xf4]);
        let mut machine = machine(&all);
        let why = machine.boot_to_ready(&mut NoHost::default(), 0, &mut |_| {}).unwrap_err().to_string();
        assert!(why.contains("switched itself off") && why.ends_with('T'), "{why}");
        let ticks = machine.clock.ticks(&mut NoHost::default(), machine.instructions());
        assert!((20_000_000..20_000_100).contains(&ticks), "{ticks}");
    }

    #[test]
    fn saved_restored_and_saved_again_is_the_same() {
        // inc rax; jmp to it.
        let mut machine = machine(&[0x48, 0xff, 0xc0, 0xeb, 0xfb]);
        for round in 1..4 {
            assert_eq!(machine.slice(&mut NoHost::default()), Exit::Budget);
            let state = machine.save(&mut NoHost::default());
            let memory = machine.into_memory();
            assert_eq!(memory.ram_base(), 0);
            machine = Machine::restore(memory, &state, &mut NoHost::default(), ConsoleLog::Keep).unwrap();
            assert_eq!(machine.save(&mut NoHost::default()), state, "round {round}");
        }
        assert!(machine.instructions() >= 3 * SLICE);
    }

    struct Idle;

    impl Tier for Idle {
        fn between(&mut self, _: &mut Cpu, _: &mut GuestMemory) {}
        fn statistics(&self) -> Vec<(&'static str, u64)> {
            Vec::new()
        }
    }

    #[test]
    fn nothing_of_it_can_be_lifted_yet() {
        let mut machine = machine(&[0xf4]);
        assert!(machine.train(None, &mut NoHost::default(), 1000, &mut |_, _| true).is_empty());
        assert!(!machine.install_lifted(Index::default()));
        assert!(machine.set_tier(Box::new(Idle)).unwrap_err().to_string().contains("amd64"));
        assert!(machine.statistics().contains("\"instructions\":0"));
    }
}

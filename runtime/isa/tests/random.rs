//! The random program generator: coverage, and that its programs run under qemu's user mode.

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use common::{run, scratch};
use forelift_isa::rv64::random::{Options, Program, STATE_BYTES};
use forelift_isa::rv64::{CROWS, Flow, Op, compressed_row, decode, length};

/// Reference emulator.
const QEMU: &str = "qemu-riscv64-static";

/// Runs a program under qemu and returns what it wrote.
fn qemu(name: &str, program: &Program) -> Vec<u8> {
    let path = scratch(name);
    std::fs::write(&path, program.elf()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(QEMU, &[path.as_os_str()]);
    std::fs::remove_file(&path).unwrap();
    output
}

/// Instructions of a program's chunks by a linear sweep; each must decode.
fn sweep(program: &Program, mut each: impl FnMut(u64, u32)) {
    for chunk in &program.chunks {
        let mut pc = chunk.start;
        while pc < chunk.end {
            let at = (pc - program.base) as usize;
            let word = u32::from_le_bytes(program.image[at..at + 4].try_into().unwrap());
            assert!(decode(word).is_some(), "illegal {word:#x} at {pc:#x}");
            each(pc, word);
            pc += length(word as u16) as u64;
        }
        assert_eq!(pc, chunk.end);
    }
}

#[test]
fn programs_run_under_qemu() {
    const SEEDS: u64 = 100;
    let mut distinct = BTreeSet::new();
    let mut instructions = 0usize;
    for seed in 0..SEEDS {
        let options = Options {
            seed,
            chunks: 20,
            items: 60,
            cross_pages: seed % 3 != 0,
            self_modifying: seed % 2 == 0,
            ..Options::default()
        };
        let program = Program::random(&options);
        sweep(&program, |_, _| instructions += 1);
        assert_eq!(program.output.end - program.output.start, (20 * STATE_BYTES + 8192) as u64);
        let output = qemu(&format!("seed{seed}"), &program);
        assert_eq!(output.len() as u64, program.output.end - program.output.start, "seed {seed}");
        assert_eq!(program.difference(&output, &output), None);
        // Every chunk must change registers, or the comparison would be worth nothing.
        for pair in output[..20 * STATE_BYTES].chunks(STATE_BYTES).collect::<Vec<_>>().windows(2) {
            assert_ne!(pair[0], pair[1], "seed {seed}");
        }
        if seed % 10 == 0 {
            assert_eq!(program.elf(), Program::random(&options).elf(), "the seed decides everything");
            let again = qemu(&format!("seed{seed}"), &program);
            assert_eq!(program.difference(&again, &output), None, "seed {seed} depends on its environment");
        }
        distinct.insert(output);
    }
    println!("{SEEDS} programs of {instructions} instructions in their code ran under {QEMU}");
    assert_eq!(distinct.len() as u64, SEEDS);
    assert!(instructions > 150_000, "{instructions}");
}

#[test]
fn programs_contain_every_instruction() {
    let (mut ops, mut rows) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..20 {
        let program = Program::random(&Options { seed, ..Options::default() });
        sweep(&program, |_, word| {
            if word & 3 == 3 {
                ops.insert(decode(word).unwrap().op);
            } else {
                rows.insert(compressed_row(word as u16).unwrap().mnemonic);
            }
        });
    }
    // What traps cannot be part of a program that runs to its end.
    let traps = |op: Op| op.flow() == Flow::System && op != Op::FenceI;
    let missing: Vec<_> = Op::ALL.iter().filter(|op| !ops.contains(op) && !traps(**op)).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
    let missing: Vec<_> = CROWS
        .iter()
        .filter(|row| row.expands.is_some_and(|(op, _)| !traps(op)) && !rows.contains(row.mnemonic))
        .collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
    println!("{} instructions and {} compressed ones occur", ops.len(), rows.len());
}

#[test]
fn accesses_stay_within_a_page_on_request() {
    // sp is 2048 bytes into a page and the pointer 0: check the offsets of all accesses relative to them.
    let mut checked = 0;
    for seed in 0..10 {
        let options = Options { seed, cross_pages: false, ..Options::default() };
        let program = Program::random(&options);
        sweep(&program, |pc, word| {
            let insn = decode(word).unwrap();
            let bytes = insn.access().bytes() as i64;
            if bytes == 0 || insn.access().must_align() || insn.rs1 != 2 && !(8..16).contains(&insn.rs1) {
                return;
            }
            let base = if insn.rs1 == 2 { 2048 } else { 4096 };
            let at = base + insn.imm as i64;
            assert!(at % 4096 + bytes <= 4096, "{pc:#x}: {}", insn.disassemble(pc));
            checked += 1;
        });
    }
    assert!(checked > 5_000, "{checked}");
}

#[test]
fn a_difference_is_explained() {
    let program = Program::random(&Options { seed: 7, chunks: 3, items: 5, ..Options::default() });
    let reference = vec![0; (program.output.end - program.output.start) as usize];
    let mut ours = reference.clone();
    ours[STATE_BYTES + 8 * 5] = 1;
    let text = program.difference(&ours, &reference).unwrap();
    assert!(text.contains("after chunk 1") && text.contains("x5   0x0000000000000001"), "{text}");
    ours[STATE_BYTES + 8 * 5] = 0;
    *ours.last_mut().unwrap() = 1;
    let text = program.difference(&ours, &reference).unwrap();
    assert!(text.contains("memory at"), "{text}");
    assert!(program.difference(&ours[8..], &reference).unwrap().contains("bytes of output"));
}

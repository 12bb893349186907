//! Small programs: what the interpreter does as a whole. Single instructions are tested against the host's
//! CPU elsewhere.

mod alignment;
mod debug;
mod fast_path;

use super::fault::{BP, DB, Fault, PF, UD};
use super::flags;
use super::state::{EFER_NXE, Segment};
use super::{Bus, Cpu, Exit};
use crate::memory::GuestMemory;

const RAM: usize = 8 << 20;
const CODE: u64 = 0x10_0000;
const DATA: u64 = 0x20_0000;
const STACK: u64 = 0x30_0000;

#[derive(Default)]
struct Nothing {
    interrupt: Option<u8>,
}

impl Bus for Nothing {
    fn port_out(&mut self, port: u16, _: u8, _: u32) -> Option<Exit> {
        (port == 0xf4).then_some(Exit::Shutdown { reset: false, failed: false })
    }
    fn interrupt(&mut self) -> bool {
        self.interrupt.is_some()
    }
    fn acknowledge(&mut self) -> Option<u8> {
        self.interrupt.take()
    }
}

struct Machine {
    mem: GuestMemory,
    cpu: Cpu,
    bus: Nothing,
}

/// A machine without paging that is about to run `code`.
fn machine(code: &[u8]) -> Machine {
    let mut mem = GuestMemory::new(RAM, None).expect("memory");
    mem.set_ram_base(0);
    assert!(mem.write(CODE, code));
    let mut cpu = Cpu::new(&mem);
    cpu.vcpu.rip = CODE;
    cpu.vcpu.r[4] = STACK;
    cpu.vcpu.user_only = true;
    Machine { mem, cpu, bus: Nothing::default() }
}

impl Machine {
    fn run(&mut self) -> Exit {
        self.cpu.run(&mut self.mem, &mut self.bus, 1_000_000)
    }
}

#[test]
fn a_loop_sums() {
    // mov ecx,10; xor eax,eax; l: add rax,rcx; dec ecx; jnz l; int3
    let code = [0xb9, 10, 0, 0, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, 0xcc];
    let mut m = machine(&code);
    assert_eq!(m.run(), Exit::Trap(Fault::plain(BP)));
    assert_eq!(m.cpu.vcpu.r[0], 55);
    assert_eq!(m.cpu.vcpu.rip, CODE + code.len() as u64);
    // A trap's own instruction has retired.
    assert_eq!(m.cpu.vcpu.instret, 2 + 3 * 10 + 1);
}

#[test]
fn calls_return_and_memory_keeps() {
    // mov rdi,DATA; call f; mov rbx,[rdi]; ud2; f: mov dword [rdi],0x12345678; mov dword [rdi+4],-1; ret
    let mut code = vec![0x48, 0xc7, 0xc7];
    code.extend((DATA as u32).to_le_bytes());
    code.extend([0xe8, 5, 0, 0, 0, 0x48, 0x8b, 0x1f, 0x0f, 0x0b]);
    code.extend([0xc7, 0x07, 0x78, 0x56, 0x34, 0x12, 0xc7, 0x47, 0x04, 0xff, 0xff, 0xff, 0xff, 0xc3]);
    let mut m = machine(&code);
    assert_eq!(m.run(), Exit::Trap(Fault::plain(UD)));
    assert_eq!(m.cpu.vcpu.r[3], 0xffff_ffff_1234_5678);
    assert_eq!(m.cpu.vcpu.r[4], STACK);
}

#[test]
fn code_may_change_itself_in_the_same_block() {
    // mov byte [rip+1],7 (the immediate of the next instruction); mov al,1; int3
    let code = [0xc6, 0x05, 1, 0, 0, 0, 7, 0xb0, 1, 0xcc];
    let mut m = machine(&code);
    assert_eq!(m.run(), Exit::Trap(Fault::plain(BP)));
    assert_eq!(m.cpu.vcpu.r[0] & 0xff, 7);
}

#[test]
fn the_instruction_that_clears_the_trap_flag_is_trapped_after_it() {
    // pushfq; and qword [rsp],~0x100; popfq; nop; ud2
    let code = [0x9c, 0x48, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d, 0x90, 0x0f, 0x0b];
    let mut m = machine(&code);
    m.cpu.vcpu.rflags |= flags::TF;
    for at in [1, 9, 10] {
        assert_eq!((m.run(), m.cpu.vcpu.rip), (Exit::Trap(Fault::plain(DB)), CODE + at));
        assert_eq!(m.cpu.vcpu.rflags & flags::TF != 0, at < 10);
    }
    assert_eq!((m.run(), m.cpu.vcpu.rip), (Exit::Trap(Fault::plain(UD)), CODE + 11));
}

#[test]
fn an_instruction_may_straddle_pages() {
    let mut m = machine(&[]);
    // mov eax,0x11223344 across a page boundary, then int3.
    let at = CODE + 0xffd;
    assert!(m.mem.write(at, &[0xb8, 0x44, 0x33, 0x22, 0x11, 0xcc]));
    m.cpu.vcpu.rip = at;
    assert_eq!(m.run(), Exit::Trap(Fault::plain(BP)));
    assert_eq!(m.cpu.vcpu.r[0], 0x1122_3344);
    // Its second half changes.
    assert!(m.mem.write(CODE + 0x1000, &[0x99]));
    m.cpu.vcpu.rip = at;
    assert_eq!(m.run(), Exit::Trap(Fault::plain(BP)));
    assert_eq!(m.cpu.vcpu.r[0], 0x1199_3344);
}

/// Page tables at 4 MiB: identity for the first 8 MiB by pages of 4 KiB, all of them for user code but those
/// at DATA + 0x1000 (kernel only) and DATA + 0x2000 (read-only) and DATA + 0x3000 (absent).
fn paged(m: &mut Machine) {
    const ROOT: u64 = 4 << 20;
    let mut put = |at: u64, entry: u64| assert!(m.mem.write(at, &entry.to_le_bytes()));
    put(ROOT, ROOT + 0x1000 + 7);
    put(ROOT + 0x1000, ROOT + 0x2000 + 7);
    for n in 0..4 {
        put(ROOT + 0x2000 + 8 * n, ROOT + 0x3000 + 0x1000 * n + 7);
        for page in 0..512 {
            let pa = n << 21 | page << 12;
            let flags = match pa {
                _ if pa == DATA + 0x1000 => 3,
                _ if pa == DATA + 0x2000 => 5,
                _ if pa == DATA + 0x3000 => 0,
                _ => 7,
            };
            put(ROOT + 0x3000 + 0x1000 * n + 8 * page, pa | flags);
        }
    }
    m.cpu.vcpu.cr3 = ROOT;
    m.cpu.vcpu.cr0 |= 1 << 31;
    m.cpu.vcpu.msr.efer |= EFER_NXE;
    m.cpu.vcpu.cpl = 3;
    m.cpu.vcpu.segments[super::state::CS].attributes |= 3 << 5;
    m.cpu.vcpu.flush_tlb();
}

#[test]
fn page_faults_tell_what_was_wrong() {
    // mov [rdi],rax; int3 / mov rax,[rdi]; int3
    let store = [0x48, 0x89, 0x07, 0xcc];
    let load = [0x48, 0x8b, 0x07, 0xcc];
    let cases = [
        (&store, DATA, None),
        (&load, DATA + 0x1000, Some(5)),
        (&store, DATA + 0x1000, Some(7)),
        (&load, DATA + 0x2000, None),
        (&store, DATA + 0x2000, Some(7)),
        (&load, DATA + 0x3000, Some(4)),
        (&store, DATA + 0x3000, Some(6)),
        // Across the boundary: the second page is the culprit.
        (&store, DATA + 0xffc, Some(7)),
    ];
    for (code, address, expected) in cases {
        let mut m = machine(code);
        paged(&mut m);
        m.cpu.vcpu.r[7] = address;
        m.cpu.vcpu.r[0] = 0x0102_0304_0506_0708;
        let culprit = if address == DATA + 0xffc { DATA + 0x1000 } else { address };
        let exit = expected.map_or(Fault::plain(BP), |code| Fault {
            vector: PF,
            code: Some(code),
            address: culprit,
        });
        assert_eq!(m.run(), Exit::Trap(exit), "{address:#x}");
        if expected.is_some() {
            assert_eq!(m.cpu.vcpu.rip, CODE);
            assert_eq!(m.mem.read_array(address & !7), Some([0; 8]), "half of a store happened");
        }
    }
}

/// An interrupt gate to `handler` in the descriptor table at DATA, with a 64-bit code segment 0x10 in a table
/// at DATA + 0x800.
fn with_handler(m: &mut Machine, vector: u64, handler: u64) {
    let gate = handler & 0xffff | 0x10 << 16 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48;
    assert!(m.mem.write(DATA + 16 * vector, &gate.to_le_bytes()));
    assert!(m.mem.write(DATA + 16 * vector + 8, &(handler >> 32).to_le_bytes()));
    assert!(m.mem.write(DATA + 0x810, &0x00af_9b00_0000_ffff_u64.to_le_bytes()));
    (m.cpu.vcpu.idtr.base, m.cpu.vcpu.idtr.limit) = (DATA, 0x7ff);
    (m.cpu.vcpu.gdtr.base, m.cpu.vcpu.gdtr.limit) = (DATA + 0x800, 0x7f);
    m.cpu.vcpu.segments[super::state::CS] =
        Segment { selector: 0x10, attributes: 0xa09b, limit: u32::MAX, base: 0 };
    m.cpu.vcpu.user_only = false;
}

#[test]
fn an_exception_enters_its_handler_and_iretq_returns() {
    // ud2; out 0xf4,al ... handler: add qword [rsp],2; iretq
    let mut m = machine(&[0x0f, 0x0b, 0xe6, 0xf4]);
    let handler = CODE + 0x100;
    assert!(m.mem.write(handler, &[0x48, 0x83, 0x04, 0x24, 2, 0x48, 0xcf]));
    with_handler(&mut m, 6, handler);
    assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
    assert_eq!(m.cpu.vcpu.r[4], STACK);
    assert_eq!(m.cpu.vcpu.rip, CODE + 4);
}

#[test]
fn an_interrupt_waits_for_sti_and_one_instruction_more() {
    // nop; sti; inc eax; inc eax; out 0xf4,al ... handler: mov ebx,eax; iretq: it sees the first increment
    // only.
    let mut m = machine(&[0x90, 0xfb, 0xff, 0xc0, 0xff, 0xc0, 0xe6, 0xf4]);
    let handler = CODE + 0x100;
    assert!(m.mem.write(handler, &[0x89, 0xc3, 0x48, 0xcf]));
    with_handler(&mut m, 0x20, handler);
    m.bus.interrupt = Some(0x20);
    assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
    assert_eq!(m.bus.interrupt, None);
    assert_eq!((m.cpu.vcpu.r[0], m.cpu.vcpu.r[3]), (2, 1));
}

#[test]
fn a_fault_without_any_handler_shuts_down() {
    let mut m = machine(&[0x0f, 0x0b]);
    m.cpu.vcpu.user_only = false;
    assert_eq!(m.run(), Exit::Shutdown { reset: true, failed: true });
}

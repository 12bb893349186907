//! Alignment checks (SDM vol. 3 2.5 and 6.15, interrupt 17).

use super::*;
use crate::cpu::x86::fault::AC;
use crate::cpu::x86::state::CR0_AM;

const CHECK: Exit = Exit::Trap(Fault::with_code(AC, 0));
const END: Exit = Exit::Trap(Fault::plain(BP));

/// `code` at privilege level 3 with RDI at `data`, RFLAGS.AC set, and CR0.AM as told.
fn checked(code: &[u8], data: u64, mask: bool) -> Machine {
    let mut m = machine(code);
    m.cpu.vcpu.r[7] = data;
    m.cpu.vcpu.cpl = 3;
    if mask {
        m.cpu.vcpu.cr0 |= CR0_AM;
    }
    m.cpu.vcpu.set_all_flags(flags::AC);
    m
}

#[test]
fn operands_have_to_be_aligned_to_their_size() {
    // Each ends in int3.
    let forms: [(&str, &[u8], u64); 9] = [
        ("mov al,[rdi]", &[0x8a, 0x07, 0xcc], 1),
        ("mov ax,[rdi]", &[0x66, 0x8b, 0x07, 0xcc], 2),
        ("mov [rdi],eax", &[0x89, 0x07, 0xcc], 4),
        ("add [rdi],rax", &[0x48, 0x01, 0x07, 0xcc], 8),
        ("fld tbyte [rdi]", &[0xdb, 0x2f, 0xcc], 8),
        ("movq xmm0,[rdi]", &[0xf3, 0x0f, 0x7e, 0x07, 0xcc], 8),
        // Left to implementations (SDM vol. 2 2.4): done in halves.
        ("movups xmm0,[rdi]", &[0x0f, 0x10, 0x07, 0xcc], 8),
        ("scasd", &[0xaf, 0xcc], 4),
        ("push qword [rdi]", &[0xff, 0x37, 0xcc], 8),
    ];
    for (name, code, size) in forms {
        for offset in 0..16 {
            let mut m = checked(code, DATA + offset, true);
            m.cpu.vcpu.cr4 |= crate::cpu::x86::state::CR4_OSFXSR;
            m.cpu.vcpu.update_controls();
            let fine = offset % size == 0;
            assert_eq!(m.run(), if fine { END } else { CHECK }, "{name} at {offset}");
            assert_eq!(m.cpu.vcpu.rip == CODE, !fine, "{name} at {offset}");
        }
    }
}

#[test]
fn only_where_flag_mask_and_level_ask_for_it() {
    // mov eax,[rdi]; int3
    let code = [0x8b, 0x07, 0xcc];
    assert_eq!(checked(&code, DATA + 1, false).run(), END);
    let mut kernel = checked(&code, DATA + 1, true);
    kernel.cpu.vcpu.cpl = 0;
    kernel.cpu.vcpu.update_mode();
    assert_eq!(kernel.run(), END);
    let mut clear = checked(&code, DATA + 1, true);
    clear.cpu.vcpu.set_all_flags(0);
    assert_eq!(clear.run(), END);
}

#[test]
fn a_program_can_begin_and_end_it() {
    // mov eax,[rdi]; pushf; or dword [rsp],0x40000; popf; mov eax,[rdi]
    let mut code = vec![0x8b, 0x07, 0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x07];
    let second = CODE + code.len() as u64 - 2;
    let mut m = checked(&code, DATA + 2, true);
    m.cpu.vcpu.set_all_flags(0);
    assert_eq!(m.run(), CHECK);
    assert_eq!(m.cpu.vcpu.rip, second, "the page that was in the TLB is not any more");
    // The other way round: pushf; and dword [rsp],~0x40000; popf; mov eax,[rdi]; int3
    code = vec![0x9c, 0x81, 0x24, 0x24, 0xff, 0xff, 0xfb, 0xff, 0x9d, 0x8b, 0x07, 0xcc];
    assert_eq!(checked(&code, DATA + 2, true).run(), END);
}

// Entries of both machines, descriptor tables, and the way into a case and back out of it.

        .set    CODE64, 0x08
        .set    DATA, 0x10

// PVH: a 32-bit entry with paging off and EBX at the start information (the note's type 18, as Xen's
// elfnote.h has it).
        .section .note.pvh, "a", @note
        .align  4
        .long   4, 8, 18
        .asciz  "Xen"
        .quad   enter_pvh

        .text
        .code32
enter_pvh:
        cli
        cld
        movl    24(%ebx), %eax          // The command line's address.
        movl    %eax, command_line
        movl    $1, on_qemu
        movl    $0x6a0, %eax            // PAE, PGE, OSFXSR, OSXMMEXCPT
        movl    %eax, %cr4
        movl    $boot_tables, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        movl    $0x901, %eax            // NXE, LME, SCE
        xorl    %edx, %edx
        wrmsr
        movl    $0x80010033, %eax       // PG, WP, NE, ET, MP, PE
        movl    %eax, %cr0
        lgdt    gdt_register
        ljmp    $CODE64, $enter_common

// Linux's 64-bit boot protocol: long mode, RSI at the boot parameters.
        .code64
        .globl  enter_linux
enter_linux:
        cli
        cld
        movl    0x228(%rsi), %eax
        movl    %eax, command_line
        movl    $0x6a0, %eax
        movq    %rax, %cr4
        movl    $boot_tables, %eax
        movq    %rax, %cr3
        movl    $0xc0000080, %ecx
        movl    $0x901, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0x80010033, %eax
        movq    %rax, %cr0
        lgdt    gdt_register
        movl    $harness_stack_top, %esp
        pushq   $CODE64
        pushq   $enter_common
        lretq

enter_common:
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    $harness_stack_top, %esp
        xorl    %ebp, %ebp
        pushq   $2
        popfq
        call    main
        // QEMU's isa-debug-exit; the other machine is off when it waits with interrupts disabled.
        movl    $0xf4, %edx
        movb    $0, %al
        outb    %al, %dx
1:      cli
        hlt
        jmp     1b

// Enters the case that `in` describes; comes back with `out` at the first exception or interrupt.
        .globl  go
go:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, harness_rsp
        pushq   in + 152                // SS
        pushq   in + 32                 // RSP
        pushq   in + 144                // RFLAGS
        pushq   in + 136                // CS
        pushq   in + 128                // RIP
        movl    in + 160, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    $0xc2c2, %eax           // Seen where CR2 is not written.
        movq    %rax, %cr2
        movq    in + 0, %rax
        movq    in + 8, %rcx
        movq    in + 16, %rdx
        movq    in + 24, %rbx
        movq    in + 40, %rbp
        movq    in + 48, %rsi
        movq    in + 56, %rdi
        movq    in + 64, %r8
        movq    in + 72, %r9
        movq    in + 80, %r10
        movq    in + 88, %r11
        movq    in + 96, %r12
        movq    in + 104, %r13
        movq    in + 112, %r14
        movq    in + 120, %r15
        iretq

// All vectors come here with a vector and an error code (0 where there is none) on top of the frame.
common:
        movq    %rax, out + 0
        movq    %rcx, out + 8
        movq    %rdx, out + 16
        movq    %rbx, out + 24
        movq    %rbp, out + 40
        movq    %rsi, out + 48
        movq    %rdi, out + 56
        movq    %r8, out + 64
        movq    %r9, out + 72
        movq    %r10, out + 80
        movq    %r11, out + 88
        movq    %r12, out + 96
        movq    %r13, out + 104
        movq    %r14, out + 112
        movq    %r15, out + 120
        pushfq
        popq    out + 200
        movq    0(%rsp), %rax
        movq    %rax, out + 168         // Vector.
        movq    8(%rsp), %rax
        movq    %rax, out + 176         // Error code.
        movq    16(%rsp), %rax
        movq    %rax, out + 128
        movq    24(%rsp), %rax
        movq    %rax, out + 136
        movq    32(%rsp), %rax
        movq    %rax, out + 144
        movq    40(%rsp), %rax
        movq    %rax, out + 32
        movq    48(%rsp), %rax
        movq    %rax, out + 152
        leaq    16(%rsp), %rax
        movq    %rax, out + 184         // Where the frame is.
        xorl    %eax, %eax
        movw    %ds, %ax
        movq    %rax, out + 160
        movw    %cs, %ax
        movq    %rax, out + 192
        movw    %ss, %ax
        movq    %rax, out + 208
        movw    %es, %ax
        movq    %rax, out + 216
        movw    %fs, %ax
        movq    %rax, out + 224
        movw    %gs, %ax
        movq    %rax, out + 232
        movq    %cr2, %rax
        movq    %rax, out + 240
        movq    %dr6, %rax
        movq    %rax, out + 248
        movl    $0xffff0ff0, %eax
        movq    %rax, %dr6
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movq    harness_rsp, %rsp
        cld
        pushq   $2
        popfq
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

// One entry of 16 bytes for each vector.
        .p2align 4
        .globl  vectors
vectors:
        .set    vector, 0
        .rept   256
        .p2align 4
        .if     (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17)
        .else
        pushq   $0
        .endif
        pushq   $vector
        jmp     common
        .set    vector, vector + 1
        .endr

        .data
        .globl  command_line, on_qemu, gdt, gdt_register
command_line:
        .quad   0
on_qemu:
        .quad   0
harness_rsp:
        .quad   0
gdt_register:
        .word   gdt_end - gdt - 1
        .quad   gdt
        .p2align 4
gdt:
        .quad   0
        .quad   0x00af9b000000ffff      // 08: 64-bit code
        .quad   0x00cf93000000ffff      // 10: data
        .quad   0x00cf9b000000ffff      // 18: 32-bit code
        .quad   0x00cffb000000ffff      // 20: the same for level 3
        .quad   0x00cff3000000ffff      // 28
        .quad   0x00affb000000ffff      // 30
        .quad   0, 0                    // 38: task state
        .quad   0, 0                    // 48: local descriptor table
        .quad   0x00af1b000000ffff      // 58: 64-bit code, not present
        .quad   0x00cf13000000ffff      // 60: data, not present
        .quad   0x00af9f000000ffff      // 68: conforming 64-bit code
        .quad   0x00cf91000000ffff      // 70: data, read-only
        .quad   0x00aff9000000ffff      // 78: 64-bit code of level 3, not readable
        .quad   0x00ef9b000000ffff      // 80: code, 64-bit and 32-bit at once
        .quad   0x00cf73000000ffff      // 88: data of level 3, not present
        .quad   0x00af7b000000ffff      // 90: 64-bit code of level 3, not present
        .quad   0, 0                    // 98: a second task state
        .quad   0, 0                    // a8: a busy one
        .quad   0x00afbb000000ffff      // b8: 64-bit code of level 1
        .quad   0x00cfb3000000ffff      // c0: data of level 1
        .quad   0x0040f30000000fff      // c8: data of level 3, 4 KiB
        .quad   0, 0                    // d0: call gate
        .quad   0x00008e0000000000, 0   // e0: an interrupt gate, which is nothing to have here
        .quad   0x00cff2000000ffff      // f0: data of level 3, never accessed
        .quad   0x00affa000000ffff      // f8: 64-bit code of level 3, never accessed
        .quad   0x00cf97000000ffff      // 100: data that expands down
        .quad   0x0000810000000067      // 108: 16-bit task state: nothing in long mode
        .quad   0x00cffb000000ffff      // 110: 32-bit code of level 3 (after 08 + 32 - 32 of sysexit)
gdt_end:

// The first GiB, and the local APIC's, by pages of 2 MiB for everybody.
        .p2align 12
        .globl  boot_tables
boot_tables:
        .quad   boot_level3 + 7
        .fill   511, 8, 0
boot_level3:
        .quad   boot_level2 + 7
        .quad   0, 0
        .quad   boot_apic + 7
        .fill   508, 8, 0
boot_level2:
        .set    page, 0
        .rept   512
        .quad   (page << 21) + 0x87
        .set    page, page + 1
        .endr
boot_apic:
        .set    page, 0x600
        .rept   512
        .quad   (page << 21) + 0x97     // Uncached.
        .set    page, page + 1
        .endr

        .bss
        .p2align 12
        .globl  harness_stack_top
        .skip   0x4000
harness_stack_top:

        .section .note.GNU-stack, "", @progbits

// Interrupts by the local APIC, and what holds them back.

#include "guest.h"

#define APIC(offset) (*(volatile u32 *)(0xfee00000ul + (offset)))
enum { TPR = 0x80, PPR = 0xa0, EOI = 0xb0, SVR = 0xf0, ISR = 0x100, IRR = 0x200, ICR = 0x300, TIMER = 0x320, LINT0 = 0x350, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0 };

static u32 requested(unsigned vector) { return APIC(IRR + (vector / 32) * 16) >> (vector % 32) & 1; }
static u32 in_service(unsigned vector) { return APIC(ISR + (vector / 32) * 16) >> (vector % 32) & 1; }

// An interrupt to itself.
static void send(unsigned vector) {
    APIC(ICR) = 0x40000 | vector;
    // It is on its way until the request shows.
    for (int n = 0; n < 100000 && !requested(vector); n++) {}
}

static void end(void) { APIC(EOI) = 0; }

static void state(const char *name, unsigned vector) {
    put(name);
    put(": requested ");
    hex(requested(vector));
    put(" in service ");
    hex(in_service(vector));
    put(" priority ");
    hex(APIC(PPR));
    put("\n");
}

void interrupts(void) {
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    APIC(SVR) = 0x1ff;
    APIC(LINT0) = 0x10000;
    send(0x41);
    state("sent", 0x41);
    CASE("IF clear", "nop; nop");
    in.flags |= IF;
    CASE("IF set", "nop; nop");
    state("taken", 0x41);
    // The same class waits until the end, a higher one does not.
    send(0x42);
    send(0x51);
    in.flags |= IF;
    CASE("a higher class", "nop; nop");
    in.flags |= IF;
    CASE("nothing above it", "nop; nop");
    state("the same class", 0x42);
    end();
    in.flags |= IF;
    CASE("still the first", "nop; nop");
    end();
    in.flags |= IF;
    CASE("the same class then", "nop; nop");
    end();
    in.flags |= IF;
    CASE("nothing left", "nop; nop");
    // The shadow of `sti`, and where IF is set by others.
    send(0x60);
    CASE("sti", "nop; sti; inc eax; inc eax; cli");
    end();
    send(0x60);
    CASE("sti and cli", "sti; cli; nop");
    in.flags |= IF;
    CASE("waits", "nop");
    end();
    send(0x60);
    CASE("popf", "pushq 0x202; popfq; inc eax; inc eax");
    end();
    send(0x60);
    CASE("iretq", "mov rax, rsp; push 0x10; push rax; pushq 0x202; push 8; lea rax, [rip + 1f]; push rax; iretq; nop; 1: inc ecx; inc ecx");
    end();
    send(0x60);
    CASE("sti; hlt", "sti; hlt; nop");
    end();
    send(0x60);
    user();
    in.flags |= IF;
    CASE("at level 3", "nop; nop");
    end();
    send(0x60);
    compat();
    in.flags |= IF;
    CASE("in 32-bit code", ".code32; nop; nop; ud2");
    end();
    // Priorities.
    for (u64 level = 3; level < 8; level++) {
        in.r[RAX] = level;
        silently(CODE("mov cr8, rax"));
        kernel();
        send(0x55);
        put("cr8 ");
        hex(level);
        put(" tpr ");
        hex(APIC(TPR));
        in.flags |= IF;
        CASE("", "nop; nop");
        put("cr8 ");
        hex(level);
        state(" then", 0x55);
        in.flags |= IF;
        put("cr8 ");
        hex(level);
        CASE(" lowered", "xor eax, eax; mov cr8, rax; inc ecx; nop");
        end();
    }
    APIC(TPR) = 0x6f;
    CASE("cr8 of tpr", "mov rax, cr8");
    APIC(TPR) = 0;
    // While a string instruction runs.
    send(0x61);
    in.flags |= IF;
    in.r[RCX] = 100;
    CASE("before a repetition", "rep lodsb");
    end();
    // The timer, whenever it comes.
    APIC(DIVIDE) = 0xb;
    APIC(TIMER) = 0x70;
    APIC(INITIAL) = 1000;
    in.flags |= IF;
    silently(CODE("1: pause; jmp 1b"));
    say("timer", out.vector);
    kernel();
    say("timer in service", in_service(0x70));
    say("timer's count", APIC(CURRENT));
    end();
    APIC(INITIAL) = 1000;
    CASE("timer and hlt", "sti; hlt; nop");
    end();
    APIC(TIMER) = 0x10070;
    APIC(INITIAL) = 1000;
    while (APIC(CURRENT)) {}
    in.flags |= IF;
    CASE("timer masked", "nop; nop");
    APIC(TIMER) = 0x20070;
    APIC(INITIAL) = 1000;
    for (int n = 0; n < 3; n++) {
        in.flags |= IF;
        silently(CODE("1: pause; jmp 1b"));
        put("periodic ");
        hex(n);
        say("", out.vector);
        kernel();
        end();
    }
    APIC(INITIAL) = 0;
    // One more may have come since: QEMU's clock is the host's.
    while (requested(0x70)) {
        in.flags |= IF;
        silently(CODE("nop; nop"));
        kernel();
        end();
    }
    // A deadline, which QEMU's emulator has not.
    if (!on_qemu) {
        APIC(TIMER) = 0x40071;
        u32 low, high;
        asm volatile("rdtsc" : "=a"(low), "=d"(high));
        wrmsr(0x6e0, (low | (u64)high << 32) + 100000);
        CASE("deadline and hlt", "sti; hlt; nop");
        say("deadline then", rdmsr(0x6e0));
        end();
        wrmsr(0x6e0, 1);
        in.flags |= IF;
        CASE("a deadline that has passed", "nop; nop");
        end();
    }
    // The spurious vector, and an APIC that is off.
    APIC(TIMER) = 0x10000;
    send(0x62);
    APIC(SVR) = 0xff;
    in.flags |= IF;
    CASE("APIC off", "nop; nop");
    APIC(SVR) = 0x1ff;
    in.flags |= IF;
    CASE("APIC on again", "nop; nop");
    end();
    // All masked, the interval timer's line is heard nowhere.
    in.flags |= IF;
    in.r[RCX] = 3000000;
    CASE("8259 masked", "1: dec rcx; jnz 1b");
}

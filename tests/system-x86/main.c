// Set-up, the serial port, and the lines.

#include "guest.h"

struct state in, out;
u64 there;
struct task task __attribute__((aligned(64)));
u64 idt[512] __attribute__((aligned(4096)));
u8 stacks[10][4096] __attribute__((aligned(4096)));
static const char *const STACK_NAMES[10] = {"s", "u", "k", "i1", "i2", "i3", "i4", "i5", "i6", "i7"};
static const char *const REGISTERS[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

void *memset(void *to, int value, u64 n) {
    for (u8 *p = to; n--;) *p++ = value;
    return to;
}

void *memcpy(void *to, const void *from, u64 n) {
    u8 *p = to;
    for (const u8 *q = from; n--;) *p++ = *q++;
    return to;
}

static void character(char c) {
    while (!(inb(0x3fd) & 0x20)) {}
    outb(0x3f8, c);
}

void put(const char *text) {
    while (*text) character(*text++);
}

void hex(u64 value) {
    int shift = 60;
    while (shift > 0 && !(value >> shift)) shift -= 4;
    for (; shift >= 0; shift -= 4) character("0123456789abcdef"[value >> shift & 15]);
}

void say(const char *name, u64 value) {
    put(name);
    put(": ");
    hex(value);
    put("\n");
}

void place(u64 value) {
    for (int n = 0; n < 10; n++) {
        u64 below = TOP(n) - value;
        if (below > 1024) continue;
        put(STACK_NAMES[n]);
        if (below) {
            put("-");
            hex(below);
        }
        return;
    }
    // Before the case itself, which may lie right in front of it.
    if (there && value - there < 32) {
        put("there+");
        hex(value - there);
        return;
    }
    u64 behind = value - in.rip;
    if (behind < 0x1000) {
        put("+");
        hex(behind);
        return;
    }
    hex(value);
}

static void field(const char *name, u64 value) {
    put(" ");
    put(name);
    put("=");
    hex(value);
}

static void pointer(const char *name, u64 value) {
    put(" ");
    put(name);
    put("=");
    place(value);
}

static void registers(u64 cs, u64 ss, u64 rsp) {
    for (int n = 0; n < 16; n++) in.r[n] = 0x0101010101010100 * n + n;
    in.r[RSP] = rsp;
    in.cs = cs;
    in.ss = in.ds = ss;
    in.flags = 2;
}

void kernel(void) { registers(CODE64, DATA, TOP(0)); }
void user(void) { registers(USER64, USER_DATA, TOP(1)); }
void compat(void) {
    registers(USER32, USER_DATA, TOP(1));
    for (int n = 0; n < 16; n++) in.r[n] = (u32)in.r[n];
}

void report(const char *name) {
    put(name);
    put(":");
    field("v", out.vector);
    field("e", out.code);
    pointer("rip", out.rip);
    field("cs", out.cs);
    field("fl", out.flags & ~RF);
    pointer("rsp", out.r[RSP]);
    field("ss", out.ss);
    if (out.cr2 != 0xc2c2) pointer("cr2", out.cr2);
    if (out.dr6 != 0xffff0ff0) field("dr6", out.dr6);
    // The error code's word belongs to the frame.
    u64 vector = out.vector;
    pointer("in", out.frame - (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 ? 8 : 0));
    field("cs", out.inner_cs);
    // QEMU's emulator makes SS null with every interrupt stack, not only with another level (6.14.4).
    int same_level = out.frame - (u64)stacks[3] <= sizeof stacks && (out.cs & 3) == 0;
    if (!same_level) field("ss", out.inner_ss);
    else if (!on_qemu && out.inner_ss != out.ss) field("changed ss", out.inner_ss);
    field("fl", out.inner_flags);
    for (int n = 0; n < 16; n++) {
        if (n != RSP && out.r[n] != in.r[n]) pointer(REGISTERS[n], out.r[n]);
    }
    if (out.ds != in.ds) field("ds", out.ds);
    if (out.es != in.ds) field("es", out.es);
    put("\n");
}

void outcome(u64 value) {
    put(": v=");
    hex(out.vector);
    put(" e=");
    hex(out.code);
    put(out.rip == in.rip ? " at " : " behind ");
    hex(value);
    put("\n");
    kernel();
}

void silently(const void *code) {
    in.rip = (u64)code;
    go();
}

void run(const char *name, const void *code) {
    silently(code);
    report(name);
    kernel();
}

void gate(unsigned vector, u64 entry, unsigned selector, unsigned access, unsigned ist) {
    idt[2 * vector] = (entry & 0xffff) | (u64)selector << 16 | (u64)ist << 32 | (u64)access << 40 |
                      (entry >> 16 & 0xffff) << 48;
    idt[2 * vector + 1] = entry >> 32;
}

void usual_gate(unsigned vector) {
    int open = vector == 3 || vector == 4 || vector == 0x80;
    gate(vector, (u64)vectors + 16 * vector, CODE64, PRESENT | INTERRUPT | (open ? LEVEL3 : 0), vector == 8);
}

// With a stack of its own a fault of level 0 can be taken whatever RSP is.
void own_stacks(int own) {
    for (int n = 12; n <= 14; n++) {
        usual_gate(n);
        if (own) gate(n, (u64)vectors + 16 * n, CODE64, PRESENT | INTERRUPT, 4);
    }
}

static void task_descriptor(unsigned selector, struct task *at, u32 limit, u8 type) {
    u64 base = (u64)at;
    gdt[selector / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | (u64)type << 40 |
                        (u64)(limit >> 16) << 48 | (base >> 24 & 0xff) << 56;
    gdt[selector / 8 + 1] = base >> 32;
}

static const struct {
    const char *name;
    void (*cases)(void);
} GROUPS[] = {
    {"faults", faults},
    {"delivery", delivery},
    {"rights", rights},
    {"rights-without-wp", rights_without_wp},
    {"reserved-bits", reserved_bits},
    {"boundaries", boundaries},
    {"fetches", fetches},
    {"addresses", addresses},
    {"strings", strings},
    {"more-strings", more_strings},
    {"iret", iret_cases},
    {"far", far_cases},
    {"gates", gate_cases},
    {"syscall", syscall_cases},
    {"segments", segments},
    {"control-registers", control_registers},
    {"translations", translations},
    {"changing-code", changing_code},
    {"single-steps", single_steps},
    {"interrupts", interrupts},
    {"triple-fault", triple_fault},
};

static int is_word(const char *text, const char *word) {
    while (*word) {
        if (*text++ != *word++) return 0;
    }
    return *text == 0 || *text == ' ';
}

void main(void) {
    for (int n = 0; n < 256; n++) usual_gate(n);
    struct table idt_register = {4095, (u64)idt};
    asm volatile("lidt %0" : : "m"(idt_register));
    task.rsp[0] = TOP(2);
    task.rsp[1] = TOP(1);
    task.rsp[2] = TOP(1);
    for (int n = 0; n < 7; n++) task.ist[n] = TOP(3 + n);
    task.map = sizeof task;
    task_descriptor(TASK, &task, sizeof task - 1, 0x89);
    task_descriptor(TASK2, &task, sizeof task - 1, 0x89);
    task_descriptor(BUSY, &task, sizeof task - 1, 0x8b);
    asm volatile("ltr %w0" : : "r"(TASK));
    kernel();
    const char *wanted = (const char *)command_line;
    for (unsigned n = 0; n < sizeof GROUPS / sizeof GROUPS[0]; n++) {
        if (is_word(wanted, GROUPS[n].name)) {
            GROUPS[n].cases();
            put("end\n");
            return;
        }
    }
    put("no such group\n");
}

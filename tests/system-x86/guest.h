// What the groups of cases share. A case is a piece of code that is entered with all registers known and left
// by the first exception or interrupt; one line tells what its handler found.

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

// Selectors (boot.S has the table).
enum {
    CODE64 = 0x08,
    DATA = 0x10,
    CODE32 = 0x18,
    USER32 = 0x23,
    USER_DATA = 0x2b,
    USER64 = 0x33,
    TASK = 0x38,
    LDT = 0x48,
    NO_CODE = 0x58,
    NO_DATA = 0x60,
    CONFORMING = 0x68,
    READ_ONLY = 0x70,
    UNREADABLE = 0x7b,
    BOTH = 0x80,
    NO_USER_DATA = 0x8b,
    NO_USER_CODE = 0x93,
    TASK2 = 0x98,
    BUSY = 0xa8,
    CODE_1 = 0xb8,
    DATA_1 = 0xc0,
    SMALL = 0xcb,
    CALL_GATE = 0xd0,
    A_GATE = 0xe0,
    FRESH_DATA = 0xf3,
    FRESH_CODE = 0xfb,
    DOWNWARDS = 0x100,
    OLD_TASK = 0x108,
    BEYOND = 0x200,
};

enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, TF = 0x100, IF = 0x200, DF = 0x400, OF = 0x800 };
enum { IOPL3 = 0x3000, NT = 0x4000, RF = 0x10000, AC = 0x40000 };

// Offsets are boot.S's.
struct state {
    u64 r[16];                  // 0
    u64 rip, cs, flags, ss, ds; // 128
    u64 vector, code;           // 168
    u64 frame;                  // 184: where the frame was pushed
    u64 inner_cs, inner_flags, inner_ss; // 192: in the handler
    u64 es, fs, gs;             // 216
    u64 cr2, dr6;               // 240
};

extern struct state in, out;
// Where cases are meant to go to.
extern u64 there;
extern u64 command_line, on_qemu;
extern u64 gdt[], boot_tables[];
extern struct __attribute__((packed)) table {
    u16 limit;
    u64 base;
} gdt_register;
extern const char vectors[];

struct __attribute__((packed)) task {
    u32 reserved;
    u64 rsp[3], reserved2, ist[7], reserved3;
    u16 reserved4, map;
    u8 bitmap[0x2001];
};
extern struct task task;
extern u64 idt[512];
// Stacks by number: 0 for the system's cases, 1 for the user's, 2 that of level 0 in the task state, 3 to 9
// the interrupt stacks 1 to 7.
extern u8 stacks[10][4096];
#define TOP(n) ((u64)stacks[n] + 4096)

void go(void);
void *memset(void *to, int value, u64 n);
void *memcpy(void *to, const void *from, u64 n);
void put(const char *text);
void hex(u64 value);

// A line of its own: a name and a value.
void say(const char *name, u64 value);
// What a pointer points to, where it is known.
void place(u64 value);
// Registers for the next case: of level 0, of level 3, of 32-bit code of level 3.
void kernel(void);
void user(void);
void compat(void);
// Runs the code with `in`, says what came of it, and prepares for the next case of level 0.
void run(const char *name, const void *code);
// The same without a word.
void silently(const void *code);
// One line about `out`; the short one leaves out what is usual.
void report(const char *name);
// Only which exception there was, and a value; prepares for the next case of level 0.
void outcome(u64 value);

// A piece of code, in Intel's syntax, followed by `ud2`.
#define CODE(text)                                                                                       \
    ({                                                                                                   \
        void *code_;                                                                                     \
        asm volatile(".pushsection .cases, \"ax\"\n .p2align 4\n .intel_syntax noprefix\n .Lcase%=: " text \
                     "\n .code64\n ud2\n .att_syntax prefix\n .popsection\n movl $.Lcase%=, %k0"         \
                     : "=r"(code_));                                                                     \
        code_;                                                                                           \
    })
#define CASE(name, text) run(name, CODE(text))

// Interrupt gates.
void gate(unsigned vector, u64 entry, unsigned selector, unsigned access, unsigned ist);
void usual_gate(unsigned vector);
void own_stacks(int own);
enum { PRESENT = 0x80, LEVEL3 = 0x60, INTERRUPT = 0xe, TRAP = 0xf };

static inline u64 read_cr0(void) { u64 v; asm volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline u64 read_cr3(void) { u64 v; asm volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline u64 read_cr4(void) { u64 v; asm volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr0(u64 v) { asm volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }
static inline void write_cr3(u64 v) { asm volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr4(u64 v) { asm volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static inline void outb(u16 port, u8 v) { asm volatile("outb %0, %1" : : "a"(v), "d"(port)); }
static inline u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "d"(port)); return v; }
static inline u64 rdmsr(u32 n) {
    u32 low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(n));
    return low | (u64)high << 32;
}
static inline void wrmsr(u32 n, u64 v) { asm volatile("wrmsr" : : "c"(n), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
static inline void flush(void) { write_cr3(read_cr3()); }

// The groups.
void faults(void);
void delivery(void);
void rights(void);
void rights_without_wp(void);
void reserved_bits(void);
void boundaries(void);
void fetches(void);
void addresses(void);
void strings(void);
void more_strings(void);
void iret_cases(void);
void far_cases(void);
void gate_cases(void);
void syscall_cases(void);
void segments(void);
void control_registers(void);
void translations(void);
void changing_code(void);
void single_steps(void);
void interrupts(void);
void triple_fault(void);

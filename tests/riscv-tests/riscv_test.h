/* What the riscv-tests expect of their environment, for a machine with S and U mode and an SBI.
 *
 * A test starts in S mode with translation off. User tests continue in U mode at `userstart`, where a caller
 * that serves their ecall itself may also start them. A test ends with the SBI's system reset: reason 0 when
 * it passed, 1 when it failed, its number in gp. Traps that the test does not expect end it with 1337.
 */
#ifndef RISCV_TEST_H
#define RISCV_TEST_H

#define TESTNUM gp

/* Privileged manual, "Supervisor CSRs". */
#define CAUSE_MISALIGNED_FETCH 0
#define CAUSE_ILLEGAL_INSTRUCTION 2
#define CAUSE_BREAKPOINT 3
#define CAUSE_MISALIGNED_LOAD 4
#define CAUSE_MISALIGNED_STORE 6
#define CAUSE_USER_ECALL 8
#define SSTATUS_SIE 0x00000002
#define SSTATUS_SPP 0x00000100
#define SSTATUS_FS 0x00006000
#define SSTATUS_FS_INITIAL 0x00002000
#define SSTATUS_UXL 0x0000000300000000
#define SIP_SSIP 0x00000002

#define END_TEST(failed)                                                                                               \
    li a7, 0x53525354;                                                                                                 \
    li a6, 0;                                                                                                          \
    li a0, 0;                                                                                                          \
    li a1, failed;                                                                                                     \
    ecall

#define GO_TO_USER_MODE                                                                                                \
    li t0, SSTATUS_SPP;                                                                                                \
    csrc sstatus, t0;                                                                                                  \
    la t0, userstart;                                                                                                  \
    csrw sepc, t0;                                                                                                     \
    sret;                                                                                                              \
    .globl userstart;                                                                                                  \
    userstart:

#define RVTEST_RV64U                                                                                                   \
    .macro init;                                                                                                       \
    GO_TO_USER_MODE;                                                                                                   \
    .endm

#define RVTEST_RV64UF                                                                                                  \
    .macro init;                                                                                                       \
    li a0, SSTATUS_FS_INITIAL;                                                                                         \
    csrs sstatus, a0;                                                                                                  \
    GO_TO_USER_MODE;                                                                                                   \
    csrwi fcsr, 0;                                                                                                     \
    .endm

#define RVTEST_RV64S                                                                                                   \
    .macro init;                                                                                                       \
    .endm

/* In U mode `ecall` ends the test: its registers are those of the SBI's call in END_TEST. */
#define RVTEST_CODE_BEGIN                                                                                              \
    .text;                                                                                                             \
    .weak stvec_handler;                                                                                               \
    .globl _start;                                                                                                     \
    _start:                                                                                                            \
    li TESTNUM, 0;                                                                                                     \
    la t0, stvec_handler;                                                                                              \
    bnez t0, 1f;                                                                                                       \
    la t0, 2f;                                                                                                         \
    1:                                                                                                                 \
    csrw stvec, t0;                                                                                                    \
    j 4f;                                                                                                              \
    .align 2;                                                                                                          \
    2:                                                                                                                 \
    csrr t5, scause;                                                                                                   \
    li t6, CAUSE_USER_ECALL;                                                                                           \
    bne t5, t6, 3f;                                                                                                    \
    ecall;                                                                                                             \
    3:                                                                                                                 \
    li TESTNUM, 1337;                                                                                                  \
    END_TEST(1);                                                                                                       \
    4:                                                                                                                 \
    init

#define RVTEST_CODE_END unimp

#define RVTEST_PASS                                                                                                    \
    li TESTNUM, 1;                                                                                                     \
    END_TEST(0)

#define RVTEST_FAIL END_TEST(1)

#define RVTEST_DATA_BEGIN .align 4
#define RVTEST_DATA_END

#endif

//! The table of the interpreter's fast path: all that is known of its kinds of entry, one row for each.
//!
//! An instruction that runs often has a predecoded form of its own, a [`Kind`](super::kind::Kind); every
//! other one is executed by its family's function ([`super::family`]), which is complete, plain, and what a
//! kind must agree with. From this table come the enum of the kinds and their facts ([`super::kind`]), the
//! choice of a kind for a decoded instruction ([`super::select`]), what is done about a conditional jump that
//! follows a comparison ([`super::kind`]), and the arms of the interpreter's one `match` ([`super::switch`]).
//! So a kind is added, changed or dropped here, and nowhere else.
//!
//! # To add an entry
//!
//! Suppose that profiles show many `xchg` of 32-bit registers. It touches no flags and goes on with the next
//! instruction, so it is a row in the first group of `selected`:
//!
//! ```text
//! XchgRr32: Xchg, [R32, R32] => {
//!     let (a, b) = (rd!(u32, e.d), rd!(u32, e.s));
//!     wr!(u32, e.d, b);
//!     wr!(u32, e.s, a);
//!     next!();
//! };
//! ```
//!
//! 1. *Name* of the kind: mnemonic, operands (`r` register, `m` memory, `i` immediate, destination first),
//!    size in bits.
//! 2. *Instruction*: iced-x86's mnemonics, as alternatives. `Je`, `Sete` and `Cmove` stand for all sixteen
//!    conditions.
//! 3. *Operands*, as the manual writes them: each position one or more of the classes of
//!    [`Operand`](super::kind::Operand), which says as well where in the entry the operand is. `any`:
//!    whatever they are. `where` restricts the row to some encodings, for instructions whose operands do not
//!    show their size.
//! 4. *Body*: what the interpreter does, in the operations that [`super::switch`] defines (`rd!` and `wr!` of
//!    registers, `load!`, `store!`, `next!`, ...). `e` is the entry, `h` the processor. A body that meets
//!    what it cannot do (`slow!`, and all that accesses memory) must have changed nothing until then: the
//!    instruction is executed again, or by its family.
//!
//! The group says which flags its entries read and write, in which form they leave them, and where control
//! goes. An entry with an operand in memory or in an XMM register may need its family (`faults BY_OPERAND`);
//! others that may are marked `faults ALWAYS`. If the facts of no group fit, open one.
//!
//! `cargo test -p forelift-runtime fast_path` then compares the row with what iced-x86 knows of the
//! instruction, and finds rows that no instruction reaches or that claim another row's instructions; the
//! tests of `tests/oracle` compare what it does with the host's processor.
//!
//! # The other sections
//!
//! - `internal`: entries that are no instructions.
//! - `jumps`: conditional jumps after flags of a known form, which the decoder uses instead of `Jcc`. A row
//!   has the conditions that it serves (after a logical operation, `be` is `e`, because there is no carry).
//! - `fused`: a comparison and the conditional jump that follows it, as one entry: the block names the
//!   comparison, the row the conditions. Its immediate is in `disp`, since `imm` is the jump's target.
//! - `quiet`: what replaces a kind whose flags are overwritten before anything can look at them.
//!
//! # Why bodies are in the table, and operations are not
//!
//! Bodies are short, and differ in what the row says anyway. The operations work on the interpreter's local
//! variables (the entry, the budget, the TLB's tables), which macros can reach only where these are: in the
//! function. That is why the table is a macro that hands its rows to another one, and why it hands over the
//! names `e` and `h` with them: a name in a macro means what it means where it is written.

/// Hands the table to the macro `$use`. See the module's documentation.
macro_rules! fast_path {
    ($use:ident) => { $use! { e h;

    internal {
        /// Entry 0 of the arena: a branch whose target has not been looked up yet.
        Unlinked: Next => link!();
        /// End of a block that goes on at `imm` in the same page.
        Next: End => take!(e);
        /// An instruction that is left to its family's function: `imm` is its index among the cache's
        /// instructions.
        Family: Next => slow!(e);
    }
    selected {
        // Moves and extensions. The number is the size in bits.
        reads NONE, writes NONE, leaves Kept, then Next, faults BY_OPERAND {
            MovRr8: Mov, [R8, R8] => set!(e, u8, rd!(u8, e.s));
            MovRr16: Mov, [R16, R16] => set!(e, u16, rd!(u16, e.s));
            MovRr32: Mov, [R32, R32] => set!(e, u32, rd!(u32, e.s));
            MovRr64: Mov, [R64, R64] => set!(e, u64, rd!(u64, e.s));
            MovRi8: Mov, [R8, I8] => set!(e, u8, e.imm as u8);
            MovRi16: Mov, [R16, I16] => set!(e, u16, e.imm as u16);
            MovRi32: Mov, [R32, I32] => set!(e, u32, e.imm as u32);
            MovRi64: Mov, [R64, I64] => set!(e, u64, imm!(e));
            /// The upper half of the immediate is in `disp`.
            MovRi64Wide: Mov, [R64, Wide] => set!(e, u64, u64::from(e.imm as u32) | (e.disp as u64) << 32);
            MovRm8: Mov, [R8, M8] => set!(e, u8, load!(e, u8));
            MovRm16: Mov, [R16, M16] => set!(e, u16, load!(e, u16));
            MovRm32: Mov, [R32, M32] => set!(e, u32, load!(e, u32));
            MovRm64: Mov, [R64, M64] => set!(e, u64, load!(e, u64));
            MovMr8: Mov, [M8, R8] => store!(e, u8, rd!(u8, e.s));
            MovMr16: Mov, [M16, R16] => store!(e, u16, rd!(u16, e.s));
            MovMr32: Mov, [M32, R32] => store!(e, u32, rd!(u32, e.s));
            MovMr64: Mov, [M64, R64] => store!(e, u64, rd!(u64, e.s));
            MovMi8: Mov, [M8, I8] => store!(e, u8, e.imm as u8);
            MovMi16: Mov, [M16, I16] => store!(e, u16, e.imm as u16);
            MovMi32: Mov, [M32, I32] => store!(e, u32, e.imm as u32);
            MovMi64: Mov, [M64, I64] => store!(e, u64, imm!(e));
            Zx8R: Movzx, [R32 | R64, R8] => set!(e, u32, rd!(u8, e.s).into());
            Zx16R: Movzx, [R32 | R64, R16] => set!(e, u32, rd!(u16, e.s).into());
            Zx8M: Movzx, [R32 | R64, M8] => set!(e, u32, load!(e, u8).into());
            Zx16M: Movzx, [R32 | R64, M16] => set!(e, u32, load!(e, u16).into());
            Sx8R32: Movsx, [R32, R8] => set!(e, u32, rd!(u8, e.s).sx() as u32);
            Sx8R64: Movsx, [R64, R8] => set!(e, u64, rd!(u8, e.s).sx());
            Sx16R32: Movsx, [R32, R16] => set!(e, u32, rd!(u16, e.s).sx() as u32);
            Sx16R64: Movsx, [R64, R16] => set!(e, u64, rd!(u16, e.s).sx());
            Sx32R64: Movsxd, [R64, R32] => set!(e, u64, rd!(u32, e.s).sx());
            Sx8M32: Movsx, [R32, M8] => set!(e, u32, load!(e, u8).sx() as u32);
            Sx8M64: Movsx, [R64, M8] => set!(e, u64, load!(e, u8).sx());
            Sx16M32: Movsx, [R32, M16] => set!(e, u32, load!(e, u16).sx() as u32);
            Sx16M64: Movsx, [R64, M16] => set!(e, u64, load!(e, u16).sx());
            Sx32M64: Movsxd, [R64, M32] => set!(e, u64, load!(e, u32).sx());
            Lea32: Lea, [R32, M] => set!(e, u32, address!(e) as u32);
            Lea64: Lea, [R64, M] => set!(e, u64, address!(e));
            Nop: Nop | Endbr64 | Pause, any => next!();
            Cdqe: Cdqe, [] => put!(0, ((*h).r[0] as u32).sx());
            Cdq: Cdq, [] => put!(2, u64::from(((*h).r[0] as i32 >> 31) as u32));
            Cqo: Cqo, [] => put!(2, ((*h).r[0] as i64 >> 63) as u64);
            Bswap32: Bswap, [R32] => set!(e, u32, rd!(u32, e.d).swap_bytes());
            Bswap64: Bswap, [R64] => set!(e, u64, rd!(u64, e.d).swap_bytes());
            XchgRr64: Xchg, [R64, R64] => {
                let (a, b) = (rd!(u64, e.d), rd!(u64, e.s));
                wr!(u64, e.d, b);
                wr!(u64, e.s, a);
                next!();
            };
            Not32: Not, [R32] => set!(e, u32, !rd!(u32, e.d));
            Not64: Not, [R64] => set!(e, u64, !rd!(u64, e.d));
        }
        // Increment and decrement leave CF.
        reads NONE, writes NOT_CARRY, leaves Other, then Next, faults BY_OPERAND {
            Inc32: Inc, [R32] => step_r!(e, u32, wrapping_add, 1 << 31, 0);
            Inc64: Inc, [R64] => step_r!(e, u64, wrapping_add, 1 << 63, 0);
            Dec32: Dec, [R32] => step_r!(e, u32, wrapping_sub, u32::MAX >> 1, 15);
            Dec64: Dec, [R64] => step_r!(e, u64, wrapping_sub, u64::MAX >> 1, 15);
            IncM32: Inc, [M32] => step_m!(e, u32, wrapping_add, 1 << 31, 0);
            IncM64: Inc, [M64] => step_m!(e, u64, wrapping_add, 1 << 63, 0);
            DecM32: Dec, [M32] => step_m!(e, u32, wrapping_sub, u32::MAX >> 1, 15);
            DecM64: Dec, [M64] => step_m!(e, u64, wrapping_sub, u64::MAX >> 1, 15);
        }
        // A negation is a subtraction from 0.
        reads NONE, writes ALL, leaves Sub, then Next, faults BY_OPERAND {
            Neg32: Neg, [R32] => neg!(e, u32);
            Neg64: Neg, [R64] => neg!(e, u64);
        }
        // Additions with carry, subtractions with borrow.
        reads CARRY, writes ALL, leaves Other, then Next, faults BY_OPERAND {
            AdcRr32: Adc, [R32, R32] => carry_op!(e, u32, of_add, wrapping_add, rd!(u32, e.s));
            AdcRr64: Adc, [R64, R64] => carry_op!(e, u64, of_add, wrapping_add, rd!(u64, e.s));
            AdcRi32: Adc, [R32, I32] => carry_op!(e, u32, of_add, wrapping_add, e.imm as u32);
            AdcRi64: Adc, [R64, I64] => carry_op!(e, u64, of_add, wrapping_add, imm!(e));
            AdcRm64: Adc, [R64, M64] => carry_op!(e, u64, of_add, wrapping_add, load!(e, u64));
            SbbRr32: Sbb, [R32, R32] => carry_op!(e, u32, of_sub, wrapping_sub, rd!(u32, e.s));
            SbbRr64: Sbb, [R64, R64] => carry_op!(e, u64, of_sub, wrapping_sub, rd!(u64, e.s));
            SbbRi32: Sbb, [R32, I32] => carry_op!(e, u32, of_sub, wrapping_sub, e.imm as u32);
            SbbRi64: Sbb, [R64, I64] => carry_op!(e, u64, of_sub, wrapping_sub, imm!(e));
            SbbRm64: Sbb, [R64, M64] => carry_op!(e, u64, of_sub, wrapping_sub, load!(e, u64));
        }
        // Shifts by an immediate, which is in `imm`.
        reads NONE, writes ALL, leaves Other, then Next, faults BY_OPERAND {
            ShlRi16: Shl | Sal, [R16, Count] => shl!(e, u16, e.imm as u32);
            ShlRi32: Shl | Sal, [R32, Count] => shl!(e, u32, e.imm as u32);
            ShlRi64: Shl | Sal, [R64, Count] => shl!(e, u64, e.imm as u32);
            ShrRi16: Shr, [R16, Count] => shr!(e, u16, e.imm as u32);
            ShrRi32: Shr, [R32, Count] => shr!(e, u32, e.imm as u32);
            ShrRi64: Shr, [R64, Count] => shr!(e, u64, e.imm as u32);
            SarRi16: Sar, [R16, Count] => sar!(e, u16, i16, e.imm as u32);
            SarRi32: Sar, [R32, Count] => sar!(e, u32, i32, e.imm as u32);
            SarRi64: Sar, [R64, Count] => sar!(e, u64, i64, e.imm as u32);
        }
        // Shifts by CL. A count of 0 keeps the flags: that counts as reading them.
        reads ALL, writes ALL, leaves Other, then Next, faults BY_OPERAND {
            ShlCl32: Shl | Sal, [R32, R8] => by_cl!(e, u32, shl);
            ShlCl64: Shl | Sal, [R64, R8] => by_cl!(e, u64, shl);
            ShrCl32: Shr, [R32, R8] => by_cl!(e, u32, shr);
            ShrCl64: Shr, [R64, R8] => by_cl!(e, u64, shr);
            SarCl32: Sar, [R32, R8] => by_cl!(e, u32, sar, i32);
            SarCl64: Sar, [R64, R8] => by_cl!(e, u64, sar, i64);
        }
        // Rotations by an immediate.
        reads NONE, writes CARRY_OVERFLOW, leaves Other, then Next, faults BY_OPERAND {
            RolRi32: Rol, [R32, Count] => rotate!(e, u32, rotate_left, |r| r, r ^ r >> 31);
            RolRi64: Rol, [R64, Count] => rotate!(e, u64, rotate_left, |r| r, r ^ r >> 63);
            RorRi32: Ror, [R32, Count] => rotate!(e, u32, rotate_right, |r| r >> 31, r >> 31 ^ r >> 30);
            RorRi64: Ror, [R64, Count] => rotate!(e, u64, rotate_right, |r| r >> 63, r >> 63 ^ r >> 62);
        }
        // Multiplications.
        reads NONE, writes ALL, leaves Other, then Next, faults BY_OPERAND {
            ImulRr32: Imul, [R32, R32] => imul!(e, u32, i32, i64, rd!(u32, e.d), rd!(u32, e.s));
            ImulRr64: Imul, [R64, R64] => imul!(e, u64, i64, i128, rd!(u64, e.d), rd!(u64, e.s));
            ImulRm32: Imul, [R32, M32] => imul!(e, u32, i32, i64, load!(e, u32), rd!(u32, e.d));
            ImulRm64: Imul, [R64, M64] => imul!(e, u64, i64, i128, load!(e, u64), rd!(u64, e.d));
            ImulRri32: Imul, [R32, R32, I32] => imul!(e, u32, i32, i64, rd!(u32, e.s), e.imm as u32);
            ImulRri64: Imul, [R64, R64, I64] => imul!(e, u64, i64, i128, rd!(u64, e.s), imm!(e));
            Mul32: Mul, [R32] => {
                let wide = ((*h).r[0] & 0xffff_ffff) * u64::from(rd!(u32, e.s));
                ((*h).r[0], (*h).r[2]) = (wide & 0xffff_ffff, wide >> 32);
                let lost = u64::from(wide >> 32 != 0);
                flags!(RESULT, (wide as u32).sx(), lost | lost << 11);
                next!();
            };
            Mul64: Mul, [R64] => {
                let wide = u128::from((*h).r[0]) * u128::from(rd!(u64, e.s));
                ((*h).r[0], (*h).r[2]) = (wide as u64, (wide >> 64) as u64);
                let lost = u64::from(wide >> 64 != 0);
                flags!(RESULT, wide as u64, lost | lost << 11);
                next!();
            };
        }
        // Bit tests. (Other flags are undefined, but for ZF; they are kept.)
        reads NONE, writes CARRY, leaves Other, then Next, faults BY_OPERAND {
            BtRi32: Bt, [R32, Count | Zero] => bit!(e, u32, e.imm as u32);
            BtRi64: Bt, [R64, Count | Zero] => bit!(e, u64, e.imm as u32);
            BtRr32: Bt, [R32, R32] => bit!(e, u32, rd!(u32, e.s));
            BtRr64: Bt, [R64, R64] => bit!(e, u64, rd!(u32, e.s));
        }
        // The condition's number is in `imm`.
        reads ALL, writes NONE, leaves Kept, then Next, faults BY_OPERAND {
            Setcc: Sete, [R8] => set!(e, u8, u8::from((*h).flags.condition(e.imm as u8)));
            Cmov32: Cmove, [R32, R32] => cmov!(e, u32, rd!(u32, e.s));
            Cmov64: Cmove, [R64, R64] => cmov!(e, u64, rd!(u64, e.s));
            CmovM32: Cmove, [R32, M32] => cmov!(e, u32, load!(e, u32));
            CmovM64: Cmove, [R64, M64] => cmov!(e, u64, load!(e, u64));
        }
        // A conditional jump that computes its condition, whose number is in `s`, from any form of flags.
        reads ALL, writes NONE, leaves Kept, then Branch, faults BY_OPERAND {
            Jcc: Je, [Rel64 | Rel32] => branch!(e, (*h).flags.condition(e.s));
        }
        // A jump to a known target, in `imm`.
        reads NONE, writes NONE, leaves Kept, then End, faults BY_OPERAND {
            Jmp: Jmp, [Rel64 | Rel32] => take!(e);
        }
        // Other transfers of control.
        reads NONE, writes NONE, leaves Kept, then End, faults ALWAYS {
            JmpR: Jmp, [R64] => jump!(e, rd!(u64, e.s));
            JmpM: Jmp, [M64] => jump!(e, load!(e, u64));
            Call: Call, [Rel64] => push!(e, after!(e), take!(e));
            CallR: Call, [R64] => call!(e, rd!(u64, e.s));
            // The target's page and the stack's may share a slot of the TLB: entering one after the other
            // would never end. So a stack that misses is left to the family.
            CallM: Call, [M64] => call!(e, load!(e, u64), 0);
            Ret: Ret, [] | [I16] where Retnq | Retnq_imm16 => {
                let rip = memory!(e, Load, (*h).r[4], u64).read_unaligned();
                if !is_canonical(rip) {
                    slow!(e);
                }
                (*h).r[4] = (*h).r[4].wrapping_add(8).wrapping_add(imm!(e));
                charge!(e);
                go!(rip);
            };
        }
        // The stack.
        reads NONE, writes NONE, leaves Kept, then Next, faults ALWAYS {
            PushR: Push, [R64] => push!(e, rd!(u64, e.s), next!());
            PushI: Push, [I64] => push!(e, imm!(e), next!());
            PopR: Pop, [R64] => {
                let value = memory!(e, Load, (*h).r[4], u64).read_unaligned();
                (*h).r[4] = (*h).r[4].wrapping_add(8);
                set!(e, u64, value)
            };
            Leave: Leave, [] where Leaveq => {
                let frame = (*h).r[5];
                let value = memory!(e, Load, frame, u64).read_unaligned();
                (*h).r[4] = frame.wrapping_add(8);
                (*h).r[5] = value;
                next!();
            };
        }
        // SSE. Offsets of registers are those in the XMM registers.
        reads NONE, writes NONE, leaves Kept, then Next, faults BY_OPERAND {
            MovX: Movups | Movupd | Movdqu | Movaps | Movapd | Movdqa, [X, X] =>
                sse!(e, pairwise!(e, |_a, b| b));
            MovXm: Movups | Movupd | Movdqu, [X, M128] => sse!(e, set_xmm!(e, load!(e, [u64; 2])));
            MovMx: Movups | Movupd | Movdqu, [M128, X] => sse!(e, store!(e, [u64; 2], xmm!(e.s)));
            MovXmAligned: Movaps | Movapd | Movdqa, [X, M128] => aligned!(e, set_xmm!(e, load!(e, [u64; 2])));
            MovMxAligned: Movaps | Movapd | Movdqa, [M128, X] => aligned!(e, store!(e, [u64; 2], xmm!(e.s)));
            MovqXm: Movq | Movsd, [X, M64] => sse!(e, set_xmm!(e, [load!(e, u64), 0]));
            MovqMx: Movq | Movsd, [M64, X] => sse!(e, store!(e, u64, xmm!(e.s)[0]));
            MovqXx: Movq, [X, X] => sse!(e, pairwise!(e, |_a, b| [b[0], 0]));
            MovsdXx: Movsd, [X, X] => sse!(e, pairwise!(e, |a, b| [b[0], a[1]]));
            MovqXr: Movq, [X, R64] => sse!(e, set_xmm!(e, [rd!(u64, e.s), 0]));
            MovqRx: Movq, [R64, X] => sse!(e, set!(e, u64, xmm!(e.s)[0]));
            MovdXm: Movd | Movss, [X, M32] => sse!(e, set_xmm!(e, [load!(e, u32).into(), 0]));
            MovdMx: Movd | Movss, [M32, X] => sse!(e, store!(e, u32, xmm!(e.s)[0] as u32));
            MovdXr: Movd, [X, R32] => sse!(e, set_xmm!(e, [rd!(u32, e.s).into(), 0]));
            MovdRx: Movd, [R32, X] => sse!(e, set!(e, u32, xmm!(e.s)[0] as u32));
            Pxor: Pxor | Xorps | Xorpd, [X, X] => sse!(e, pairwise!(e, |a, b| [a[0] ^ b[0], a[1] ^ b[1]]));
            Por: Por | Orps | Orpd, [X, X] => sse!(e, pairwise!(e, |a, b| [a[0] | b[0], a[1] | b[1]]));
            Pand: Pand | Andps | Andpd, [X, X] => sse!(e, pairwise!(e, |a, b| [a[0] & b[0], a[1] & b[1]]));
            PcmpeqbXx: Pcmpeqb, [X, X] => sse!(e, bytewise!(e, xmm!(e.s, [u8; 16]), pcmpeqb));
            PcmpeqbXm: Pcmpeqb, [X, M128] => aligned!(e, bytewise!(e, load!(e, [u8; 16]), pcmpeqb));
            PminubXx: Pminub, [X, X] => sse!(e, bytewise!(e, xmm!(e.s, [u8; 16]), pminub));
            PmovmskbRx: Pmovmskb, [R32 | R64, X] => sse!(e, set!(e, u32, signs!(e)));
        }
        reads NONE, writes ALL, leaves Other, then Next, faults BY_OPERAND {
            AddRr8: Add, [R8, R8] => rr!(e, u8, add);
            AddRi8: Add, [R8, I8] => ri!(e, u8, add);
            AddRm8: Add, [R8, M8] => rm!(e, u8, add);
            AddMr8: Add, [M8, R8] => mr!(e, u8, add);
            AddMi8: Add, [M8, I8] => mi!(e, u8, add);
            AddRr16: Add, [R16, R16] => rr!(e, u16, add);
            AddRi16: Add, [R16, I16] => ri!(e, u16, add);
            AddRm16: Add, [R16, M16] => rm!(e, u16, add);
            AddMr16: Add, [M16, R16] => mr!(e, u16, add);
            AddMi16: Add, [M16, I16] => mi!(e, u16, add);
            AddRr32: Add, [R32, R32] => rr!(e, u32, add);
            AddRi32: Add, [R32, I32] => ri!(e, u32, add);
            AddRm32: Add, [R32, M32] => rm!(e, u32, add);
            AddMr32: Add, [M32, R32] => mr!(e, u32, add);
            AddMi32: Add, [M32, I32] => mi!(e, u32, add);
            AddRr64: Add, [R64, R64] => rr!(e, u64, add);
            AddRi64: Add, [R64, I64] => ri!(e, u64, add);
            AddRm64: Add, [R64, M64] => rm!(e, u64, add);
            AddMr64: Add, [M64, R64] => mr!(e, u64, add);
            AddMi64: Add, [M64, I64] => mi!(e, u64, add);
        }
        reads NONE, writes ALL, leaves Logic, then Next, faults BY_OPERAND {
            OrRr8: Or, [R8, R8] => rr!(e, u8, or);
            OrRi8: Or, [R8, I8] => ri!(e, u8, or);
            OrRm8: Or, [R8, M8] => rm!(e, u8, or);
            OrMr8: Or, [M8, R8] => mr!(e, u8, or);
            OrMi8: Or, [M8, I8] => mi!(e, u8, or);
            OrRr16: Or, [R16, R16] => rr!(e, u16, or);
            OrRi16: Or, [R16, I16] => ri!(e, u16, or);
            OrRm16: Or, [R16, M16] => rm!(e, u16, or);
            OrMr16: Or, [M16, R16] => mr!(e, u16, or);
            OrMi16: Or, [M16, I16] => mi!(e, u16, or);
            OrRr32: Or, [R32, R32] => rr!(e, u32, or);
            OrRi32: Or, [R32, I32] => ri!(e, u32, or);
            OrRm32: Or, [R32, M32] => rm!(e, u32, or);
            OrMr32: Or, [M32, R32] => mr!(e, u32, or);
            OrMi32: Or, [M32, I32] => mi!(e, u32, or);
            OrRr64: Or, [R64, R64] => rr!(e, u64, or);
            OrRi64: Or, [R64, I64] => ri!(e, u64, or);
            OrRm64: Or, [R64, M64] => rm!(e, u64, or);
            OrMr64: Or, [M64, R64] => mr!(e, u64, or);
            OrMi64: Or, [M64, I64] => mi!(e, u64, or);
        }
        reads NONE, writes ALL, leaves Logic, then Next, faults BY_OPERAND {
            AndRr8: And, [R8, R8] => rr!(e, u8, and);
            AndRi8: And, [R8, I8] => ri!(e, u8, and);
            AndRm8: And, [R8, M8] => rm!(e, u8, and);
            AndMr8: And, [M8, R8] => mr!(e, u8, and);
            AndMi8: And, [M8, I8] => mi!(e, u8, and);
            AndRr16: And, [R16, R16] => rr!(e, u16, and);
            AndRi16: And, [R16, I16] => ri!(e, u16, and);
            AndRm16: And, [R16, M16] => rm!(e, u16, and);
            AndMr16: And, [M16, R16] => mr!(e, u16, and);
            AndMi16: And, [M16, I16] => mi!(e, u16, and);
            AndRr32: And, [R32, R32] => rr!(e, u32, and);
            AndRi32: And, [R32, I32] => ri!(e, u32, and);
            AndRm32: And, [R32, M32] => rm!(e, u32, and);
            AndMr32: And, [M32, R32] => mr!(e, u32, and);
            AndMi32: And, [M32, I32] => mi!(e, u32, and);
            AndRr64: And, [R64, R64] => rr!(e, u64, and);
            AndRi64: And, [R64, I64] => ri!(e, u64, and);
            AndRm64: And, [R64, M64] => rm!(e, u64, and);
            AndMr64: And, [M64, R64] => mr!(e, u64, and);
            AndMi64: And, [M64, I64] => mi!(e, u64, and);
        }
        reads NONE, writes ALL, leaves Sub, then Next, faults BY_OPERAND {
            SubRr8: Sub, [R8, R8] => rr!(e, u8, sub);
            SubRi8: Sub, [R8, I8] => ri!(e, u8, sub);
            SubRm8: Sub, [R8, M8] => rm!(e, u8, sub);
            SubMr8: Sub, [M8, R8] => mr!(e, u8, sub);
            SubMi8: Sub, [M8, I8] => mi!(e, u8, sub);
            SubRr16: Sub, [R16, R16] => rr!(e, u16, sub);
            SubRi16: Sub, [R16, I16] => ri!(e, u16, sub);
            SubRm16: Sub, [R16, M16] => rm!(e, u16, sub);
            SubMr16: Sub, [M16, R16] => mr!(e, u16, sub);
            SubMi16: Sub, [M16, I16] => mi!(e, u16, sub);
            SubRr32: Sub, [R32, R32] => rr!(e, u32, sub);
            SubRi32: Sub, [R32, I32] => ri!(e, u32, sub);
            SubRm32: Sub, [R32, M32] => rm!(e, u32, sub);
            SubMr32: Sub, [M32, R32] => mr!(e, u32, sub);
            SubMi32: Sub, [M32, I32] => mi!(e, u32, sub);
            SubRr64: Sub, [R64, R64] => rr!(e, u64, sub);
            SubRi64: Sub, [R64, I64] => ri!(e, u64, sub);
            SubRm64: Sub, [R64, M64] => rm!(e, u64, sub);
            SubMr64: Sub, [M64, R64] => mr!(e, u64, sub);
            SubMi64: Sub, [M64, I64] => mi!(e, u64, sub);
        }
        reads NONE, writes ALL, leaves Logic, then Next, faults BY_OPERAND {
            XorRr8: Xor, [R8, R8] => rr!(e, u8, xor);
            XorRi8: Xor, [R8, I8] => ri!(e, u8, xor);
            XorRm8: Xor, [R8, M8] => rm!(e, u8, xor);
            XorMr8: Xor, [M8, R8] => mr!(e, u8, xor);
            XorMi8: Xor, [M8, I8] => mi!(e, u8, xor);
            XorRr16: Xor, [R16, R16] => rr!(e, u16, xor);
            XorRi16: Xor, [R16, I16] => ri!(e, u16, xor);
            XorRm16: Xor, [R16, M16] => rm!(e, u16, xor);
            XorMr16: Xor, [M16, R16] => mr!(e, u16, xor);
            XorMi16: Xor, [M16, I16] => mi!(e, u16, xor);
            XorRr32: Xor, [R32, R32] => rr!(e, u32, xor);
            XorRi32: Xor, [R32, I32] => ri!(e, u32, xor);
            XorRm32: Xor, [R32, M32] => rm!(e, u32, xor);
            XorMr32: Xor, [M32, R32] => mr!(e, u32, xor);
            XorMi32: Xor, [M32, I32] => mi!(e, u32, xor);
            XorRr64: Xor, [R64, R64] => rr!(e, u64, xor);
            XorRi64: Xor, [R64, I64] => ri!(e, u64, xor);
            XorRm64: Xor, [R64, M64] => rm!(e, u64, xor);
            XorMr64: Xor, [M64, R64] => mr!(e, u64, xor);
            XorMi64: Xor, [M64, I64] => mi!(e, u64, xor);
        }
        reads NONE, writes ALL, leaves Sub, then Next, faults BY_OPERAND {
            CmpRr8: Cmp, [R8, R8] => rr!(e, u8, cmp);
            CmpRi8: Cmp, [R8, I8] => ri!(e, u8, cmp);
            CmpRm8: Cmp, [R8, M8] => rm!(e, u8, cmp);
            CmpMr8: Cmp, [M8, R8] => m_r!(e, u8, cmp);
            CmpMi8: Cmp, [M8, I8] => m_i!(e, u8, cmp);
            CmpRr16: Cmp, [R16, R16] => rr!(e, u16, cmp);
            CmpRi16: Cmp, [R16, I16] => ri!(e, u16, cmp);
            CmpRm16: Cmp, [R16, M16] => rm!(e, u16, cmp);
            CmpMr16: Cmp, [M16, R16] => m_r!(e, u16, cmp);
            CmpMi16: Cmp, [M16, I16] => m_i!(e, u16, cmp);
            CmpRr32: Cmp, [R32, R32] => rr!(e, u32, cmp);
            CmpRi32: Cmp, [R32, I32] => ri!(e, u32, cmp);
            CmpRm32: Cmp, [R32, M32] => rm!(e, u32, cmp);
            CmpMr32: Cmp, [M32, R32] => m_r!(e, u32, cmp);
            CmpMi32: Cmp, [M32, I32] => m_i!(e, u32, cmp);
            CmpRr64: Cmp, [R64, R64] => rr!(e, u64, cmp);
            CmpRi64: Cmp, [R64, I64] => ri!(e, u64, cmp);
            CmpRm64: Cmp, [R64, M64] => rm!(e, u64, cmp);
            CmpMr64: Cmp, [M64, R64] => m_r!(e, u64, cmp);
            CmpMi64: Cmp, [M64, I64] => m_i!(e, u64, cmp);
        }
        reads NONE, writes ALL, leaves Logic, then Next, faults BY_OPERAND {
            TestRr8: Test, [R8, R8] => rr!(e, u8, test);
            TestRi8: Test, [R8, I8] => ri!(e, u8, test);
            TestMr8: Test, [M8, R8] => m_r!(e, u8, test);
            TestMi8: Test, [M8, I8] => m_i!(e, u8, test);
            TestRr16: Test, [R16, R16] => rr!(e, u16, test);
            TestRi16: Test, [R16, I16] => ri!(e, u16, test);
            TestMr16: Test, [M16, R16] => m_r!(e, u16, test);
            TestMi16: Test, [M16, I16] => m_i!(e, u16, test);
            TestRr32: Test, [R32, R32] => rr!(e, u32, test);
            TestRi32: Test, [R32, I32] => ri!(e, u32, test);
            TestMr32: Test, [M32, R32] => m_r!(e, u32, test);
            TestMi32: Test, [M32, I32] => m_i!(e, u32, test);
            TestRr64: Test, [R64, R64] => rr!(e, u64, test);
            TestRi64: Test, [R64, I64] => ri!(e, u64, test);
            TestMr64: Test, [M64, R64] => m_r!(e, u64, test);
            TestMi64: Test, [M64, I64] => m_i!(e, u64, test);
        }
    }
    jumps {
        after Sub {
            SubB: B => branch_flags!(e, |a, b| a < b);
            SubAe: AE => branch_flags!(e, |a, b| a >= b);
            SubE: E => branch_flags!(e, |a, b| a == b);
            SubNe: NE => branch_flags!(e, |a, b| a != b);
            SubBe: BE => branch_flags!(e, |a, b| a <= b);
            SubA: A => branch_flags!(e, |a, b| a > b);
            SubL: L => branch_flags!(e, |a, b| (a as i64) < b as i64);
            SubGe: GE => branch_flags!(e, |a, b| a as i64 >= b as i64);
            SubLe: LE => branch_flags!(e, |a, b| a as i64 <= b as i64);
            SubG: G => branch_flags!(e, |a, b| a as i64 > b as i64);
        }
        after Logic {
            LogicE: E | BE => branch_flags!(e, |a, _b| a == 0);
            LogicNe: NE | A => branch_flags!(e, |a, _b| a != 0);
            LogicS: S | L => branch_flags!(e, |a, _b| (a as i64) < 0);
            LogicNs: NS | GE => branch_flags!(e, |a, _b| a as i64 >= 0);
            LogicLe: LE => branch_flags!(e, |a, _b| a as i64 <= 0);
            LogicG: G => branch_flags!(e, |a, _b| a as i64 > 0);
        }
    }
    fused {
        CmpRr8 {
            CmpRr8B: B => cmp_rr!(e, u8, |a, b| a < b);
            CmpRr8Ae: AE => cmp_rr!(e, u8, |a, b| a >= b);
            CmpRr8E: E => cmp_rr!(e, u8, |a, b| a == b);
            CmpRr8Ne: NE => cmp_rr!(e, u8, |a, b| a != b);
            CmpRr8Be: BE => cmp_rr!(e, u8, |a, b| a <= b);
            CmpRr8A: A => cmp_rr!(e, u8, |a, b| a > b);
            CmpRr8L: L => cmp_rr!(e, u8, |a, b| (a as i64) < b as i64);
            CmpRr8Ge: GE => cmp_rr!(e, u8, |a, b| a as i64 >= b as i64);
            CmpRr8Le: LE => cmp_rr!(e, u8, |a, b| a as i64 <= b as i64);
            CmpRr8G: G => cmp_rr!(e, u8, |a, b| a as i64 > b as i64);
        }
        CmpRi8 {
            CmpRi8B: B => cmp_ri!(e, u8, |a, b| a < b);
            CmpRi8Ae: AE => cmp_ri!(e, u8, |a, b| a >= b);
            CmpRi8E: E => cmp_ri!(e, u8, |a, b| a == b);
            CmpRi8Ne: NE => cmp_ri!(e, u8, |a, b| a != b);
            CmpRi8Be: BE => cmp_ri!(e, u8, |a, b| a <= b);
            CmpRi8A: A => cmp_ri!(e, u8, |a, b| a > b);
            CmpRi8L: L => cmp_ri!(e, u8, |a, b| (a as i64) < b as i64);
            CmpRi8Ge: GE => cmp_ri!(e, u8, |a, b| a as i64 >= b as i64);
            CmpRi8Le: LE => cmp_ri!(e, u8, |a, b| a as i64 <= b as i64);
            CmpRi8G: G => cmp_ri!(e, u8, |a, b| a as i64 > b as i64);
        }
        TestRr8 {
            TestRr8E: E | BE => test_rr!(e, u8, |a| a == 0);
            TestRr8Ne: NE | A => test_rr!(e, u8, |a| a != 0);
            TestRr8S: S | L => test_rr!(e, u8, |a| (a as i64) < 0);
            TestRr8Ns: NS | GE => test_rr!(e, u8, |a| a as i64 >= 0);
            TestRr8Le: LE => test_rr!(e, u8, |a| a as i64 <= 0);
            TestRr8G: G => test_rr!(e, u8, |a| a as i64 > 0);
        }
        CmpRr32 {
            CmpRr32B: B => cmp_rr!(e, u32, |a, b| a < b);
            CmpRr32Ae: AE => cmp_rr!(e, u32, |a, b| a >= b);
            CmpRr32E: E => cmp_rr!(e, u32, |a, b| a == b);
            CmpRr32Ne: NE => cmp_rr!(e, u32, |a, b| a != b);
            CmpRr32Be: BE => cmp_rr!(e, u32, |a, b| a <= b);
            CmpRr32A: A => cmp_rr!(e, u32, |a, b| a > b);
            CmpRr32L: L => cmp_rr!(e, u32, |a, b| (a as i64) < b as i64);
            CmpRr32Ge: GE => cmp_rr!(e, u32, |a, b| a as i64 >= b as i64);
            CmpRr32Le: LE => cmp_rr!(e, u32, |a, b| a as i64 <= b as i64);
            CmpRr32G: G => cmp_rr!(e, u32, |a, b| a as i64 > b as i64);
        }
        CmpRi32 {
            CmpRi32B: B => cmp_ri!(e, u32, |a, b| a < b);
            CmpRi32Ae: AE => cmp_ri!(e, u32, |a, b| a >= b);
            CmpRi32E: E => cmp_ri!(e, u32, |a, b| a == b);
            CmpRi32Ne: NE => cmp_ri!(e, u32, |a, b| a != b);
            CmpRi32Be: BE => cmp_ri!(e, u32, |a, b| a <= b);
            CmpRi32A: A => cmp_ri!(e, u32, |a, b| a > b);
            CmpRi32L: L => cmp_ri!(e, u32, |a, b| (a as i64) < b as i64);
            CmpRi32Ge: GE => cmp_ri!(e, u32, |a, b| a as i64 >= b as i64);
            CmpRi32Le: LE => cmp_ri!(e, u32, |a, b| a as i64 <= b as i64);
            CmpRi32G: G => cmp_ri!(e, u32, |a, b| a as i64 > b as i64);
        }
        TestRr32 {
            TestRr32E: E | BE => test_rr!(e, u32, |a| a == 0);
            TestRr32Ne: NE | A => test_rr!(e, u32, |a| a != 0);
            TestRr32S: S | L => test_rr!(e, u32, |a| (a as i64) < 0);
            TestRr32Ns: NS | GE => test_rr!(e, u32, |a| a as i64 >= 0);
            TestRr32Le: LE => test_rr!(e, u32, |a| a as i64 <= 0);
            TestRr32G: G => test_rr!(e, u32, |a| a as i64 > 0);
        }
        CmpRr64 {
            CmpRr64B: B => cmp_rr!(e, u64, |a, b| a < b);
            CmpRr64Ae: AE => cmp_rr!(e, u64, |a, b| a >= b);
            CmpRr64E: E => cmp_rr!(e, u64, |a, b| a == b);
            CmpRr64Ne: NE => cmp_rr!(e, u64, |a, b| a != b);
            CmpRr64Be: BE => cmp_rr!(e, u64, |a, b| a <= b);
            CmpRr64A: A => cmp_rr!(e, u64, |a, b| a > b);
            CmpRr64L: L => cmp_rr!(e, u64, |a, b| (a as i64) < b as i64);
            CmpRr64Ge: GE => cmp_rr!(e, u64, |a, b| a as i64 >= b as i64);
            CmpRr64Le: LE => cmp_rr!(e, u64, |a, b| a as i64 <= b as i64);
            CmpRr64G: G => cmp_rr!(e, u64, |a, b| a as i64 > b as i64);
        }
        CmpRi64 {
            CmpRi64B: B => cmp_ri!(e, u64, |a, b| a < b);
            CmpRi64Ae: AE => cmp_ri!(e, u64, |a, b| a >= b);
            CmpRi64E: E => cmp_ri!(e, u64, |a, b| a == b);
            CmpRi64Ne: NE => cmp_ri!(e, u64, |a, b| a != b);
            CmpRi64Be: BE => cmp_ri!(e, u64, |a, b| a <= b);
            CmpRi64A: A => cmp_ri!(e, u64, |a, b| a > b);
            CmpRi64L: L => cmp_ri!(e, u64, |a, b| (a as i64) < b as i64);
            CmpRi64Ge: GE => cmp_ri!(e, u64, |a, b| a as i64 >= b as i64);
            CmpRi64Le: LE => cmp_ri!(e, u64, |a, b| a as i64 <= b as i64);
            CmpRi64G: G => cmp_ri!(e, u64, |a, b| a as i64 > b as i64);
        }
        TestRr64 {
            TestRr64E: E | BE => test_rr!(e, u64, |a| a == 0);
            TestRr64Ne: NE | A => test_rr!(e, u64, |a| a != 0);
            TestRr64S: S | L => test_rr!(e, u64, |a| (a as i64) < 0);
            TestRr64Ns: NS | GE => test_rr!(e, u64, |a| a as i64 >= 0);
            TestRr64Le: LE => test_rr!(e, u64, |a| a as i64 <= 0);
            TestRr64G: G => test_rr!(e, u64, |a| a as i64 > 0);
        }
        TestRi8 {
            TestRi8E: E | BE => test_ri!(e, u8, |a| a == 0);
            TestRi8Ne: NE | A => test_ri!(e, u8, |a| a != 0);
        }
        TestRi32 {
            TestRi32E: E | BE => test_ri!(e, u32, |a| a == 0);
            TestRi32Ne: NE | A => test_ri!(e, u32, |a| a != 0);
        }
    }
    quiet {
        RolRi32Quiet: RolRi32 => rotate!(e, u32, rotate_left);
        RolRi64Quiet: RolRi64 => rotate!(e, u64, rotate_left);
        RorRi32Quiet: RorRi32 => rotate!(e, u32, rotate_right);
        RorRi64Quiet: RorRi64 => rotate!(e, u64, rotate_right);
    }
    } };
}
pub(super) use fast_path;

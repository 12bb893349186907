//! The tables of RV64GC: one row per 32-bit instruction ([`for_each_rv64!`]) and one per compressed
//! instruction ([`for_each_rvc!`]).
//!
//! Both are callback macros: `for_each_rv64!(m)` expands to `m! { rows }`, so any crate can make code from
//! the rows. Sources: *The RISC-V Instruction Set Manual, Volume I* (20240411), chapter "RV32/64G Instruction
//! Set Listings" and the chapter "C"; *Volume II* for the supervisor instructions.

/// Calls the macro `$each` with one row per 32-bit instruction.
///
/// A row is `Op "mnemonic" mask match Format (facts);`. `Op` is the variant of [`Op`](crate::rv64::Op),
/// `Format` that of [`Format`](crate::rv64::Format). A word is this instruction when `word & mask == match`;
/// no word matches two rows. The facts are one of
///
/// - `(next)`: computes and goes on;
/// - `(load BYTES signed|unsigned)`, `(store BYTES)`, `(reserve BYTES)` (lr), `(conditional BYTES)` (sc),
///   `(amo BYTES)`;
/// - `(branch)`, `(jump)`: conditional, unconditional control flow;
/// - `(csr)`: reads or writes a control and status register;
/// - `(system)`: traps, returns from one, or changes what the following instructions mean.
#[macro_export]
macro_rules! for_each_rv64 {
    ($each:path) => {
        $each! {
            // RV64I: unprivileged manual, chapters "RV32I" and "RV64I".
            Lui       "lui"        0x0000_007f 0x0000_0037 U       (next);
            Auipc     "auipc"      0x0000_007f 0x0000_0017 U       (next);
            Jal       "jal"        0x0000_007f 0x0000_006f J       (jump);
            Jalr      "jalr"       0x0000_707f 0x0000_0067 Load    (jump);
            Beq       "beq"        0x0000_707f 0x0000_0063 B       (branch);
            Bne       "bne"        0x0000_707f 0x0000_1063 B       (branch);
            Blt       "blt"        0x0000_707f 0x0000_4063 B       (branch);
            Bge       "bge"        0x0000_707f 0x0000_5063 B       (branch);
            Bltu      "bltu"       0x0000_707f 0x0000_6063 B       (branch);
            Bgeu      "bgeu"       0x0000_707f 0x0000_7063 B       (branch);
            Lb        "lb"         0x0000_707f 0x0000_0003 Load    (load 1 signed);
            Lh        "lh"         0x0000_707f 0x0000_1003 Load    (load 2 signed);
            Lw        "lw"         0x0000_707f 0x0000_2003 Load    (load 4 signed);
            Ld        "ld"         0x0000_707f 0x0000_3003 Load    (load 8 signed);
            Lbu       "lbu"        0x0000_707f 0x0000_4003 Load    (load 1 unsigned);
            Lhu       "lhu"        0x0000_707f 0x0000_5003 Load    (load 2 unsigned);
            Lwu       "lwu"        0x0000_707f 0x0000_6003 Load    (load 4 unsigned);
            Sb        "sb"         0x0000_707f 0x0000_0023 Store   (store 1);
            Sh        "sh"         0x0000_707f 0x0000_1023 Store   (store 2);
            Sw        "sw"         0x0000_707f 0x0000_2023 Store   (store 4);
            Sd        "sd"         0x0000_707f 0x0000_3023 Store   (store 8);
            Addi      "addi"       0x0000_707f 0x0000_0013 I       (next);
            Slti      "slti"       0x0000_707f 0x0000_2013 I       (next);
            Sltiu     "sltiu"      0x0000_707f 0x0000_3013 I       (next);
            Xori      "xori"       0x0000_707f 0x0000_4013 I       (next);
            Ori       "ori"        0x0000_707f 0x0000_6013 I       (next);
            Andi      "andi"       0x0000_707f 0x0000_7013 I       (next);
            Slli      "slli"       0xfc00_707f 0x0000_1013 Shift6  (next);
            Srli      "srli"       0xfc00_707f 0x0000_5013 Shift6  (next);
            Srai      "srai"       0xfc00_707f 0x4000_5013 Shift6  (next);
            Add       "add"        0xfe00_707f 0x0000_0033 R       (next);
            Sub       "sub"        0xfe00_707f 0x4000_0033 R       (next);
            Sll       "sll"        0xfe00_707f 0x0000_1033 R       (next);
            Slt       "slt"        0xfe00_707f 0x0000_2033 R       (next);
            Sltu      "sltu"       0xfe00_707f 0x0000_3033 R       (next);
            Xor       "xor"        0xfe00_707f 0x0000_4033 R       (next);
            Srl       "srl"        0xfe00_707f 0x0000_5033 R       (next);
            Sra       "sra"        0xfe00_707f 0x4000_5033 R       (next);
            Or        "or"         0xfe00_707f 0x0000_6033 R       (next);
            And       "and"        0xfe00_707f 0x0000_7033 R       (next);
            Addiw     "addiw"      0x0000_707f 0x0000_001b I       (next);
            Slliw     "slliw"      0xfe00_707f 0x0000_101b Shift5  (next);
            Srliw     "srliw"      0xfe00_707f 0x0000_501b Shift5  (next);
            Sraiw     "sraiw"      0xfe00_707f 0x4000_501b Shift5  (next);
            Addw      "addw"       0xfe00_707f 0x0000_003b R       (next);
            Subw      "subw"       0xfe00_707f 0x4000_003b R       (next);
            Sllw      "sllw"       0xfe00_707f 0x0000_103b R       (next);
            Srlw      "srlw"       0xfe00_707f 0x0000_503b R       (next);
            Sraw      "sraw"       0xfe00_707f 0x4000_503b R       (next);
            Fence     "fence"      0x0000_707f 0x0000_000f Fence   (next);
            Ecall     "ecall"      0xffff_ffff 0x0000_0073 Bare    (system);
            Ebreak    "ebreak"     0xffff_ffff 0x0010_0073 Bare    (system);
            // Zifencei. The fields rd, rs1 and imm are reserved and ignored.
            FenceI    "fence.i"    0x0000_707f 0x0000_100f Bare    (system);
            // M.
            Mul       "mul"        0xfe00_707f 0x0200_0033 R       (next);
            Mulh      "mulh"       0xfe00_707f 0x0200_1033 R       (next);
            Mulhsu    "mulhsu"     0xfe00_707f 0x0200_2033 R       (next);
            Mulhu     "mulhu"      0xfe00_707f 0x0200_3033 R       (next);
            Div       "div"        0xfe00_707f 0x0200_4033 R       (next);
            Divu      "divu"       0xfe00_707f 0x0200_5033 R       (next);
            Rem       "rem"        0xfe00_707f 0x0200_6033 R       (next);
            Remu      "remu"       0xfe00_707f 0x0200_7033 R       (next);
            Mulw      "mulw"       0xfe00_707f 0x0200_003b R       (next);
            Divw      "divw"       0xfe00_707f 0x0200_403b R       (next);
            Divuw     "divuw"      0xfe00_707f 0x0200_503b R       (next);
            Remw      "remw"       0xfe00_707f 0x0200_603b R       (next);
            Remuw     "remuw"      0xfe00_707f 0x0200_703b R       (next);
            // A. The bits aq and rl (26, 25) are free in every row.
            LrW       "lr.w"       0xf9f0_707f 0x1000_202f Lr      (reserve 4);
            ScW       "sc.w"       0xf800_707f 0x1800_202f Amo     (conditional 4);
            AmoswapW  "amoswap.w"  0xf800_707f 0x0800_202f Amo     (amo 4);
            AmoaddW   "amoadd.w"   0xf800_707f 0x0000_202f Amo     (amo 4);
            AmoxorW   "amoxor.w"   0xf800_707f 0x2000_202f Amo     (amo 4);
            AmoandW   "amoand.w"   0xf800_707f 0x6000_202f Amo     (amo 4);
            AmoorW    "amoor.w"    0xf800_707f 0x4000_202f Amo     (amo 4);
            AmominW   "amomin.w"   0xf800_707f 0x8000_202f Amo     (amo 4);
            AmomaxW   "amomax.w"   0xf800_707f 0xa000_202f Amo     (amo 4);
            AmominuW  "amominu.w"  0xf800_707f 0xc000_202f Amo     (amo 4);
            AmomaxuW  "amomaxu.w"  0xf800_707f 0xe000_202f Amo     (amo 4);
            LrD       "lr.d"       0xf9f0_707f 0x1000_302f Lr      (reserve 8);
            ScD       "sc.d"       0xf800_707f 0x1800_302f Amo     (conditional 8);
            AmoswapD  "amoswap.d"  0xf800_707f 0x0800_302f Amo     (amo 8);
            AmoaddD   "amoadd.d"   0xf800_707f 0x0000_302f Amo     (amo 8);
            AmoxorD   "amoxor.d"   0xf800_707f 0x2000_302f Amo     (amo 8);
            AmoandD   "amoand.d"   0xf800_707f 0x6000_302f Amo     (amo 8);
            AmoorD    "amoor.d"    0xf800_707f 0x4000_302f Amo     (amo 8);
            AmominD   "amomin.d"   0xf800_707f 0x8000_302f Amo     (amo 8);
            AmomaxD   "amomax.d"   0xf800_707f 0xa000_302f Amo     (amo 8);
            AmominuD  "amominu.d"  0xf800_707f 0xc000_302f Amo     (amo 8);
            AmomaxuD  "amomaxu.d"  0xf800_707f 0xe000_302f Amo     (amo 8);
            // F. Where funct3 is the rounding mode, the values 5 and 6 are reserved and rejected by the
            // decoder.
            Flw       "flw"        0x0000_707f 0x0000_2007 FLoad   (load 4 unsigned);
            Fsw       "fsw"        0x0000_707f 0x0000_2027 FStore  (store 4);
            FmaddS    "fmadd.s"    0x0600_007f 0x0000_0043 F4      (next);
            FmsubS    "fmsub.s"    0x0600_007f 0x0000_0047 F4      (next);
            FnmsubS   "fnmsub.s"   0x0600_007f 0x0000_004b F4      (next);
            FnmaddS   "fnmadd.s"   0x0600_007f 0x0000_004f F4      (next);
            FaddS     "fadd.s"     0xfe00_007f 0x0000_0053 F2Rm    (next);
            FsubS     "fsub.s"     0xfe00_007f 0x0800_0053 F2Rm    (next);
            FmulS     "fmul.s"     0xfe00_007f 0x1000_0053 F2Rm    (next);
            FdivS     "fdiv.s"     0xfe00_007f 0x1800_0053 F2Rm    (next);
            FsqrtS    "fsqrt.s"    0xfff0_007f 0x5800_0053 F1Rm    (next);
            FsgnjS    "fsgnj.s"    0xfe00_707f 0x2000_0053 F2      (next);
            FsgnjnS   "fsgnjn.s"   0xfe00_707f 0x2000_1053 F2      (next);
            FsgnjxS   "fsgnjx.s"   0xfe00_707f 0x2000_2053 F2      (next);
            FminS     "fmin.s"     0xfe00_707f 0x2800_0053 F2      (next);
            FmaxS     "fmax.s"     0xfe00_707f 0x2800_1053 F2      (next);
            FeqS      "feq.s"      0xfe00_707f 0xa000_2053 FCmp    (next);
            FltS      "flt.s"      0xfe00_707f 0xa000_1053 FCmp    (next);
            FleS      "fle.s"      0xfe00_707f 0xa000_0053 FCmp    (next);
            FclassS   "fclass.s"   0xfff0_707f 0xe000_1053 XF      (next);
            FcvtWS    "fcvt.w.s"   0xfff0_007f 0xc000_0053 XFRm    (next);
            FcvtWuS   "fcvt.wu.s"  0xfff0_007f 0xc010_0053 XFRm    (next);
            FcvtLS    "fcvt.l.s"   0xfff0_007f 0xc020_0053 XFRm    (next);
            FcvtLuS   "fcvt.lu.s"  0xfff0_007f 0xc030_0053 XFRm    (next);
            FcvtSW    "fcvt.s.w"   0xfff0_007f 0xd000_0053 FXRm    (next);
            FcvtSWu   "fcvt.s.wu"  0xfff0_007f 0xd010_0053 FXRm    (next);
            FcvtSL    "fcvt.s.l"   0xfff0_007f 0xd020_0053 FXRm    (next);
            FcvtSLu   "fcvt.s.lu"  0xfff0_007f 0xd030_0053 FXRm    (next);
            FmvXW     "fmv.x.w"    0xfff0_707f 0xe000_0053 XF      (next);
            FmvWX     "fmv.w.x"    0xfff0_707f 0xf000_0053 FX      (next);
            // D.
            Fld       "fld"        0x0000_707f 0x0000_3007 FLoad   (load 8 unsigned);
            Fsd       "fsd"        0x0000_707f 0x0000_3027 FStore  (store 8);
            FmaddD    "fmadd.d"    0x0600_007f 0x0200_0043 F4      (next);
            FmsubD    "fmsub.d"    0x0600_007f 0x0200_0047 F4      (next);
            FnmsubD   "fnmsub.d"   0x0600_007f 0x0200_004b F4      (next);
            FnmaddD   "fnmadd.d"   0x0600_007f 0x0200_004f F4      (next);
            FaddD     "fadd.d"     0xfe00_007f 0x0200_0053 F2Rm    (next);
            FsubD     "fsub.d"     0xfe00_007f 0x0a00_0053 F2Rm    (next);
            FmulD     "fmul.d"     0xfe00_007f 0x1200_0053 F2Rm    (next);
            FdivD     "fdiv.d"     0xfe00_007f 0x1a00_0053 F2Rm    (next);
            FsqrtD    "fsqrt.d"    0xfff0_007f 0x5a00_0053 F1Rm    (next);
            FsgnjD    "fsgnj.d"    0xfe00_707f 0x2200_0053 F2      (next);
            FsgnjnD   "fsgnjn.d"   0xfe00_707f 0x2200_1053 F2      (next);
            FsgnjxD   "fsgnjx.d"   0xfe00_707f 0x2200_2053 F2      (next);
            FminD     "fmin.d"     0xfe00_707f 0x2a00_0053 F2      (next);
            FmaxD     "fmax.d"     0xfe00_707f 0x2a00_1053 F2      (next);
            FcvtSD    "fcvt.s.d"   0xfff0_007f 0x4010_0053 F1Rm    (next);
            FcvtDS    "fcvt.d.s"   0xfff0_007f 0x4200_0053 F1Rm    (next);
            FeqD      "feq.d"      0xfe00_707f 0xa200_2053 FCmp    (next);
            FltD      "flt.d"      0xfe00_707f 0xa200_1053 FCmp    (next);
            FleD      "fle.d"      0xfe00_707f 0xa200_0053 FCmp    (next);
            FclassD   "fclass.d"   0xfff0_707f 0xe200_1053 XF      (next);
            FcvtWD    "fcvt.w.d"   0xfff0_007f 0xc200_0053 XFRm    (next);
            FcvtWuD   "fcvt.wu.d"  0xfff0_007f 0xc210_0053 XFRm    (next);
            FcvtLD    "fcvt.l.d"   0xfff0_007f 0xc220_0053 XFRm    (next);
            FcvtLuD   "fcvt.lu.d"  0xfff0_007f 0xc230_0053 XFRm    (next);
            FcvtDW    "fcvt.d.w"   0xfff0_007f 0xd200_0053 FXRm    (next);
            FcvtDWu   "fcvt.d.wu"  0xfff0_007f 0xd210_0053 FXRm    (next);
            FcvtDL    "fcvt.d.l"   0xfff0_007f 0xd220_0053 FXRm    (next);
            FcvtDLu   "fcvt.d.lu"  0xfff0_007f 0xd230_0053 FXRm    (next);
            FmvXD     "fmv.x.d"    0xfff0_707f 0xe200_0053 XF      (next);
            FmvDX     "fmv.d.x"    0xfff0_707f 0xf200_0053 FX      (next);
            // Zicsr.
            Csrrw     "csrrw"      0x0000_707f 0x0000_1073 Csr     (csr);
            Csrrs     "csrrs"      0x0000_707f 0x0000_2073 Csr     (csr);
            Csrrc     "csrrc"      0x0000_707f 0x0000_3073 Csr     (csr);
            Csrrwi    "csrrwi"     0x0000_707f 0x0000_5073 CsrI    (csr);
            Csrrsi    "csrrsi"     0x0000_707f 0x0000_6073 CsrI    (csr);
            Csrrci    "csrrci"     0x0000_707f 0x0000_7073 CsrI    (csr);
            // Supervisor level: privileged manual, chapter "Supervisor-Level ISA". There is no M mode, hence
            // no mret.
            Sret      "sret"       0xffff_ffff 0x1020_0073 Bare    (system);
            Wfi       "wfi"        0xffff_ffff 0x1050_0073 Bare    (system);
            SfenceVma "sfence.vma" 0xfe00_7fff 0x1200_0073 Sfence  (system);
        }
    };
}

/// Calls the macro `$each` with one row per compressed instruction (RV64C), in the order in which they are
/// tried.
///
/// A row is `"mnemonic" mask match => Op CFormat;` or `"reserved" mask match => reserved;`. `Op` is the
/// instruction that it expands to, `CFormat` (a variant of [`CFormat`](crate::rv64::CFormat)) says from where
/// the operands come. **The first row that matches decides**: a special case stands before the general one.
/// Code points in no row are reserved too. HINTs (`rd` = x0, shifts by 0) are not told apart: what they
/// expand to changes nothing, as a HINT must.
#[macro_export]
macro_rules! for_each_rvc {
    ($each:path) => {
        $each! {
            // Quadrant 0.
            "reserved"   0xffe3 0x0000 => reserved;
            "c.addi4spn" 0xe003 0x0000 => Addi   Addi4spn;
            "c.fld"      0xe003 0x2000 => Fld    LoadD;
            "c.lw"       0xe003 0x4000 => Lw     LoadW;
            "c.ld"       0xe003 0x6000 => Ld     LoadD;
            "c.fsd"      0xe003 0xa000 => Fsd    StoreD;
            "c.sw"       0xe003 0xc000 => Sw     StoreW;
            "c.sd"       0xe003 0xe000 => Sd     StoreD;
            // Quadrant 1.
            "c.addi"     0xe003 0x0001 => Addi   Imm;
            "reserved"   0xef83 0x2001 => reserved;
            "c.addiw"    0xe003 0x2001 => Addiw  Imm;
            "c.li"       0xe003 0x4001 => Addi   Li;
            "reserved"   0xf07f 0x6001 => reserved;
            "c.addi16sp" 0xef83 0x6101 => Addi   Addi16sp;
            "c.lui"      0xe003 0x6001 => Lui    Lui;
            "c.srli"     0xec03 0x8001 => Srli   ShiftP;
            "c.srai"     0xec03 0x8401 => Srai   ShiftP;
            "c.andi"     0xec03 0x8801 => Andi   ImmP;
            "c.sub"      0xfc63 0x8c01 => Sub    RegP;
            "c.xor"      0xfc63 0x8c21 => Xor    RegP;
            "c.or"       0xfc63 0x8c41 => Or     RegP;
            "c.and"      0xfc63 0x8c61 => And    RegP;
            "c.subw"     0xfc63 0x9c01 => Subw   RegP;
            "c.addw"     0xfc63 0x9c21 => Addw   RegP;
            "c.j"        0xe003 0xa001 => Jal    Jump;
            "c.beqz"     0xe003 0xc001 => Beq    Branch;
            "c.bnez"     0xe003 0xe001 => Bne    Branch;
            // Quadrant 2.
            "c.slli"     0xe003 0x0002 => Slli   Shift;
            "c.fldsp"    0xe003 0x2002 => Fld    LoadSpD;
            "reserved"   0xef83 0x4002 => reserved;
            "c.lwsp"     0xe003 0x4002 => Lw     LoadSpW;
            "reserved"   0xef83 0x6002 => reserved;
            "c.ldsp"     0xe003 0x6002 => Ld     LoadSpD;
            "reserved"   0xffff 0x8002 => reserved;
            "c.jr"       0xf07f 0x8002 => Jalr   JumpReg;
            "c.mv"       0xf003 0x8002 => Add    Move;
            "c.ebreak"   0xffff 0x9002 => Ebreak Bare;
            "c.jalr"     0xf07f 0x9002 => Jalr   CallReg;
            "c.add"      0xf003 0x9002 => Add    Reg;
            "c.fsdsp"    0xe003 0xa002 => Fsd    StoreSpD;
            "c.swsp"     0xe003 0xc002 => Sw     StoreSpW;
            "c.sdsp"     0xe003 0xe002 => Sd     StoreSpD;
        }
    };
}

//! The tables themselves: encoder and decoder are each other's inverse, no row hides another, the facts are
//! those of the manual.

use forelift_isa::rv64::random::Rng;
use forelift_isa::rv64::{
    Access, CROWS, Fields, Flow, Insn, Op, ROWS, Reg, compressed_row, decode, encode, encode_compressed,
};

#[test]
fn rows_are_in_order_and_disjoint() {
    for (i, row) in ROWS.iter().enumerate() {
        assert_eq!(row.op as usize, i);
        assert_eq!(Op::ALL[i], row.op);
        for other in &ROWS[i + 1..] {
            let common = row.mask & other.mask;
            assert!((row.matches ^ other.matches) & common != 0, "{:?} and {:?} overlap", row.op, other.op);
        }
    }
    assert_eq!(ROWS.len(), 159);
}

#[test]
fn no_field_overlaps_the_fixed_bits() {
    for row in &ROWS {
        let layout = row.format.layout();
        let mut used = row.mask;
        let mut take = |bits: u32| {
            assert_eq!(used & bits, 0, "{:?}", row.op);
            used |= bits;
        };
        for (kind, low) in [(layout.rd, 7), (layout.rs1, 15), (layout.rs2, 20), (layout.rs3, 27)] {
            if kind != Reg::No {
                take(31 << low);
            }
        }
        for piece in layout.imm {
            take((((1u64 << piece.len) - 1) << piece.from) as u32);
        }
        if layout.rm {
            take(7 << 12);
        }
        // What is left: aq and rl, and the fields of fence and fence.i that are reserved.
        let free = match row.op {
            Op::Fence => 0x000f_8f80,
            Op::FenceI => 0xffff_8f80,
            _ if row.access.must_align() => 3 << 25,
            _ => 0,
        };
        assert_eq!(!used, free, "{:?}", row.op);
    }
}

#[test]
fn encode_then_decode() {
    let mut rng = Rng::new(3);
    for &op in Op::ALL {
        let layout = op.format().layout();
        for _ in 0..200 {
            let mut reg = |kind| if kind == Reg::No { 0 } else { rng.below(32) as u8 };
            let mut fields = Fields {
                rd: reg(layout.rd),
                rs1: reg(layout.rs1),
                rs2: reg(layout.rs2),
                rs3: reg(layout.rs3),
                ..Fields::default()
            };
            if layout.rm {
                fields.rm = rng.pick(&[0, 1, 2, 3, 4, 7]);
            }
            if op.access().must_align() {
                (fields.aq, fields.rl) = (rng.one_in(2), rng.one_in(2));
            }
            let bits = rng.next_u64();
            for piece in layout.imm {
                fields.imm |= ((bits & (((1 << piece.len) - 1) << piece.to)) as u32) as i32;
            }
            if layout.sign != 0 {
                let shift = 32 - layout.sign;
                fields.imm = fields.imm << shift >> shift;
            }
            let word = encode(op, &fields);
            let insn = decode(word).unwrap();
            let Insn { rd, rs1, rs2, rs3, rm, imm, .. } = insn;
            let (aq, rl) = if op.access().must_align() { insn.aq_rl() } else { (false, false) };
            assert_eq!(Fields { rd, rs1, rs2, rs3, rm, imm, aq, rl }, fields, "{op:?}");
            assert_eq!((insn.op, insn.len, insn.raw), (op, 4, word));
        }
    }
}

#[test]
fn every_compressed_code_point_can_be_encoded() {
    let mut cases = 0;
    for half in (0..=u16::MAX).filter(|h| h & 3 != 3) {
        let Some(insn) = decode(half as u32) else {
            assert!(compressed_row(half).is_none_or(|row| row.expands.is_none()));
            continue;
        };
        let row = compressed_row(half).unwrap();
        let Insn { rd, rs1, rs2, imm, .. } = insn;
        let fields = Fields { rd, rs1, rs2, imm, ..Fields::default() };
        assert_eq!(encode_compressed(row, &fields), Some(half), "{}", row.mnemonic);
        // And its expansion is a word that decodes to the same.
        let wide = decode(encode(insn.op, &fields)).unwrap();
        assert_eq!(Insn { len: 2, raw: half as u32, ..wide }, insn);
        cases += 1;
    }
    assert!(cases > 40_000, "{cases}");
}

#[test]
fn reserved_compressed_encodings_are_illegal() {
    // Unprivileged manual, chapter "C": instruction listings, "RES".
    let reserved = [
        (0x0000, "defined illegal"),
        (0x0004, "c.addi4spn, nzuimm = 0"),
        (0x8000, "quadrant 0, funct3 = 100"),
        (0x2001, "c.addiw, rd = 0"),
        (0x6101, "c.addi16sp, nzimm = 0"),
        (0x6081, "c.lui, nzimm = 0"),
        (0x9c41, "c.subw's neighbour, funct2 = 10"),
        (0x9c61, "c.subw's neighbour, funct2 = 11"),
        (0x4002, "c.lwsp, rd = 0"),
        (0x6002, "c.ldsp, rd = 0"),
        (0x8002, "c.jr, rs1 = 0"),
    ];
    for (half, why) in reserved {
        assert_eq!(decode(half), None, "{half:#06x}: {why}");
    }
    // HINTs change no register.
    for hint in [0x0005, 0x4001, 0x6005, 0x8001, 0x8006, 0x9006, 0x0006] {
        assert_eq!(decode(hint).unwrap().writes().x & !(1 << 8), 0, "{hint:#06x}");
    }
}

#[test]
fn privileged_instructions_of_other_levels_are_illegal() {
    for word in [0x3020_0073, 0x7020_0073, 0x0020_0073, 0x1600_0073, 0x1800_0073, 0x1040_0073, 0x1020_00f3] {
        assert_eq!(decode(word), None, "{word:#x}");
    }
    for (word, op) in [(0x1020_0073, Op::Sret), (0x1050_0073, Op::Wfi), (0x12b5_0073, Op::SfenceVma)] {
        assert_eq!(decode(word).map(|i| i.op), Some(op));
    }
}

#[test]
fn facts() {
    let get = |word| decode(word).unwrap();
    let fmadd = get(encode(Op::FmaddD, &Fields { rd: 1, rs1: 2, rs2: 3, rs3: 4, ..Fields::default() }));
    assert_eq!((fmadd.reads().f, fmadd.reads().x, fmadd.writes().f), (0b11100, 0, 0b10));
    assert!(fmadd.op.needs_fp() && fmadd.op.uses_rm() && fmadd.may_fault() && !fmadd.ends_block());
    let fcvt = get(encode(Op::FcvtLD, &Fields { rd: 5, rs1: 6, ..Fields::default() }));
    assert_eq!((fcvt.reads().f, fcvt.writes().x), (1 << 6, 1 << 5));
    let sd = get(encode(Op::Sd, &Fields { rs1: 5, rs2: 0, imm: -8, ..Fields::default() }));
    assert_eq!((sd.reads().x, sd.writes().x, sd.access()), (1 << 5, 0, Access::Store { bytes: 8 }));
    let add = get(encode(Op::Add, &Fields { rd: 0, rs1: 5, rs2: 6, ..Fields::default() }));
    assert_eq!((add.reads().x, add.writes().x), (0b110_0000, 0));
    assert!(!add.may_fault() && !add.ends_block());
    let csr = |imm| get(encode(Op::Csrrwi, &Fields { rs1: 3, imm, ..Fields::default() }));
    assert_eq!(csr(1).reads().x, 0);
    assert!(!csr(1).ends_block() && csr(0x100).ends_block() && csr(0x100).op.ends_block());
    let beqz = get(0xdd65); // c.beqz x10, -8
    assert_eq!((beqz.op, beqz.target(0x1000), beqz.len), (Op::Beq, Some(0xff8), 2));
    assert!(beqz.ends_block() && !beqz.may_fault());
    assert_eq!(get(encode(Op::Jalr, &Fields::default())).target(0), None);
    let signed = |op: Op| matches!(op.access(), Access::Load { signed: true, .. });
    assert!(signed(Op::Lw) && !signed(Op::Lwu) && !signed(Op::Flw));
    let count = |f: fn(Op) -> bool| Op::ALL.iter().filter(|op| f(**op)).count();
    assert_eq!(count(|op| op.needs_fp()), 62);
    assert_eq!(count(|op| op.access() != Access::None), 7 + 4 + 22 + 4);
    assert_eq!(count(|op| op.flow() == Flow::Branch), 6);
    assert_eq!(core::mem::size_of::<Insn>(), 16);
}

#[test]
fn reserved_rounding_modes_are_illegal() {
    let mut checked = 0;
    for &op in Op::ALL.iter().filter(|op| op.uses_rm()) {
        for rm in 0..8 {
            let word = encode(op, &Fields { rm, ..Fields::default() });
            assert_eq!(decode(word).is_some(), rm != 5 && rm != 6, "{op:?} {rm}");
            checked += 1;
        }
    }
    assert_eq!(checked, 8 * 36);
}

#[test]
fn compressed_table_has_no_dead_row() {
    for row in &CROWS {
        let hits = (0..=u16::MAX).filter(|h| compressed_row(*h) == Some(row)).count();
        assert!(hits > 0, "{row:?}");
    }
}

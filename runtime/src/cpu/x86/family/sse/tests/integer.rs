//! Moves, packed integers and shuffles: all of them.

use super::host::{ALL, MEMORY, REGISTER, State, compare, opcodes};
use crate::cpu::x86::family::testing::direct::{Random, parse};

#[test]
fn mmx_and_sse_integers_agree_with_the_host() {
    let map = "60 61 62 63 64 65 66 67 68 69 6a 6b 74 75 76 d1 d2 d3 d4 d5 d8 d9 da db dc dd de df e0 e1 e2 e3 e4 e5 \
               e8 e9 ea eb ec ed ee ef f1 f2 f3 f4 f5 f6 f8 f9 fa fb fc fd fe";
    let list: Vec<_> = map.split_whitespace().map(|op| format!("0f {op}")).collect();
    let list: Vec<_> = list.iter().map(String::as_str).collect();
    opcodes(&["", "66"], &list, &[REGISTER, MEMORY], &[]);
}

#[test]
fn ssse3_agrees_with_the_host() {
    let map = "00 01 02 03 04 05 06 07 08 09 0a 0b 1c 1d 1e";
    let list: Vec<_> = map.split_whitespace().map(|op| format!("0f 38 {op}")).collect();
    let list: Vec<_> = list.iter().map(String::as_str).collect();
    opcodes(&["", "66"], &list, &[REGISTER, MEMORY], &[]);
    opcodes(&["", "66"], &["0f 3a 0f"], &[REGISTER, MEMORY], &ALL);
}

#[test]
fn integers_of_xmm_registers_agree_with_the_host() {
    let map = "6c 6d";
    let list: Vec<_> = map.split_whitespace().map(|op| format!("0f {op}")).collect();
    let map = "10 14 15 17 20 21 22 23 24 25 28 29 2b 30 31 32 33 34 35 37 38 39 3a 3b 3c 3d 3e 3f 40 41";
    let list: Vec<_> =
        list.into_iter().chain(map.split_whitespace().map(|op| format!("0f 38 {op}"))).collect();
    let list: Vec<_> = list.iter().map(String::as_str).collect();
    opcodes(&["66"], &list, &[REGISTER, MEMORY], &[]);
    // The rest with immediates: pblendw, blendps, blendpd, mpsadbw, insertps.
    opcodes(
        &["66"],
        &["0f 3a 0c", "0f 3a 0d", "0f 3a 0e", "0f 3a 42", "0f 3a 21"],
        &[REGISTER, MEMORY],
        &ALL,
    );
}

#[test]
fn shuffles_agree_with_the_host() {
    opcodes(&["", "66", "f2", "f3"], &["0f 70"], &[REGISTER, MEMORY], &ALL);
    opcodes(&["", "66"], &["0f c6"], &[REGISTER, MEMORY], &ALL);
    opcodes(&["", "66"], &["0f 14", "0f 15", "0f 54", "0f 55", "0f 56", "0f 57"], &[REGISTER, MEMORY], &[]);
}

#[test]
fn shifts_by_immediates_agree_with_the_host() {
    // ModRM: the operation, and XMM2 or MM2.
    for (op, extensions) in [("0f 71", "d2 e2 f2"), ("0f 72", "d2 e2 f2"), ("0f 73", "d2 f2")] {
        opcodes(&["", "66"], &[op], &parse(extensions), &ALL);
    }
    opcodes(&["66"], &["0f 73"], &parse("da fa"), &ALL);
}

#[test]
fn moves_agree_with_the_host() {
    let both = [REGISTER, MEMORY];
    let full = ["0f 10", "0f 11", "0f 28", "0f 29"];
    opcodes(&["", "66"], &full, &both, &[]);
    opcodes(&["f2", "f3"], &["0f 10", "0f 11"], &both, &[]);
    opcodes(&["66", "f3"], &["0f 6f", "0f 7f"], &both, &[]);
    opcodes(&["", "66", "66 48", "48"], &["0f 6e", "0f 7e"], &both, &[]);
    opcodes(&[""], &["0f 6f", "0f 7f"], &both, &[]);
    opcodes(&["f3"], &["0f 7e", "0f 12", "0f 16"], &both, &[]);
    opcodes(&["66"], &["0f d6"], &both, &[]);
    opcodes(&["f2"], &["0f 12"], &both, &[]);
    // movhlps and movlhps, the halves.
    opcodes(&[""], &["0f 12", "0f 16"], &[REGISTER], &[]);
    opcodes(&["", "66"], &["0f 12", "0f 13", "0f 16", "0f 17"], &[MEMORY], &[]);
    // movq2dq, movdq2q.
    opcodes(&["f2", "f3"], &["0f d6"], &[REGISTER], &[]);
    // movntps and its like, lddqu, movntq, movntdqa.
    opcodes(&["", "66"], &["0f 2b", "0f e7"], &[MEMORY], &[]);
    opcodes(&["f2"], &["0f f0"], &[MEMORY], &[]);
    opcodes(&["66"], &["0f 38 2a"], &[MEMORY], &[]);
    opcodes(&["", "48"], &["0f c3"], &[MEMORY], &[]);
    // movmskps, pmovmskb, maskmovdqu.
    opcodes(&["", "66"], &["0f 50", "0f d7", "0f f7"], &[REGISTER], &[]);
}

#[test]
fn single_elements_agree_with_the_host() {
    let both = [REGISTER, MEMORY];
    opcodes(&["", "66"], &["0f c4"], &both, &ALL);
    opcodes(&["", "66"], &["0f c5"], &[REGISTER], &ALL);
    opcodes(&["66"], &["0f 3a 14", "0f 3a 15", "0f 3a 17", "0f 3a 20"], &both, &ALL);
    opcodes(&["66", "66 48"], &["0f 3a 16", "0f 3a 22"], &both, &ALL);
}

#[test]
fn mxcsr_is_loaded_and_stored() {
    let mut random = Random(5);
    let mut states = || {
        let mut state = State::random(&mut random);
        state.memory[0] = 0x1f80 | u128::from(random.below(1 << 16) & 0xe07f);
        State { mxcsr: 0x1f80 | random.below(64) as u32, ..state }
    };
    compare(&parse("0f ae 13"), 500, &mut states);
    compare(&parse("0f ae 1b"), 500, &mut states);
}

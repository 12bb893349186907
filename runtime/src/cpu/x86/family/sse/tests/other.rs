//! Strings, AES, polynomials.

use super::host::{ALL, MEMORY, REGISTER, State, compare, opcodes, opcodes_with};
use super::new_machine;
use crate::cpu::x86::family::testing::direct::{DATA, Random, parse};
use iced_x86::Register;

/// Strings over a small alphabet of bytes or words, often ended, with lengths around the vector's.
fn strings(random: &mut Random) -> State {
    let alphabet = [0x61, 0x62, 0x63, 0x7f, 0x80, 0xff];
    let text = |random: &mut Random| {
        let letters = 1 + random.below(6) as usize;
        let mut bytes = [0; 16];
        let wide = random.below(2) == 0;
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = if wide && n % 2 == 1 {
                random.choose(&[0, 0, 0x80])
            } else {
                random.choose(&alphabet[..letters])
            };
        }
        if random.below(3) > 0 {
            let at = random.below(16) as usize & if wide { !1 } else { !0 };
            bytes[at] = 0;
            bytes[at | 1] = if wide { 0 } else { bytes[at | 1] };
        }
        u128::from_le_bytes(bytes)
    };
    let mut state = State::random(random);
    state.xmm[1] = text(random);
    state.xmm[2] = text(random);
    // What is compared with itself, from some place on.
    if random.below(4) == 0 {
        state.xmm[2] = state.xmm[1] << (8 * random.below(16));
    }
    state.memory[0] = state.xmm[2];
    for n in [0, 2] {
        let length = random.below(20) as i64 - 2;
        state.r[n] = match random.below(6) {
            0 => random.next(),
            1 => (-length) as u64,
            2 => 1 << 31 | length as u64,
            _ => length as u64,
        };
    }
    state
}

#[test]
fn strings_agree_with_the_host() {
    let mut random = Random(9);
    let list = ["0f 3a 60", "0f 3a 61", "0f 3a 62", "0f 3a 63"];
    opcodes_with(&["66"], &list, &[REGISTER, MEMORY], &ALL, || strings(&mut random));
    // Lengths in 64-bit registers.
    opcodes_with(&["66 48"], &list[..2], &[REGISTER], &ALL, || strings(&mut random));
}

#[test]
fn strings_need_no_alignment() {
    let mut machine = new_machine();
    machine.vcpu().r[3] = DATA + 0xff9;
    assert!(machine.mem.write(DATA + 0xff9, b"0123456789abcde\0"));
    machine.vcpu().set_xmm(Register::XMM1, u128::from(b'9'));
    // pcmpistri xmm1, [rbx], 0: the first byte that is a 9.
    machine.execute(&parse("66 0f 3a 63 0b 00")).unwrap();
    assert_eq!(machine.vcpu().r[1], 9);
}

#[test]
fn aes_agrees_with_the_host() {
    let list = ["0f 38 db", "0f 38 dc", "0f 38 dd", "0f 38 de", "0f 38 df"];
    opcodes(&["66"], &list, &[REGISTER, MEMORY], &[]);
    opcodes(&["66"], &["0f 3a df"], &[REGISTER, MEMORY], &ALL);
}

#[test]
fn polynomials_agree_with_the_host() {
    opcodes(&["66"], &["0f 3a 44"], &[REGISTER, MEMORY], &ALL);
    opcodes(&["f2", "66 f2", "f2 48"], &["0f 38 f0", "0f 38 f1"], &[REGISTER, MEMORY], &[]);
    // crc32 ecx, ah.
    let mut random = Random(4);
    compare(&parse("f2 0f 38 f0 cc"), 500, || State::random(&mut random));
}

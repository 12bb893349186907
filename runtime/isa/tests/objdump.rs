//! Decoder and disassembler against binutils: every compressed code point, every row of the table with random
//! operands, and random words. Where the two differ on purpose, the case is listed here with the reason.

mod common;

use common::{run, scratch};
use forelift_isa::rv64::random::Rng;
use forelift_isa::rv64::{Fields, Op, compressed_row, decode, encode, length};

/// Reference disassembler.
const OBJDUMP: &str = "riscv64-linux-gnu-objdump";

/// Disassembles a file of instructions, each `size` bytes long; the result has one text per instruction,
/// `None` where objdump knows none. Comments are dropped.
fn objdump(name: &str, code: &[u8], size: usize) -> Vec<Option<String>> {
    let path = scratch(name);
    std::fs::write(&path, code).unwrap();
    let args = ["-D", "-z", "-b", "binary", "-m", "riscv:rv64", "-M", "no-aliases,numeric"];
    let mut args: Vec<&std::ffi::OsStr> = args.iter().map(|a| a.as_ref()).collect();
    args.push(path.as_os_str());
    let text = String::from_utf8(run(OBJDUMP, &args)).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, '\t');
        let Some(address) = parts.next().and_then(|a| a.trim().strip_suffix(':')) else { continue };
        let (Ok(address), Some(_bytes), Some(insn)) =
            (usize::from_str_radix(address, 16), parts.next(), parts.next())
        else {
            continue;
        };
        assert_eq!(address, found.len() * size, "objdump lost step at `{line}`");
        let insn = insn.split(" #").next().unwrap().trim_end();
        let known = !(insn.starts_with(".2byte") || insn.starts_with(".4byte") || insn.starts_with(".insn"));
        found.push(known.then(|| insn.to_owned()));
    }
    assert_eq!(found.len(), code.len() / size);
    found
}

/// Compressed code points that objdump shows otherwise than the manual's chapter "C".
fn compressed_exception(half: u16, theirs: Option<&str>) -> Option<String> {
    let row = compressed_row(half);
    match (half, theirs) {
        // The defined illegal instruction has a name.
        (0, Some("c.unimp")) => Some("illegal".into()),
        // nzimm = 0 is reserved in c.addi16sp; binutils decodes it.
        (0x6101, Some("c.addi16sp\tx2,0")) => Some("illegal".into()),
        // Shifts by 0 are HINTs of RV64C; binutils names them as RV128's shifts by 64.
        (_, Some(text)) if text.contains("64\t") && row.is_some_and(|r| text.starts_with(r.mnemonic)) => {
            Some(text.replace("64\t", "\t") + ",0x0")
        }
        _ => None,
    }
}

#[test]
fn every_halfword() {
    let halves: Vec<u16> = (0..=u16::MAX).filter(|h| h & 3 != 3).collect();
    for h in (0..=u16::MAX).filter(|h| h & 3 == 3) {
        assert_eq!(length(h), 4);
    }
    let code: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let mut legal = 0;
    let mut wrong = Vec::new();
    for (i, (half, theirs)) in halves.iter().zip(objdump("halves", &code, 2)).enumerate() {
        assert_eq!(length(*half), 2);
        // The high half must not matter.
        let ours = decode(*half as u32 | 0xdead_0000);
        assert_eq!(ours, decode(*half as u32));
        let ours = ours.map(|insn| insn.disassemble(2 * i as u64).to_string());
        legal += ours.is_some() as u32;
        let ours = ours.unwrap_or_else(|| "illegal".into());
        let theirs =
            compressed_exception(*half, theirs.as_deref()).or(theirs).unwrap_or_else(|| "illegal".into());
        if ours != theirs {
            wrong.push(format!("{half:#06x}: ours `{ours}`, objdump `{theirs}`"));
        }
    }
    println!("{} compressed code points, {legal} of them legal", halves.len());
    assert_eq!(halves.len(), 49152);
    assert!(legal > 40_000);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

/// What objdump should say about a 32-bit word when the two differ on purpose. `Err`: the case is not
/// compared at all.
fn wide_exception(word: u32, ours: Option<&str>, theirs: Option<&str>) -> Result<(), &'static str> {
    let op = decode(word).map(|insn| insn.op);
    let rm = word >> 12 & 7;
    if let Some(theirs) = theirs
        && ours.is_none()
    {
        let name = theirs.split(['\t', '.']).next().unwrap();
        if ["mret", "uret", "hret", "dret", "mnret"].contains(&name) {
            return Err("there is no M mode, no D mode, no N extension");
        }
        if theirs == "sfence.vm" || theirs.starts_with("sfence.vm\t") {
            return Err("sfence.vm: of the privileged architecture 1.9");
        }
        if theirs.starts_with("hfence.") || theirs.starts_with("hlv") || theirs.starts_with("hsv") {
            return Err("no H extension");
        }
        if theirs.contains(".q\t") || theirs.contains(".q.") || ["flq", "fsq"].contains(&name) {
            return Err("no Q extension");
        }
        if theirs.ends_with(",unknown") {
            return Err("reserved rounding mode: binutils shows it, the manual reserves it");
        }
    }
    if ours.is_some() && theirs.is_none() {
        if matches!(op, Some(Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu)) && rm != 0 {
            return Err("binutils 2.40 takes rm = 0 only, the manual any valid mode");
        }
        if op == Some(Op::FenceI) {
            return Err("reserved fields of fence.i: implementations shall ignore them (Zifencei)");
        }
        if op == Some(Op::Fence) {
            return Err("reserved fields of fence: implementations shall ignore them");
        }
    }
    if let (Some(ours), Some(theirs)) = (ours, theirs)
        && matches!(op.map(|op| op.flow()), Some(forelift_isa::rv64::Flow::Csr))
    {
        let parts = |text: &str| text.split([',', '\t']).map(str::to_owned).collect::<Vec<_>>();
        let (mut a, mut b) = (parts(ours), parts(theirs));
        if a[2].starts_with("0x") && !b[2].starts_with("0x") {
            (a[2], b[2]) = (String::new(), String::new());
            assert_eq!(a, b);
            return Err("binutils names CSRs of levels and extensions that the machine has not");
        }
    }
    Ok(())
}

/// Compares words with objdump; returns how many were compared and how many the two decode.
fn compare(name: &str, words: &[u32]) -> (usize, usize) {
    // The low five bits all ones announce a longer instruction: objdump would lose step.
    let words: Vec<u32> = words.iter().copied().filter(|w| w & 3 == 3 && w & 31 != 31).collect();
    let code: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let (mut compared, mut legal) = (0, 0);
    let mut wrong = Vec::new();
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for (i, (word, theirs)) in words.iter().zip(objdump(name, &code, 4)).enumerate() {
        let ours = decode(*word).map(|insn| insn.disassemble(4 * i as u64).to_string());
        if let Err(reason) = wide_exception(*word, ours.as_deref(), theirs.as_deref()) {
            *reasons.entry(reason).or_default() += 1;
            continue;
        }
        compared += 1;
        legal += (ours.is_some() && theirs.is_some()) as usize;
        if ours != theirs {
            wrong.push(format!("{word:#010x}: ours {ours:?}, objdump {theirs:?}"));
        }
    }
    for (reason, n) in reasons {
        println!("{n} not compared: {reason}");
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    (compared, legal)
}

#[test]
fn every_row_with_random_operands() {
    const EACH: usize = 300;
    let mut rng = Rng::new(1);
    let mut words = Vec::new();
    for &op in Op::ALL {
        for _ in 0..EACH {
            let r = rng.next_u64();
            let fields = Fields {
                rd: r as u8,
                rs1: (r >> 8) as u8,
                rs2: (r >> 16) as u8,
                rs3: (r >> 24) as u8,
                // Only what objdump takes for the conversions that cannot round.
                rm: match op {
                    Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu => 0,
                    _ => [0, 1, 2, 3, 4, 7][(r >> 32) as usize % 6],
                },
                imm: (r >> 32) as i32,
                aq: r & 1 << 61 != 0,
                rl: r & 1 << 62 != 0,
            };
            let word = encode(op, &fields);
            assert_eq!(decode(word).map(|i| i.op), Some(op), "{word:#010x}");
            words.push(word);
        }
    }
    let (compared, legal) = compare("rows", &words);
    println!("{compared} words from {} rows compared", Op::ALL.len());
    assert!(legal >= Op::ALL.len() * EACH * 95 / 100, "{legal}");
}

#[test]
fn random_words() {
    let mut rng = Rng::new(2);
    let mut words: Vec<u32> = (0..400_000).map(|_| rng.next_u64() as u32 | 3).collect();
    // Most random words are illegal: take real instructions with a few bits flipped as well.
    for _ in 0..200_000 {
        let r = rng.next_u64();
        let row = Op::ALL[r as usize % Op::ALL.len()].row();
        let r = rng.next_u64();
        let flips = 1 << (r >> 32 & 31) | 1 << (r >> 40 & 31);
        words.push((row.matches | r as u32 & !row.mask) ^ flips);
    }
    let (compared, legal) = compare("random", &words);
    for word in words.iter().filter(|w| *w & 31 == 31) {
        assert_eq!(decode(*word), None, "{word:#010x} begins a longer instruction");
    }
    println!("{compared} random words compared, {legal} of them legal");
    assert!(compared > 300_000 && legal > 100_000, "{compared} {legal}");
}

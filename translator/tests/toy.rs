//! The translator with an instruction set that it has never heard of: ten instructions of one to six bytes,
//! from bytes to WebAssembly that runs. No neutral file knows it; what a guest has to bring is here.
//!
//! | bytes | instruction | |
//! |---|---|---|
//! | `00` | `nop` | |
//! | `01 dn` | `mov d, n` | register to register |
//! | `02 d imm32` | `movi d, imm` | |
//! | `03 dn` | `add d, n` | sets the flag: the result is 0 |
//! | `04 d imm8` | `addi d, imm` | sets the flag, too |
//! | `05 dn imm8` | `load d, [n + imm]` | 8 bytes |
//! | `06 dn imm8` | `store [n + imm], d` | 8 bytes |
//! | `07 imm16` | `jnz imm` | if the flag is not set; relative to the instruction |
//! | `08 imm16` | `call imm` | pushes the return address: r7 is the stack |
//! | `09` | `ret` | pops it |
//!
//! Addresses may be odd, so `next` is tagged by a bit that no canonical address has.

use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use forelift_abi::layout::PAGE_SIZE;
use forelift_abi::lift::{
    self, DISPATCH, Guest, HelperSpec, Index, Layout, MAX_DEPTH, Mode, State, Tag, page_hash,
};
use forelift_translator::fixed::{self, Piece};
use forelift_translator::isa::{Access, Decoded, Flow, Insn, Isa, Sum};
use forelift_translator::lift::{Frame, Lowering, Options, Register, Target};
use forelift_translator::region::{self, Block, Function, Limits};
use forelift_translator::{index, opt, standalone};
use std::collections::BTreeSet;
use wasmi::{Caller, Engine, Linker, Memory, Module, Store, TypedFunc};

/// The instruction set.
struct Toy;

/// Bit of the flag among the registers, after r0 to r7.
const FLAG: u32 = 8;
/// The stack pointer.
const STACK: u8 = 7;

static HELPERS: [HelperSpec; 1] = [HelperSpec {
    export: "toy_dispatch",
    params: &[lift::Value::I64, lift::Value::I32],
    result: lift::Value::I64,
}];

static GUEST: Guest =
    Guest { machine: 0xfe70, tag: Tag::NonCanonical, code_align: 1, modes: &[Mode::User], helpers: &HELPERS };

/// An instruction's fields: destination, source, immediate.
struct Fields {
    op: u8,
    d: u8,
    n: u8,
    imm: i32,
}

fn fields(code: &[u8]) -> Option<Fields> {
    let (&op, rest) = code.split_first()?;
    let byte = |at: usize| rest.get(at).copied();
    let pair = |at: usize| byte(at).map(|dn| (dn >> 4 & 7, dn & 7));
    let short = || Some(i32::from(i16::from_le_bytes([byte(0)?, byte(1)?])));
    let (d, n, imm) = match op {
        0 | 9 => (0, 0, 0),
        1 | 3 => (pair(0)?.0, pair(0)?.1, 0),
        2 => (byte(0)? & 7, 0, i32::from_le_bytes([byte(1)?, byte(2)?, byte(3)?, byte(4)?])),
        4 => (byte(0)? & 7, 0, i32::from(byte(1)? as i8)),
        5 | 6 => (pair(0)?.0, pair(0)?.1, i32::from(byte(1)? as i8)),
        7 | 8 => (0, 0, short()?),
        _ => return None,
    };
    Some(Fields { op, d, n, imm })
}

const LENGTHS: [u8; 10] = [1, 2, 6, 2, 3, 3, 3, 3, 3, 1];

impl Isa for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn guest(&self) -> &'static Guest {
        &GUEST
    }

    fn decode(&self, code: &[u8], _: Mode) -> Decoded {
        let Some(&len) = code.first().and_then(|&op| LENGTHS.get(usize::from(op))) else {
            return if code.is_empty() { Decoded::Truncated } else { Decoded::Illegal(1) };
        };
        let Some(Fields { op, d, n, imm }) = fields(code) else { return Decoded::Truncated };
        let mut insn = Insn::new(&code[..usize::from(len)]);
        let (to, from) = (1u64 << d, 1u64 << n);
        let stack = 1u64 << STACK;
        match op {
            1 => (insn.reads, insn.writes, insn.sum) = (from, to, Some(Sum { register: n, constant: 0 })),
            2 => insn.writes = to,
            3 => (insn.reads, insn.writes) = (to | from, to | 1 << FLAG),
            4 => {
                (insn.reads, insn.writes) = (to, to | 1 << FLAG);
                insn.sum = Some(Sum { register: d, constant: imm });
            }
            5 => (insn.reads, insn.writes) = (from, to),
            6 => insn.reads = to | from,
            7 => (insn.flow, insn.reads) = (Flow::Branch(imm), 1 << FLAG),
            8 => (insn.flow, insn.reads, insn.writes) = (Flow::Call(imm), stack, stack),
            9 => (insn.flow, insn.reads, insn.writes) = (Flow::Return, stack, stack),
            _ => {}
        }
        if matches!(op, 5 | 6) {
            insn.access = Some(Access { base: n, offset: imm, bytes: 8, write: op == 6 });
        }
        insn.links = op == 8;
        insn.speculative = matches!(op, 1..=4);
        Decoded::Insn(insn)
    }

    fn disassemble(&self, code: &[u8], _: u64) -> Option<String> {
        let Fields { op, d, n, imm } = fields(code)?;
        Some(format!("op{op} r{d}, r{n}, {imm}"))
    }
}

impl Target for Toy {
    fn registers(&self, layout: &Layout) -> Vec<Register> {
        let first = layout.state[0];
        (0..9).map(|n| Register { ty: types::I64, address: first + 8 * n }).collect()
    }

    fn example_state(&self, cpu: u64) -> State {
        let mut state = [0; lift::GUEST_WORDS];
        state[0] = cpu;
        state
    }

    fn lowering(&self, _: &Layout) -> Box<dyn Lowering> {
        Box::new(Meaning)
    }
}

struct Meaning;

fn get(f: &mut Frame<'_>, n: u8) -> Value {
    f.get(n.into())
}

/// Writes a result, and the flag.
fn set_with_flag(f: &mut Frame<'_>, n: u8, value: Value) {
    let zero = f.b.ins().icmp_imm_s(IntCC::Equal, value, 0);
    let zero = f.b.ins().uextend(types::I64, zero);
    f.set(n.into(), value);
    f.set(FLAG, zero);
}

impl Lowering for Meaning {
    fn insn(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let Some(Fields { op, d, n, imm }) = fields(insn.bytes()) else { return };
        let address = &mut |f: &mut Frame<'_>| {
            let base = get(f, n);
            f.b.ins().iadd_imm_s(base, i64::from(imm))
        };
        match op {
            1 => {
                let value = get(f, n);
                f.set(d.into(), value);
            }
            2 => {
                let value = f.iconst(imm.into());
                f.set(d.into(), value);
            }
            3 => {
                let (a, b) = (get(f, d), get(f, n));
                let sum = f.b.ins().iadd(a, b);
                set_with_flag(f, d, sum);
            }
            4 => {
                let a = get(f, d);
                let sum = f.b.ins().iadd_imm_s(a, i64::from(imm));
                set_with_flag(f, d, sum);
            }
            5 => {
                let place = f.locate(at, 8, false, address);
                let value = f.load_at(place, 8, false);
                f.set(d.into(), value);
            }
            6 => {
                let value = get(f, d);
                let place = f.locate(at, 8, true, address);
                f.store_at(place, 8, value);
            }
            _ => {}
        }
    }

    fn condition(&mut self, f: &mut Frame<'_>, _: &Insn) -> Value {
        let flag = f.get(FLAG);
        f.b.ins().icmp_imm_s(IntCC::Equal, flag, 0)
    }

    /// A return: pops the address.
    fn target(&mut self, f: &mut Frame<'_>, at: i32, _: &Insn) -> Value {
        let stack = get(f, STACK);
        let offset = f.translate(stack, 8, false, at);
        let place = f.ram(offset);
        let target = f.load_at(place, 8, false);
        let stack = f.b.ins().iadd_imm_s(stack, 8);
        f.set(STACK.into(), stack);
        target
    }

    /// A call: pushes the address.
    fn link(&mut self, f: &mut Frame<'_>, at: i32, _: &Insn, back: i32) {
        let stack = get(f, STACK);
        let stack = f.b.ins().iadd_imm_s(stack, -8);
        let offset = f.translate(stack, 8, true, at);
        let place = f.ram(offset);
        let back = f.pc(back);
        f.store_at(place, 8, back);
        f.set(STACK.into(), stack);
    }

    fn trap(&mut self, _: &mut Frame<'_>, _: &Block, _: i32) {}
}

/// Sums the numbers at r1, r2 of them, into r0; calls `double` for each. An interpreter of the same runs
/// beside.
fn program() -> Vec<u8> {
    let mut code = vec![0x02, 0x00, 0, 0, 0, 0]; // 0: movi r0, 0
    let head = code.len() as i32;
    code.extend([0x05, 0x31, 0x00]); // loop: load r3, [r1]
    code.extend([0x05, 0x41, 0x08]); // load r4, [r1 + 8]
    code.extend([0x03, 0x34]); // add r3, r4
    code.extend([0x06, 0x31, 0x00]); // store [r1], r3
    let call = code.len();
    code.extend([0x08, 0, 0]); // call double
    code.extend([0x03, 0x03]); // add r0, r3
    code.extend([0x04, 0x01, 0x10]); // addi r1, 16
    code.extend([0x04, 0x02, 0xff]); // addi r2, -1
    let back = (head - code.len() as i32) as i16;
    code.push(0x07);
    code.extend(back.to_le_bytes()); // jnz loop
    code.push(0x09); // ret
    code.push(0x00); // nop: what follows begins at an odd or even address, as it comes
    let delta = (code.len() - call) as i16;
    code[call + 1..call + 3].copy_from_slice(&delta.to_le_bytes());
    code.extend([0x01, 0x53, 0x03, 0x35, 0x09]); // double: mov r5, r3; add r3, r5; ret
    code
}

/// Where the code is in the guest: not even.
const BASE: u64 = 0x4001;
/// Numbers that are summed.
const DATA: u64 = 0x8000;
const TOP: u64 = 0x9000;

/// The machine in linear memory: layout, and what the runtime of a real guest would keep there.
struct Machine {
    store: Store<()>,
    memory: Memory,
    functions: Vec<TypedFunc<(i64, i32, i32), i64>>,
    layout: Layout,
    index: Index,
    page: Vec<u8>,
}

const PAGES: u64 = 0x120_0000 / 0x1_0000;

impl Machine {
    fn new(wasm: &[u8], layout: Layout, index: Index, count: usize, page: Vec<u8>) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("a valid module");
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, wasmi::MemoryType::new(PAGES as u32, None)).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define("forelift", "memory", memory).unwrap();
        // Nothing is called through the runtime here: everybody returns to the dispatcher.
        let dispatch = |_: Caller<'_, ()>, va: i64, _: i32| Tag::NonCanonical.set(va as u64) as i64;
        linker.func_wrap("forelift", HELPERS[DISPATCH as usize].export, dispatch).unwrap();
        let lifted = |_: Caller<'_, ()>, va: i64, _: i32, _: i32| Tag::NonCanonical.set(va as u64) as i64;
        linker.func_wrap("forelift", "lifted", lifted).unwrap();
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        let functions =
            (0..count).map(|n| instance.get_typed_func(&store, &format!("f{n}")).unwrap()).collect();
        Machine { store, memory, functions, layout, index, page }
    }

    fn word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory.read(&self.store, address as usize, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn put(&mut self, address: u64, value: u64) {
        self.memory.write(&mut self.store, address as usize, &value.to_le_bytes()).unwrap();
    }

    fn register(&self, n: u64) -> u64 {
        self.word(self.layout.state[0] + 8 * n)
    }

    /// Maps guest page `va` to the same offset in RAM, for reading and writing.
    fn map(&mut self, va: u64) {
        let entries = self.layout.dtlb_entries;
        let at = (va / PAGE_SIZE % entries) * 8;
        for table in [0, entries * 8] {
            self.put(self.layout.dtlb_user + table + at, 0);
        }
    }

    /// Calls lifted code from `pc` on as the runtime's dispatcher would; gives where that ends.
    fn run(&mut self, mut pc: u64) -> u64 {
        loop {
            let page = self.index.find(page_hash(&self.page), Mode::User).expect("a page with lifted code");
            let entry = page.entries.iter().find(|(offset, _)| u64::from(*offset) == pc % PAGE_SIZE);
            let Some(&(_, value)) = entry.filter(|_| pc / PAGE_SIZE == BASE / PAGE_SIZE) else { return pc };
            let number = (value & ((1 << lift::FUNCTION_BITS) - 1)) as usize - 1;
            let function = self.functions[number];
            let left = self.word(self.layout.left);
            let next = function.call(&mut self.store, (pc as i64, value as i32, MAX_DEPTH as i32)).unwrap();
            pc = Tag::NonCanonical.address(next as u64);
            assert_ne!(self.word(self.layout.left), left, "it did nothing at {pc:#x}");
        }
    }
}

/// Bytes to regions to WebAssembly.
fn translate(code: &[u8]) -> (Vec<u8>, Index, Vec<Function>, Vec<u8>) {
    let pieces = [Piece { address: BASE, bytes: code }];
    let hot = fixed::all(&Toy, &pieces, Mode::User);
    let program = fixed::program(&Toy, &pieces, &hot, &BTreeSet::from([BASE]), Mode::User);
    let regions = region::regions(&program, Limits { threshold: 1, ..Limits::default() });
    let functions: Vec<Function> = regions.into_iter().flat_map(|region| region.functions).collect();
    let isa = opt::host_isa(true).unwrap();
    let options = Options { layout: fixed::layout(&Toy), call_conv: opt::call_conv(&isa) };
    let mut bodies = Vec::new();
    for function in &functions {
        let mut clif = cranelift_codegen::ir::Function::new();
        forelift_translator::lift::lift(&Toy, &program, function, &options, &mut clif);
        opt::optimize(&mut clif, &isa).unwrap();
        bodies.push(forelift_emit::emit(&clif).unwrap());
    }
    let names: Vec<String> = (0..bodies.len()).map(|n| format!("f{n}")).collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(&bodies).collect();
    let wasm = standalone::module(&GUEST, &named).unwrap();
    wasmparser::validate(&wasm).unwrap();
    let all: Vec<&Function> = functions.iter().collect();
    let index = index::index(&program, &all, 1);
    assert!(index.is_valid(&GUEST));
    (wasm, index, functions, program.pages[0].bytes.clone())
}

#[test]
fn from_bytes_to_running_webassembly() {
    const COUNT: u64 = 20;
    let (wasm, index, functions, page) = translate(&program());
    let entries: Vec<u16> = index.pages.iter().flat_map(|p| p.entries.iter().map(|(at, _)| *at)).collect();
    assert!(entries.iter().any(|at| at % 2 != 0), "entry points at odd addresses: {entries:?}");
    let layout = fixed::layout(&Toy);
    let mut machine = Machine::new(&wasm, layout, index, functions.len(), page);
    for n in 0..2 * COUNT {
        machine.put(layout.ram + DATA + 8 * n, 3 * n + 1);
    }
    // Where the guest's caller would go on.
    let end = 0x7001;
    machine.put(layout.ram + TOP, end);
    for (n, value) in [(1, DATA), (2, COUNT), (7, TOP)] {
        machine.put(layout.state[0] + 8 * n, value);
    }
    for page in [DATA, DATA + PAGE_SIZE, TOP, TOP - PAGE_SIZE] {
        machine.map(page);
    }
    let budget = 10_000;
    machine.put(layout.left, budget);
    assert_eq!(machine.run(BASE), end);

    let expected: u64 = (0..COUNT).map(|n| 2 * (3 * (2 * n) + 1 + 3 * (2 * n + 1) + 1)).sum();
    assert_eq!(machine.register(0), expected);
    assert_eq!((machine.register(1), machine.register(2)), (DATA + 16 * COUNT, 0));
    assert_eq!(machine.register(7), TOP + 8);
    // One instruction before the loop, nine and three of `double` in each round, and the return.
    assert_eq!(budget - machine.word(layout.left), 1 + 12 * COUNT + 1);
    for n in 0..COUNT {
        assert_eq!(machine.word(layout.ram + DATA + 16 * n), 3 * (2 * n) + 1 + 3 * (2 * n + 1) + 1);
    }
}

#[test]
fn a_miss_leaves_at_the_instruction() {
    let (wasm, index, functions, page) = translate(&program());
    let layout = fixed::layout(&Toy);
    let mut machine = Machine::new(&wasm, layout, index, functions.len(), page);
    // Entries that make no offset in RAM of any address of the page.
    for table in [0, layout.dtlb_entries * 8] {
        machine.put(layout.dtlb_user + table + DATA / PAGE_SIZE * 8, u64::MAX / 2);
    }
    machine.put(layout.state[0] + 8, DATA);
    machine.put(layout.left, 100);
    let value = machine.index.pages[0].entries.iter().find(|(at, _)| u64::from(*at) == BASE % PAGE_SIZE);
    let (_, value) = *value.expect("the program's beginning");
    let function = machine.functions[(value & ((1 << lift::FUNCTION_BITS) - 1)) as usize - 1];
    let next = function.call(&mut machine.store, (BASE as i64, value as i32, 8)).unwrap() as u64;
    assert!(Tag::NonCanonical.is_set(next));
    // At the first load: the one instruction before it has retired.
    assert_eq!(Tag::NonCanonical.address(next), BASE + 6);
    assert_eq!(machine.word(layout.left), 99);
}

#[test]
fn instructions_are_decoded_by_their_lengths() {
    let code = program();
    let pieces = [Piece { address: BASE, bytes: &code }];
    assert_eq!(fixed::all(&Toy, &pieces, Mode::User).len(), 15);
    assert_eq!(Toy.decode(&[2, 0, 0], Mode::User), Decoded::Truncated);
    assert_eq!(Toy.decode(&[0x77], Mode::User), Decoded::Illegal(1));
}

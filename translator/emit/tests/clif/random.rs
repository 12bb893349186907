//! Random functions: before and after the mid-end, in wasmi and in Cranelift's interpreter.
//!
//! `EMIT_SEED` is the first seed, `EMIT_CASES` the number of functions.

use crate::testing::{Arg, Outcome, Wasm, host, interpret, module, optimised, parse};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, Function, InstBuilder, JumpTableData, MemFlagsData, Opcode, Signature, TrapCode, Type,
    UserExternalName, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

const INTS: [Type; 4] = [types::I8, types::I16, types::I32, types::I64];

/// splitmix64
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => self.pick(&[0, 1, -1, 2, 7, 8, 31, 32, 63, 255, 256]),
            1 => {
                self.pick(&[i64::MIN, i64::MAX, i64::from(i32::MIN), 0x7fff_ffff, 0xffff_ffff, 0x8000, 0x80])
            }
            2 => 1 << self.below(64),
            3 => self.below(200) as i64 - 100,
            _ => self.next() as i64,
        }
    }
}

/// What a called function does: it changes the memory.
const CALLEE: &str = "function u0:1(i64, i64) -> i64 {
block0(v0: i64, v1: i64):
    v2 = load.i64 v0+16
    v3 = iconst.i64 31
    v4 = imul v2, v3
    v5 = iadd v4, v1
    store v5, v0+16
    v6 = load.i64 v0+24
    v7 = bxor v6, v1
    return v7
}";

struct Generator<'a, 'b> {
    rng: &'a mut Rng,
    b: FunctionBuilder<'b>,
    /// By type, as in `INTS`.
    variables: [Vec<Variable>; 4],
    /// Values of the current block.
    fresh: [Vec<Value>; 4],
    mem: Value,
    callee: cranelift_codegen::ir::FuncRef,
}

fn type_index(ty: Type) -> usize {
    INTS.iter().position(|&t| t == ty).unwrap()
}

impl Generator<'_, '_> {
    fn operand(&mut self, ty: Type) -> Value {
        let t = type_index(ty);
        let n = self.fresh[t].len();
        match self.rng.below(10) {
            0 => {
                let c = self.rng.number();
                let unused = 64 - ty.bits();
                self.b.ins().iconst(ty, ((c as u64) << unused >> unused) as i64)
            }
            1..=5 if n > 0 => {
                let back = self.rng.below(n.min(4));
                self.fresh[t][n - 1 - back]
            }
            _ => {
                let variable = self.rng.pick(&self.variables[t]);
                self.b.use_var(variable)
            }
        }
    }

    fn result(&mut self, value: Value) {
        let t = type_index(self.b.func.dfg.value_type(value));
        self.fresh[t].push(value);
        if self.rng.chance(40) {
            let variable = self.rng.pick(&self.variables[t]);
            self.b.def_var(variable, value);
        }
    }

    /// An address within the memory that has space for eight bytes.
    fn address(&mut self) -> (Value, i32) {
        let offset = self.rng.below(31) as i32 * 8;
        match self.rng.below(4) {
            0 => {
                let x = self.operand(types::I64);
                let mask = self.b.ins().iconst(types::I64, 0x78);
                let index = self.b.ins().band(x, mask);
                (self.b.ins().iadd(self.mem, index), self.rng.below(16) as i32 * 8)
            }
            1 => {
                let x = self.operand(types::I32);
                let mask = self.b.ins().iconst(types::I32, 0x78);
                let index = self.b.ins().band(x, mask);
                let base = self.b.ins().ireduce(types::I32, self.mem);
                let sum = self.b.ins().iadd(base, index);
                (self.b.ins().uextend(types::I64, sum), self.rng.below(16) as i32 * 8)
            }
            2 => {
                let c = self.b.ins().iconst(types::I64, 128);
                (self.b.ins().iadd(self.mem, c), offset.min(240) / 16 * 8)
            }
            _ => (self.mem, offset),
        }
    }

    fn flags(&mut self) -> MemFlagsData {
        if self.rng.chance(60) { MemFlagsData::trusted().with_notrap() } else { MemFlagsData::new() }
    }

    fn step(&mut self) {
        let ty = self.rng.pick(&[
            types::I8,
            types::I16,
            types::I32,
            types::I32,
            types::I64,
            types::I64,
            types::I64,
        ]);
        match self.rng.below(20) {
            0..=6 => {
                let (a, b) = (self.operand(ty), self.operand(ty));
                let value = self.binary(ty, a, b);
                self.result(value);
            }
            7..=8 => {
                let (a, amount_ty) = (self.operand(ty), self.rng.pick(&INTS));
                let amount = self.operand(amount_ty);
                let value = match self.rng.below(5) {
                    0 => self.b.ins().ishl(a, amount),
                    1 => self.b.ins().ushr(a, amount),
                    2 => self.b.ins().sshr(a, amount),
                    3 => self.b.ins().rotl(a, amount),
                    _ => self.b.ins().rotr(a, amount),
                };
                self.result(value);
            }
            9..=10 => {
                let value = self.unary(ty);
                self.result(value);
            }
            11 => {
                let value = self.compare();
                self.result(value);
            }
            12 => {
                let cond_ty = self.rng.pick(&[types::I8, types::I32, types::I64]);
                let cond = if self.rng.chance(70) { self.compare() } else { self.operand(cond_ty) };
                let (a, b) = (self.operand(ty), self.operand(ty));
                let value = self.b.ins().select(cond, a, b);
                self.result(value);
            }
            13 => {
                let value = self.convert();
                self.result(value);
            }
            14..=15 => {
                let (address, offset) = self.address();
                let flags = self.flags();
                let value = match self.rng.below(6) {
                    0 => self.b.ins().uload8(types::I64, flags, address, offset),
                    1 => self.b.ins().sload8(types::I32, flags, address, offset),
                    2 => self.b.ins().sload16(types::I64, flags, address, offset),
                    3 => self.b.ins().uload32(flags, address, offset),
                    _ => self.b.ins().load(ty, flags, address, offset),
                };
                self.result(value);
            }
            16..=17 => {
                let value = self.operand(ty);
                let (address, offset) = self.address();
                let flags = self.flags();
                match (self.rng.below(3), ty) {
                    (0, types::I64) => self.b.ins().istore32(flags, value, address, offset),
                    (1, types::I64 | types::I32) => self.b.ins().istore8(flags, value, address, offset),
                    _ => self.b.ins().store(flags, value, address, offset),
                };
            }
            18 => {
                let value = self.operand(types::I64);
                let call = self.b.ins().call(self.callee, &[self.mem, value]);
                let value = self.b.inst_results(call)[0];
                self.result(value);
            }
            _ => {
                let value = self.division(ty);
                self.result(value);
            }
        }
    }

    fn binary(&mut self, ty: Type, a: Value, b: Value) -> Value {
        let ins = self.b.ins();
        match self.rng.below(17) {
            0..=2 => ins.iadd(a, b),
            3..=4 => ins.isub(a, b),
            5 => ins.imul(a, b),
            6..=7 => ins.band(a, b),
            8 => ins.bor(a, b),
            9 => ins.bxor(a, b),
            10 => ins.smin(a, b),
            11 => ins.umax(a, b),
            12 => ins.umin(a, b),
            13 => ins.smax(a, b),
            14 if ty.bits() >= 16 => ins.umulhi(a, b),
            15 if ty.bits() >= 16 => ins.smulhi(a, b),
            _ => {
                let c = self.operand(ty);
                self.b.ins().bitselect(c, a, b)
            }
        }
    }

    fn unary(&mut self, ty: Type) -> Value {
        let a = self.operand(ty);
        let ins = self.b.ins();
        match self.rng.below(10) {
            0 => ins.ineg(a),
            1 => ins.bnot(a),
            2 => ins.iabs(a),
            3 => ins.clz(a),
            4 => ins.ctz(a),
            5 => ins.cls(a),
            6 => ins.popcnt(a),
            7 => ins.bitrev(a),
            8 if ty != types::I8 => ins.bswap(a),
            _ => {
                let to = INTS[self.rng.below(4)];
                self.b.ins().bmask(to, a)
            }
        }
    }

    fn compare(&mut self) -> Value {
        use IntCC::*;
        let ty = self.rng.pick(&INTS);
        let cc = self.rng.pick(&[
            Equal,
            NotEqual,
            Equal,
            NotEqual,
            SignedLessThan,
            SignedGreaterThan,
            SignedLessThanOrEqual,
            SignedGreaterThanOrEqual,
            UnsignedLessThan,
            UnsignedGreaterThan,
            UnsignedLessThanOrEqual,
            UnsignedGreaterThanOrEqual,
        ]);
        let a = self.operand(ty);
        let b = if self.rng.chance(25) { self.b.ins().iconst(ty, 0) } else { self.operand(ty) };
        self.b.ins().icmp(cc, a, b)
    }

    fn convert(&mut self) -> Value {
        loop {
            let (from, to) = (self.rng.pick(&INTS), self.rng.pick(&INTS));
            if from == to {
                continue;
            }
            let a = self.operand(from);
            return match (from.bits() > to.bits(), self.rng.chance(50)) {
                (true, _) => self.b.ins().ireduce(to, a),
                (false, true) => self.b.ins().uextend(to, a),
                (false, false) => self.b.ins().sextend(to, a),
            };
        }
    }

    /// A division, which traps now and then.
    fn division(&mut self, ty: Type) -> Value {
        let a = self.operand(ty);
        let mut b = self.operand(ty);
        if self.rng.chance(90) {
            let one = self.b.ins().iconst(ty, 2);
            b = self.b.ins().bor(b, one);
        }
        if self.rng.chance(30) {
            let c = self.rng.pick(&[1, 2, 3, 5, 7, 10, 16, 100]);
            b = self.b.ins().iconst(ty, c);
        }
        match self.rng.below(4) {
            0 => self.b.ins().udiv(a, b),
            1 => self.b.ins().urem(a, b),
            2 => self.b.ins().sdiv(a, b),
            _ => {
                // The interpreter traps for the remainder of a division by -1.
                let positive = self.b.ins().iconst(ty, (1i64 << (ty.bits() - 1)).wrapping_sub(1));
                let b = self.b.ins().band(b, positive);
                self.b.ins().srem(a, b)
            }
        }
    }

    fn condition(&mut self) -> Value {
        match self.rng.below(5) {
            0 => self.operand(types::I8),
            1 => self.operand(types::I32),
            2 => self.operand(types::I64),
            _ => self.compare(),
        }
    }

    /// Ends a block with branches to random blocks.
    fn end(&mut self, blocks: &[(Block, Vec<Type>)], here: usize) {
        let n = blocks.len();
        let target = |this: &mut Self| {
            let i = match this.rng.below(10) {
                0..=4 => (here + 1 + this.rng.below(3)).min(n - 1),
                // The last block is a common exit.
                5..=6 => n - 1,
                _ => 1 + this.rng.below(n - 1),
            };
            let (block, params) = &blocks[i];
            let args: Vec<Value> = params.iter().map(|&ty| this.operand(ty)).collect();
            (*block, args.into_iter().map(Into::into).collect::<Vec<_>>())
        };
        match self.rng.below(8) {
            0 => {
                let (to, args) = target(self);
                self.b.ins().jump(to, &args);
            }
            1 => {
                let mut calls = Vec::new();
                for _ in 0..1 + self.rng.below(5) {
                    let (to, args) = target(self);
                    calls.push(self.b.func.dfg.block_call(to, &args));
                }
                let default = calls.pop().unwrap();
                let table = self.b.create_jump_table(JumpTableData::new(default, &calls));
                let x = self.operand(types::I32);
                let seven = self.b.ins().iconst(types::I32, 7);
                let index = self.b.ins().band(x, seven);
                self.b.ins().br_table(index, table);
            }
            _ => {
                let cond = self.condition();
                let (to, args) = target(self);
                let (other, other_args) = target(self);
                self.b.ins().brif(cond, to, &args, other, &other_args);
            }
        }
    }
}

fn random_function(rng: &mut Rng, isa: &OwnedTargetIsa) -> Function {
    let mut sig = Signature::new(CallConv::SystemV);
    let params = [types::I64, types::I32, types::I64, types::I64, types::I32, types::I8, types::I16];
    sig.params.extend(params.map(AbiParam::new));
    sig.returns.extend([types::I64, types::I32, types::I8, types::I16, types::I64].map(AbiParam::new));
    let mut func = Function::with_name_signature(UserFuncName::user(0, 0), sig);
    let mut callee_sig = Signature::new(CallConv::SystemV);
    callee_sig.params.extend([AbiParam::new(types::I64); 2]);
    callee_sig.returns.push(AbiParam::new(types::I64));
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut func, &mut context);
    let signature = b.import_signature(callee_sig);
    let name = b.func.declare_imported_user_function(UserExternalName::new(0, 1));
    let callee = b.import_function(cranelift_codegen::ir::ExtFuncData {
        name: cranelift_codegen::ir::ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    });
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let args = b.block_params(entry).to_vec();
    let fuel = b.declare_var(types::I32);
    b.def_var(fuel, args[1]);
    let mut variables: [Vec<Variable>; 4] = Default::default();
    for (t, count) in [(0, 2), (1, 1), (2, 3), (3, 4)] {
        for i in 0..count {
            let variable = b.declare_var(INTS[t]);
            let given: Vec<Value> =
                args[2..].iter().copied().filter(|&v| b.func.dfg.value_type(v) == INTS[t]).collect();
            let value = if i < given.len() { given[i] } else { b.ins().iconst(INTS[t], i as i64 * 3) };
            b.def_var(variable, value);
            variables[t].push(variable);
        }
    }
    let mem = args[0];
    let mut g = Generator { rng, b, variables, fresh: Default::default(), mem, callee };
    let n = 2 + g.rng.below(12);
    let mut blocks = vec![(entry, Vec::new())];
    for _ in 1..n {
        let block = g.b.create_block();
        let params: Vec<Type> = (0..g.rng.below(3)).map(|_| g.rng.pick(&INTS)).collect();
        for &ty in &params {
            g.b.append_block_param(block, ty);
        }
        blocks.push((block, params));
    }
    let out = g.b.create_block();
    for i in 0..n {
        let (block, _) = blocks[i];
        g.fresh = Default::default();
        if i > 0 {
            g.b.switch_to_block(block);
            for value in g.b.block_params(block).to_vec() {
                g.fresh[type_index(g.b.func.dfg.value_type(value))].push(value);
            }
            // Every block uses fuel, so that all loops end.
            let left = g.b.use_var(fuel);
            let minus_one = g.b.ins().iconst(types::I32, 0xffff_ffff);
            let left = g.b.ins().iadd(left, minus_one);
            g.b.def_var(fuel, left);
            let body = g.b.create_block();
            g.b.ins().brif(left, body, &[], out, &[]);
            g.b.switch_to_block(body);
        }
        for _ in 0..g.rng.below(9) {
            g.step();
        }
        if g.rng.chance(3) {
            let cond = g.condition();
            g.b.ins().trapnz(cond, TrapCode::unwrap_user(1));
        }
        if i + 1 == n {
            g.b.ins().jump(out, &[]);
        } else {
            g.end(&blocks, i);
        }
    }
    g.b.switch_to_block(out);
    let mut results = Vec::new();
    for t in [3, 2, 0, 1, 3] {
        let mut sum = g.b.use_var(g.variables[t][0]);
        for &variable in &g.variables[t][1..].to_vec() {
            let value = g.b.use_var(variable);
            sum = g.b.ins().iadd(sum, value);
        }
        results.push(sum);
    }
    g.b.ins().return_(&results);
    g.b.seal_all_blocks();
    g.b.finalize(isa.frontend_config());
    func
}

#[test]
fn random_functions() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let seed = setting("EMIT_SEED", 1);
    let cases = setting("EMIT_CASES", if cfg!(debug_assertions) { 200 } else { 3000 });
    let isa = host();
    let callee = parse(CALLEE).remove(0);
    let (mut compared, mut traps, mut tables, mut unable) = (0u64, 0u64, 0u64, 0u64);
    for case in seed..seed + cases {
        let mut rng = Rng(case);
        let func = random_function(&mut rng, &isa);
        let better = optimised(&func, &isa);
        let plain = [func, callee.clone()];
        let better = [better, callee.clone()];
        let wasm = [Wasm::new(&plain), Wasm::new(&better)];
        let is_branch = |f: &Function| {
            f.layout
                .blocks()
                .flat_map(|b| f.layout.block_insts(b))
                .any(|i| f.dfg.insts[i].opcode() == Opcode::BrTable)
        };
        tables += u64::from(is_branch(&better[0]));
        for _ in 0..2 {
            let fuel = 1 + rng.below(60) as u64;
            let mut args = vec![Arg::Mem, Arg::Bits(fuel)];
            for ty in [types::I64, types::I64, types::I32, types::I8, types::I16] {
                let unused = 64 - ty.bits();
                args.push(Arg::Bits((rng.number() as u64) << unused >> unused));
            }
            let outcomes = [wasm[0].call(&args), wasm[1].call(&args)];
            let expected = interpret(&plain, &args);
            unable += u64::from(expected.is_none());
            let expected = expected.unwrap_or_else(|| outcomes[0].clone());
            for (outcome, funcs) in outcomes.iter().zip([&plain, &better]) {
                if *outcome != expected {
                    let wat = wasmprinter::print_bytes(module(funcs)).unwrap();
                    panic!(
                        "EMIT_SEED={case} EMIT_CASES=1, {args:x?}:\n{outcome:x?}\n{expected:x?}\n{}\n{wat}\n{}",
                        funcs[0].display(),
                        if outcomes[0] == outcomes[1] { "both differ" } else { "one differs" },
                    );
                }
            }
            compared += 1;
            traps += u64::from(expected == Outcome::Trap);
        }
    }
    println!(
        "{compared} calls compared, {traps} traps, {tables} functions with tables, {unable} not interpreted"
    );
    assert_eq!(compared, 2 * cases);
    assert!(unable * 10 < compared, "the interpreter failed {unable} times");
    assert!(traps * 2 < compared, "{traps} traps");
}

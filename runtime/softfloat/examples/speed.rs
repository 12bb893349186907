//! Prints what an operation costs, in ns: with NX set before, with no flag set before, and in integers only.
//!
//! Natively `cargo run --release -p forelift-softfloat --example speed`; in WASM build it with `--profile
//! wasm --target wasm32-wasip1` and run the module on any WASI runtime. The operands are ordinary numbers,
//! all results inexact: the fast paths' case.

use forelift_softfloat::*;
use std::hint::black_box;
use std::time::Instant;

const OPERANDS: usize = 1024;
const ROUNDS: usize = 4000;

/// Numbers between 0.5 and 8, with full significands.
fn operands() -> Vec<f64> {
    let mut state = 1_u64;
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(0x3fe0_0000_0000_0000 + (*state >> 10))
    };
    (0..OPERANDS + 2).map(|_| step(&mut state)).collect()
}

/// The median of five timings of `ROUNDS` passes, in ns per operation.
fn time<T: Copy>(values: &[T], mut op: impl FnMut(T, T, T) -> T) -> f64 {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                for window in black_box(values).windows(3) {
                    black_box(op(window[0], window[1], window[2]));
                }
            }
            start.elapsed().as_nanos() as f64 / (ROUNDS * OPERANDS) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}

/// Times a function of the crate in both states of NX, and its integer form; `$use` applies it to operands.
macro_rules! line {
    ($name:literal, $values:expr, $fast:expr, $soft:expr, |$f:ident, $a:ident, $b:ident, $c:ident, $flags:ident| $use:expr) => {{
        let mut flags = NX;
        let set = {
            let ($f, $flags) = ($fast, &mut flags);
            time($values, |$a, $b, $c| $use)
        };
        let clear = time($values, |$a, $b, $c| {
            let mut flags = 0;
            let ($f, $flags) = ($fast, &mut flags);
            let result = $use;
            black_box(flags);
            result
        });
        let integers = {
            let ($f, $flags) = ($soft, &mut flags);
            time($values, |$a, $b, $c| $use)
        };
        println!("{:10} {set:9.2} {clear:9.2} {integers:9.2}", $name);
    }};
}

fn main() {
    let doubles: Vec<u64> = operands().iter().map(|x| x.to_bits()).collect();
    let singles: Vec<u32> = operands().iter().map(|x| (*x as f32).to_bits()).collect();
    let (d, s, rm) = (&doubles, &singles, Round::Rne);
    println!("{:10} {:>9} {:>9} {:>9}", "ns", "NX set", "clear", "integers");
    line!("f64 add", d, f64_add, soft::add::<F64>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f64 mul", d, f64_mul, soft::mul::<F64>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f64 div", d, f64_div, soft::div::<F64>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f64 sqrt", d, f64_sqrt, soft::sqrt::<F64>, |f, a, _b, _c, flags| f(a, rm, flags));
    line!("f64 fma", d, f64_fma, soft::fma::<F64>, |f, a, b, c, flags| f(a, b, c, rm, flags));
    line!("f32 add", s, f32_add, soft::add::<F32>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f32 mul", s, f32_mul, soft::mul::<F32>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f32 div", s, f32_div, soft::div::<F32>, |f, a, b, _c, flags| f(a, b, rm, flags));
    line!("f32 sqrt", s, f32_sqrt, soft::sqrt::<F32>, |f, a, _b, _c, flags| f(a, rm, flags));
    line!("f32 fma", s, f32_fma, soft::fma::<F32>, |f, a, b, c, flags| f(a, b, c, rm, flags));
}

//! Refusals, and functions of extreme shape.

use crate::testing::{Arg, Outcome, Wasm, host, module, optimised, parse};
use forelift_emit::{EmitError, emit};
use std::fmt::Write;

fn refused(body: &str) -> String {
    let text = format!(
        "function u0:0(i64, i64) -> i64 {{\n ss0 = explicit_slot 8\nblock0(v0: i64, v1: i64):\n{body}\n}}"
    );
    match emit(&parse(&text)[0]) {
        Err(EmitError::Unsupported(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unsupported_opcodes_are_errors() {
    assert_eq!(refused(" v2 = stack_addr.i64 ss0\n return v2"), "stack_addr.i64");
    assert_eq!(refused(" v2, v3 = uadd_overflow v0, v1\n return v2"), "uadd_overflow.i64");
    assert_eq!(refused(" v2 = atomic_load.i64 little v0\n return v2"), "atomic_load.i64");
    assert_eq!(refused(" v2 = load.i64 big v0\n return v2"), "load.i64");
    assert_eq!(refused(" v2 = iconcat v0, v1\n v3, v4 = isplit v2\n return v4"), "isplit.i128");
    assert_eq!(refused(" v2 = splat.i64x2 v0\n v3 = extractlane v2, 0\n return v3"), "extractlane.i64x2");
    assert_eq!(refused(" fence\n return v0"), "fence");
    assert_eq!(refused(" store big v0, v1\n return v0"), "store.i64");
}

/// A chain of operations on one value, on one path and as one tree.
#[test]
fn long_straight_code() {
    let mut text = "function u0:0(i64) -> i64 {\nblock0(v0: i64):\n".to_owned();
    for i in 1..50_000 {
        let op = ["iadd", "bxor", "imul"][i % 3];
        writeln!(text, " v{i} = {op} v{}, v0", i - 1).unwrap();
    }
    writeln!(text, " return v49999\n}}").unwrap();
    let funcs = parse(&text);
    let mut expected = 3u64;
    for i in 1..50_000 {
        expected = match i % 3 {
            0 => expected.wrapping_add(3),
            1 => expected ^ 3,
            _ => expected.wrapping_mul(3),
        };
    }
    match Wasm::new(&funcs).call(&[Arg::Bits(3)]) {
        Outcome::Return(values, _) => assert_eq!(values, [expected]),
        Outcome::Trap => panic!("trap"),
    }
}

/// Blocks that dominate each other in one long chain, each with a way out.
#[test]
fn deep_dominator_trees() {
    let n = 5000;
    let mut text = "function u0:0(i32) -> i32 {\nblock0(v0: i32):\n jump block1(v0)\n".to_owned();
    for i in 1..n {
        writeln!(text, "block{i}(v{i}: i32):\n v{} = iadd v{i}, v{i}", n + i).unwrap();
        if i + 1 < n {
            // Some leave to a common exit, some to a block of their own.
            writeln!(text, " brif v{}, block{}(v{}), block{}(v{i})", n + i, i + 1, n + i, 2 * n + i % 2 * i)
                .unwrap();
        } else {
            writeln!(text, " return v{}", n + i).unwrap();
        }
    }
    writeln!(text, "block{}(v90000: i32):\n return v90000", 2 * n).unwrap();
    for i in (1..n - 1).step_by(2) {
        writeln!(text, "block{}(v{}: i32):\n return v0", 2 * n + i, 50_000 + i).unwrap();
    }
    text.push('}');
    let funcs = parse(&text);
    module(&funcs);
    module(&[optimised(&funcs[0], &host())]);
}

/// Diamonds in diamonds: both arms of each branch contain the next one.
#[test]
fn nested_arms() {
    let n = 1500;
    let mut text =
        "function u0:0(i32) -> i32 {\nblock0(v0: i32):\n v1 = iconst.i32 1\n jump block1\n".to_owned();
    for i in 1..=n {
        // block i branches to the next level and to a side arm; both join in block 2n + i.
        writeln!(text, "block{i}:\n brif v0, block{}, block{}", if i < n { i + 1 } else { 4 * n }, n + i)
            .unwrap();
        writeln!(text, "block{}:\n store v1, v0+{i}\n jump block{}", n + i, 2 * n + i).unwrap();
    }
    writeln!(text, "block{}:\n jump block{}", 4 * n, 3 * n).unwrap();
    for i in (1..=n).rev() {
        let next = if i > 1 { format!("jump block{}", 2 * n + i - 1) } else { "return v0".to_owned() };
        writeln!(text, "block{}:\n {next}", 2 * n + i).unwrap();
    }
    text.push('}');
    emit(&parse(&text)[0]).unwrap();
}

/// All blocks of a clique reach each other: the worst irreducible graph.
#[test]
fn irreducible_cliques() {
    let n = 60;
    let mut text = "function u0:0(i32) -> i32 {\nblock0(v0: i32):\n jump block1\n".to_owned();
    for i in 1..=n {
        let all: Vec<_> = (1..=n).map(|j| format!("block{j}")).collect();
        writeln!(text, "block{i}:\n br_table v0, block{}, [{}]", n + 1, all.join(", ")).unwrap();
    }
    writeln!(text, "block{}:\n return v0\n}}", n + 1).unwrap();
    let funcs = parse(&text.replace("jump block1", "br_table v0, block1, [block2, block3, block4]"));
    match Wasm::new(&funcs).call(&[Arg::Bits(1000)]) {
        Outcome::Return(values, _) => assert_eq!(values, [1000]),
        Outcome::Trap => panic!("trap"),
    }
}

/// More values live at once than an engine allows locals.
#[test]
fn too_many_locals() {
    let n = 60_000;
    let mut text = "function u0:0(i64) -> i64 {\nblock0(v0: i64):\n".to_owned();
    for i in 1..n {
        writeln!(text, " v{i} = load.i64 v0+{i}").unwrap();
    }
    writeln!(text, " store v0, v0\n jump block1\nblock1:").unwrap();
    for i in 1..n {
        writeln!(text, " store v{i}, v0+{i}").unwrap();
    }
    writeln!(text, " return v0\n}}").unwrap();
    assert!(matches!(emit(&parse(&text)[0]), Err(EmitError::TooManyLocals(_))));
}

#[test]
fn emission_is_deterministic() {
    let text = "function u0:0(i64, i64) -> i64 {\nblock0(v0: i64, v1: i64):\n brif v0, block1, block2\nblock1:\n \
                v2 = iadd v0, v1\n jump block3(v2)\nblock2:\n v3 = isub v0, v1\n jump block3(v3)\n\
                block3(v4: i64):\n v5 = imul v4, v0\n v6 = iadd v5, v4\n return v6\n}";
    let func = parse(text).remove(0);
    let first = emit(&func).unwrap();
    for _ in 0..20 {
        assert_eq!(emit(&func).unwrap(), first);
    }
}

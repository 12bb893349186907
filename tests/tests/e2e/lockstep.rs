//! `forelift lockstep`: engines agree, and a wrong function is found.

use crate::testing::dir;
use forelift_tests::{
    done::Done,
    images::{Image, convert, inspect_json},
    process::program,
    table::{Check, Group},
    workspace::forelift,
};
use std::{fs, path::Path};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

pub(crate) const CASES: Group = &[
    ("python_agrees", Check::Once(python_agrees)),
    ("any_two_engines_agree", Check::Once(any_two_engines_agree)),
    ("a_wrong_function_is_found", Check::Once(a_wrong_function_is_found)),
    ("a_wrong_function_in_the_module_is_found", Check::Once(a_wrong_function_in_the_module_is_found)),
    ("bisecting_finds_the_function", Check::Once(bisecting_finds_the_function)),
    ("what_it_refuses", Check::Once(what_it_refuses)),
];

/// A shell at work, for tens of millions of instructions.
const SHELL: &str = "i=0; while [ $i -lt 8000 ]; do i=$((i + 1)); done; ls -lR /bin | md5sum";

fn lockstep(options: &[&str], image: &Path, command: &[&str]) -> Done {
    let image = image.to_str().expect("a name in UTF-8");
    program(forelift(), |c| {
        c.args([&["lockstep"], options, &[image], command].concat());
    })
}

/// What `no difference in N instructions (lifted: M by ENGINE, M by ENGINE): ...` says: N, and M of the two
/// engines.
fn counts(text: &str, engines: &str) -> (u64, [u64; 2]) {
    let numbers: Vec<u64> = text.split([' ', '(']).filter_map(|word| word.parse().ok()).collect();
    assert!(text.starts_with("no difference in ") && text.contains("ended with status 0"), "{text}");
    let (a, b) = engines.split_once(',').expect("two engines");
    let (all, lifted) = (numbers[0], [numbers[1], numbers[2]]);
    let said = format!("instructions (lifted: {} by {a}, {} by {b}): ", lifted[0], lifted[1]);
    assert!(text.contains(&said), "{text}");
    (all, lifted)
}

fn python_agrees() {
    let code = "print(sum(i * i % 7 for i in range(100000)), sorted(str(n) for n in range(999))[5])";
    let engines = "native,interp";
    let text = lockstep(&["--engines", engines], &Image::Python3.wasm(), &["python3", "-c", code]).ok();
    let (all, [native, interp]) = counts(&text, engines);
    assert!(all >= 50_000_000 && native > all / 2 && interp == 0, "{text}");
}

fn any_two_engines_agree() {
    let dir = dir();
    let image = dir.path().join("trained.wasm");
    let train = format!("sh -c '{SHELL}'");
    convert(&Image::Busybox.reference(), &image, &["--train", &train]);
    let mut instructions = Vec::new();
    for engines in ["interp,aot", "aot,native", "native,interp"] {
        let text = lockstep(&["--engines", engines], &image, &["sh", "-c", SHELL]).ok();
        let (all, lifted) = counts(&text, engines);
        assert!(all >= 50_000_000, "{engines}: {text}");
        for (engine, lifted) in engines.split(',').zip(lifted) {
            match engine {
                "interp" => assert_eq!(lifted, 0, "{text}"),
                _ => assert!(lifted > all / 2 && lifted <= all, "{engine}: {text}"),
            }
        }
        instructions.push(all);
    }
    assert!(instructions.iter().all(|n| *n == instructions[0]), "{instructions:?}");
}

/// Hot functions that are made wrong, one after the other.
const WRONG: std::ops::Range<u32> = 0..8;

fn a_wrong_function_is_found() {
    let mut found = 0;
    for number in WRONG {
        let wrong = number.to_string();
        let done = lockstep(&["--wrong", &wrong], &Image::Busybox.wasm(), &["sh", "-c", SHELL]);
        // Not every function has something to spoil.
        if done.status() == 1 && done.err().contains("no addition to spoil") {
            continue;
        }
        let text = done.expect_status(1).out();
        assert!(text.contains(&format!("function {number} (entry ")), "function {number}: {text}");
        // The state on both sides, and the addition among the code.
        let differs =
            |line: &str| line.starts_with('x') || line.starts_with("memory ") || line.starts_with("pc ");
        assert!(text.lines().any(differs), "{text}");
        let code = text.split("guest code of this stretch:").nth(1).unwrap_or_default();
        assert!(["addi", "c.li", "c.mv", "addiw"].iter().any(|op| code.contains(op)), "{text}");
        found += 1;
    }
    assert!(found >= 3, "only {found} functions could be made wrong");
}

/// Where each function that the translator added to a module first stores a sum of 64 bits, hottest function
/// first: the addition. (Others find addresses, and a wrong one leads only to the interpreter.)
fn additions(module: &[u8], lifted: usize) -> Vec<Option<usize>> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload.expect("a valid module") {
            bodies.push(body);
        }
    }
    let first_addition = |body: &FunctionBody| {
        let operators = body.get_operators_reader().expect("a function's code").into_iter_with_offsets();
        let all: Vec<(Operator, u64)> = operators.map(|operator| operator.expect("an operator")).collect();
        let is_stored = |rest: &[(Operator, u64)]| {
            let mut next =
                rest.iter().skip_while(|(operator, _)| matches!(operator, Operator::LocalTee { .. }));
            matches!(next.next(), Some((Operator::I64Store { .. }, _)))
        };
        let sum = |n: &usize| matches!(all[*n].0, Operator::I64Add) && is_stored(&all[n + 1..]);
        (0..all.len()).find(sum).map(|n| all[n].1 as usize)
    };
    // The last one stands for those that were not lifted.
    let last = bodies.len() - 1;
    bodies[last - lifted..last].iter().map(first_addition).collect()
}

/// The same in WebAssembly: an addition becomes a subtraction in the image's file.
fn a_wrong_function_in_the_module_is_found() {
    const SUBTRACTION: u8 = 0x7d;
    let dir = dir();
    let image = Image::Busybox.wasm();
    let lifted =
        inspect_json(&image)["manifest"]["lifted"]["functions"].as_u64().expect("a number of functions");
    let module = fs::read(&image).expect("the image");
    let mut found = 0;
    for (number, at) in additions(&module, lifted as usize).into_iter().enumerate().take(WRONG.end as usize) {
        let Some(at) = at else { continue };
        let mut spoiled = module.clone();
        spoiled[at] = SUBTRACTION;
        let file = dir.path().join("spoiled.wasm");
        fs::write(&file, spoiled).expect("the spoiled image");
        let done = lockstep(&["--engines", "aot,interp"], &file, &["sh", "-c", SHELL]);
        // Not every addition is executed.
        if done.status() == 0 {
            continue;
        }
        let text = done.expect_status(1).out();
        assert!(text.contains(&format!("function {number} (entry ")), "function {number}: {text}");
        found += 1;
    }
    assert!(found >= 3, "only {found} functions could be made wrong");
}

fn bisecting_finds_the_function() {
    let image = Image::Busybox.wasm();
    let spoiled = WRONG.map(|n| n.to_string()).find(|wrong| {
        lockstep(&["--wrong", wrong], &image, &["sh", "-c", SHELL]).out().contains("difference between")
    });
    let wrong = spoiled.expect("a function that can be made wrong");
    let text =
        lockstep(&["--bisect", "--wrong", &wrong], &image, &["sh", "-c", SHELL]).expect_status(1).out();
    assert_eq!(text, format!("function {wrong} makes the difference\n"));

    // By a command's exit status: with which function does lifted code begin to run?
    let run = format!("{} run -e FORELIFT_STATISTICS=1 {} true 2>&1", forelift().display(), image.display());
    let test = format!("{run} | grep -q '\"lifted_instructions\":0,'");
    let text = lockstep(&["--bisect", "--test", &test], &image, &[]).expect_status(1).out();
    let number = text.strip_prefix("function ").and_then(|rest| rest.split(' ').next()).expect("a number");
    let with = |functions: &str| {
        program("sh", |c| {
            c.args(["-c", &test]).env("FORELIFT_FUNCTIONS", functions);
        })
        .status()
    };
    let before = number.parse::<u32>().expect("a number").checked_sub(1).map(|last| format!("0-{last}"));
    assert_eq!(with(&before.unwrap_or_default()), 0, "{text}");
    assert_eq!(with(&format!("0-{number}")), 1, "{text}");
    let text = lockstep(&["--bisect", "--test", "true"], &image, &[]).expect_status(0).out();
    assert!(text.starts_with("nothing is wrong"), "{text}");
}

fn what_it_refuses() {
    let image = Image::Busybox.wasm();
    for (options, file, words) in [
        (&["--engines", "interp,interp"][..], image.clone(), &["two different engines"][..]),
        (&["--engines", "interp,aot"], Image::Busybox.wasm_cold(), &["no snapshot", "nothing is lifted"]),
        (&["--wrong", "999999"], image.clone(), &["999999"]),
        (&["--bisect", "--test", "exit 125"], image.clone(), &["cannot judge"]),
    ] {
        let done = lockstep(options, &file, &["true"]).expect_status(1);
        let text = done.err();
        assert!(text.starts_with("forelift: ") && text.lines().count() == 1, "{text}");
        assert!(words.iter().any(|word| text.contains(word)), "{text}");
    }
}

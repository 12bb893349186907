//! The file of a case: a head, guest code, and the expected result of each command.
//!
//! ```text
//! ; A load and a store off one register.
//! test lift
//! test emit
//! mode user
//! lifts 3
//!
//! 6118  ; c.ld x14,0(x10)
//! e518  ; c.sd x14,8(x10)
//! 8082  ; c.jr x1
//!
//! ==== lift
//! function u0:0(i64, i32, i32) -> i64 system_v {
//! ...
//!
//! ==== emit
//! (func $lifted ...
//! ```
//!
//! * `test COMMAND`: a stage whose output is expected below: `lift` (CLIF as the lifter makes it), `opt`
//!   (after the mid-end) or `emit` (WebAssembly).
//! * `mode MODE`: the mode that the code runs in, in the words of its ISA.
//! * `lifts N`: this many instructions of the code are lifted.
//!
//! Then one instruction a line. Each group of hexadecimal digits is a little-endian number of its width, as
//! for the option `--hex` of `forelift-translator`; the disassembly after the semicolon is a result.

use std::fmt::{self, Write};

/// A command whose output a case expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Lift,
    Opt,
    Emit,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Lift, Stage::Opt, Stage::Emit];

    fn name(self) -> &'static str {
        match self {
            Stage::Lift => "lift",
            Stage::Opt => "opt",
            Stage::Emit => "emit",
        }
    }
}

/// One instruction: the text of its bytes, and the bytes.
#[derive(Debug)]
pub(crate) struct Insn {
    text: String,
    pub(crate) bytes: Vec<u8>,
}

/// What a case gives: its file without the results.
#[derive(Debug)]
pub(crate) struct Case {
    comments: Vec<String>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) mode: String,
    pub(crate) lifts: usize,
    pub(crate) insns: Vec<Insn>,
}

/// Why a file is not a case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoCase(String);

impl fmt::Display for NoCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of one instruction.
fn insn(text: &str) -> Option<Insn> {
    let mut bytes = Vec::new();
    for group in text.split_whitespace() {
        if group.len() % 2 != 0 || !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let value = u64::from_str_radix(group, 16).ok()?;
        bytes.extend(&value.to_le_bytes()[..group.len() / 2]);
    }
    Some(Insn { text: text.to_owned(), bytes })
}

impl Case {
    /// Reads a file up to its first result.
    pub(crate) fn parse(file: &str) -> Result<Case, NoCase> {
        let mut case =
            Case { comments: vec![], stages: vec![], mode: String::new(), lifts: 0, insns: vec![] };
        for (number, line) in file.lines().enumerate() {
            let wrong = |what: &str| NoCase(format!("line {}: {what}: `{line}`", number + 1));
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "====" => break,
                "" => {}
                ";" => case.comments.push(line.to_owned()),
                "test" => {
                    let stage = Stage::ALL.into_iter().find(|stage| stage.name() == rest);
                    case.stages.push(stage.ok_or_else(|| wrong("no such command"))?);
                }
                "mode" => case.mode = rest.to_owned(),
                "lifts" => case.lifts = rest.parse().map_err(|_| wrong("not a number"))?,
                _ => {
                    let text = line.split(';').next().unwrap_or_default().trim();
                    case.insns.push(insn(text).ok_or_else(|| wrong("not an instruction"))?);
                }
            }
        }
        for (missing, what) in [
            (case.stages.is_empty(), "`test`"),
            (case.mode.is_empty(), "`mode`"),
            (case.lifts == 0, "`lifts`"),
            (case.insns.is_empty(), "instruction"),
        ] {
            if missing {
                return Err(NoCase(format!("no {what}")));
            }
        }
        if !case.stages.is_sorted_by(|a, b| a < b) {
            return Err(NoCase("commands are not in the order of the stages".to_owned()));
        }
        Ok(case)
    }

    /// The guest code.
    pub(crate) fn code(&self) -> Vec<u8> {
        self.insns.iter().flat_map(|insn| insn.bytes.clone()).collect()
    }

    /// The whole file: what was given, the disassembly of each instruction, and the output of each command.
    pub(crate) fn file(&self, disassembly: &[String], outputs: &[(Stage, String)]) -> String {
        let mut out = String::new();
        for comment in &self.comments {
            writeln!(out, "{comment}").unwrap();
        }
        for stage in &self.stages {
            writeln!(out, "test {}", stage.name()).unwrap();
        }
        writeln!(out, "mode {}\nlifts {}\n", self.mode, self.lifts).unwrap();
        let width = self.insns.iter().map(|insn| insn.text.len()).max().unwrap_or_default();
        for (insn, text) in self.insns.iter().zip(disassembly) {
            writeln!(out, "{:width$}  ; {text}", insn.text).unwrap();
        }
        for (stage, text) in outputs {
            writeln!(out, "\n==== {}\n{}", stage.name(), text.trim_end()).unwrap();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "test lift\nmode user\nlifts 1\n";

    #[test]
    fn a_case_is_read() {
        let case =
            Case::parse(&format!("; A return.\n{HEAD}\n8082  ; ret\n48 01 d8\n==== lift\nno")).unwrap();
        assert_eq!((case.stages.as_slice(), case.mode.as_str(), case.lifts), (&[Stage::Lift][..], "user", 1));
        assert_eq!(case.code(), [0x82, 0x80, 0x48, 0x01, 0xd8]);
        let file = case.file(&["c.jr x1".into(), "add rax,rbx".into()], &[(Stage::Lift, "text\n\n".into())]);
        let code = "8082      ; c.jr x1\n48 01 d8  ; add rax,rbx\n";
        assert_eq!(file, format!("; A return.\n{HEAD}\n{code}\n==== lift\ntext\n"));
    }

    #[test]
    fn a_file_without_a_case_is_refused() {
        for (file, why) in [
            ("", "no `test`"),
            ("==== lift\ntest lift", "no `test`"),
            ("test lift\nlifts 1\n8082", "no `mode`"),
            ("test lift\nmode user\n8082", "no `lifts`"),
            (HEAD, "no instruction"),
            ("test fly", "line 1: no such command: `test fly`"),
            ("test emit\ntest lift\nmode user\nlifts 1\n8082", "commands are not in the order of the stages"),
            ("lifts x", "line 1: not a number: `lifts x`"),
            ("tset lift", "line 1: not an instruction: `tset lift`"),
            ("808", "line 1: not an instruction: `808`"),
        ] {
            assert_eq!(Case::parse(file).unwrap_err(), NoCase(why.to_owned()), "{file}");
        }
    }
}

//! The oracle: `../oracle.c`, compiled for riscv64 and run under QEMU's user mode.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const COMPILER: &str = "riscv64-linux-gnu-gcc";
const QEMU: &str = "qemu-riscv64-static";
const WAY_OUT: &str = "run `scripts/setup test`, which installs it";

/// The operations of one format, in the order of `ARITHMETIC` in `oracle.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Sqrt,
    Fma,
    Eq,
    Lt,
    Le,
    Min,
    Max,
    Class,
    ToI32,
    ToU32,
    ToI64,
    ToU64,
    FromI32,
    FromU32,
    FromI64,
    FromU64,
    /// To the other format.
    Convert,
}

impl Op {
    pub(crate) const ALL: [Self; 21] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Sqrt,
        Self::Fma,
        Self::Eq,
        Self::Lt,
        Self::Le,
        Self::Min,
        Self::Max,
        Self::Class,
        Self::ToI32,
        Self::ToU32,
        Self::ToI64,
        Self::ToU64,
        Self::FromI32,
        Self::FromU32,
        Self::FromI64,
        Self::FromU64,
        Self::Convert,
    ];

    /// How many operands it has.
    pub(crate) fn operands(self) -> usize {
        match self {
            Self::Fma => 3,
            Self::Add | Self::Sub | Self::Mul | Self::Div => 2,
            Self::Eq | Self::Lt | Self::Le | Self::Min | Self::Max => 2,
            _ => 1,
        }
    }

    pub(crate) fn takes_integer(self) -> bool {
        matches!(self, Self::FromI32 | Self::FromU32 | Self::FromI64 | Self::FromU64)
    }
}

/// One instruction to execute. `double` tells the format of the operation (of the source, for `Convert`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) op: Op,
    pub(crate) double: bool,
    pub(crate) rm: u8,
    pub(crate) operands: [u64; 3],
}

impl Record {
    fn encode(&self, out: &mut Vec<u8>) {
        let number = match (self.op, self.double) {
            (Op::Convert, true) => 40,
            (Op::Convert, false) => 41,
            (op, double) => op as u8 + if double { 20 } else { 0 },
        };
        out.extend([number, self.rm, 0, 0, 0, 0, 0, 0]);
        for operand in self.operands {
            out.extend(operand.to_le_bytes());
        }
    }
}

/// What the instruction left in its destination (sign-extended from 32 bits as the ISA does) and in `fflags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) result: u64,
    pub(crate) flags: u8,
}

/// The compiled oracle, in a directory of its own that goes with it.
pub(crate) struct Oracle {
    directory: PathBuf,
    program: PathBuf,
}

impl Oracle {
    pub(crate) fn build() -> Self {
        let directory = std::env::temp_dir().join(format!("forelift-softfloat-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let program = directory.join("oracle");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.c");
        let status = Command::new(COMPILER)
            .args(["-O1", "-static", "-Wall", "-Werror", "-o"])
            .args([&program, &source])
            .status()
            .unwrap_or_else(|e| panic!("{COMPILER}: {e}; {WAY_OUT}"));
        assert!(status.success(), "{COMPILER} cannot compile {}: {status}", source.display());
        Self { directory, program }
    }

    /// Executes the records, in order.
    pub(crate) fn execute(&self, records: &[Record]) -> Vec<Answer> {
        let mut child = Command::new(QEMU)
            .arg(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{QEMU}: {e}; {WAY_OUT}"));
        let mut input = Vec::with_capacity(records.len() * 32);
        records.iter().for_each(|record| record.encode(&mut input));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let writer =
            std::thread::spawn(move || stdin.write_all(&input).expect("the oracle reads all records"));
        let mut output = Vec::with_capacity(records.len() * 16);
        child.stdout.take().expect("stdout is piped").read_to_end(&mut output).expect("the oracle's answers");
        writer.join().expect("the records are written");
        let status = child.wait().expect("the oracle ends");
        assert!(status.success(), "the oracle failed: {status}");
        assert_eq!(output.len(), records.len() * 16, "an answer for each record");
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        output
            .chunks_exact(16)
            .map(|answer| Answer { result: word(&answer[..8]), flags: word(&answer[8..]) as u8 })
            .collect()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

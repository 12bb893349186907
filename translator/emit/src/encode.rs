//! Bytes: from structured code to the body of a function.
//!
//! Blocks that no branch leads to are dropped. Linear.

use crate::body::{Body, EmitError, Reloc, RelocKind, padded};
use crate::code::Op;
use crate::locals::Locals;
use crate::structure::{Label, Piece};

use cranelift_codegen::ir::Function;
use std::collections::HashMap;
use wasm_encoder::{BlockType, Encode, Instruction};

struct Encoder<'a> {
    locals: &'a Locals,
    code: Vec<u8>,
    relocs: Vec<Reloc>,
    /// For every open block, whether it has been written.
    open: Vec<bool>,
    /// Number of those that have.
    height: u32,
    /// The height at which a label was opened.
    position: HashMap<Label, u32>,
    used: std::collections::HashSet<Label>,
    /// Whether control cannot get to the current place, or leaves the results on the stack.
    ended: bool,
    has_results: bool,
}

/// Writes the body of a function.
pub(crate) fn encode(func: &Function, pieces: &[Piece<'_>], locals: &Locals) -> Result<Body, EmitError> {
    let mut encoder = Encoder {
        locals,
        code: Vec::new(),
        relocs: Vec::new(),
        open: Vec::new(),
        height: 0,
        position: HashMap::new(),
        used: used_labels(pieces),
        ended: false,
        has_results: !func.signature.returns.is_empty(),
    };
    encoder.declarations();
    for piece in pieces {
        encoder.piece(piece);
    }
    if encoder.has_results && !encoder.ended {
        encoder.plain(&Instruction::Unreachable);
    }
    encoder.plain(&Instruction::End);
    if u32::try_from(encoder.code.len()).is_err() {
        return Err(EmitError::Unsupported("code of more than 4 GiB".to_owned()));
    }
    Ok(Body { code: encoder.code, relocs: encoder.relocs })
}

fn used_labels(pieces: &[Piece<'_>]) -> std::collections::HashSet<Label> {
    let mut used = std::collections::HashSet::new();
    for piece in pieces {
        match piece {
            Piece::Br(label) | Piece::BrIf(label) => {
                used.insert(*label);
            }
            Piece::BrTable(labels) => used.extend(labels),
            _ => {}
        }
    }
    used
}

impl Encoder<'_> {
    fn declarations(&mut self) {
        (self.locals.groups.len() as u32).encode(&mut self.code);
        for (count, ty) in &self.locals.groups {
            count.encode(&mut self.code);
            ty.encode(&mut self.code);
        }
    }

    fn plain(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.code);
    }

    fn piece(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Ops(ops) => self.ops(ops),
            Piece::Owned(ops) => self.ops(ops),
            Piece::Set(local) => {
                self.plain(&Instruction::LocalSet(*local));
                self.ended = false;
            }
            Piece::Block(label) => self.enter(Some(*label), &Instruction::Block(BlockType::Empty)),
            Piece::Loop(label) => self.enter(Some(*label), &Instruction::Loop(BlockType::Empty)),
            Piece::If => self.enter(None, &Instruction::If(BlockType::Empty)),
            Piece::Else => self.plain(&Instruction::Else),
            Piece::End => {
                if self.open.pop() == Some(true) {
                    self.height -= 1;
                    self.plain(&Instruction::End);
                    self.ended = false;
                }
            }
            Piece::Br(label) => self.end(&Instruction::Br(self.depth(*label))),
            Piece::BrIf(label) => self.plain(&Instruction::BrIf(self.depth(*label))),
            Piece::BrTable(labels) => {
                let mut depths: Vec<u32> = labels.iter().map(|&l| self.depth(l)).collect();
                let default = depths.pop().unwrap_or(0);
                // Entries equal to the default are not needed at the end.
                while depths.last() == Some(&default) {
                    depths.pop();
                }
                self.end(&Instruction::BrTable(depths.into(), default));
            }
            Piece::Return { at_end } => {
                if *at_end && (self.height == 0 || !self.has_results) {
                    self.ended = true;
                } else {
                    self.end(&Instruction::Return);
                }
            }
            Piece::Unreachable => self.end(&Instruction::Unreachable),
        }
    }

    /// An instruction after which control does not continue.
    fn end(&mut self, instruction: &Instruction<'_>) {
        self.plain(instruction);
        self.ended = true;
    }

    fn enter(&mut self, label: Option<Label>, instruction: &Instruction<'_>) {
        let needed = label.is_none_or(|label| self.used.contains(&label));
        self.open.push(needed);
        if needed {
            if let Some(label) = label {
                self.position.insert(label, self.height);
            }
            self.height += 1;
            self.plain(instruction);
            self.ended = false;
        }
    }

    fn depth(&self, label: Label) -> u32 {
        // Every label is opened around the branches to it.
        self.height - 1 - self.position.get(&label).copied().unwrap_or(0)
    }

    fn ops(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Get(v) => self.plain(&Instruction::LocalGet(self.locals.of(*v))),
                Op::Set(v) => self.plain(&Instruction::LocalSet(self.locals.of(*v))),
                Op::Tee(v) => self.plain(&Instruction::LocalTee(self.locals.of(*v))),
                Op::Plain(instruction) => self.plain(instruction),
                Op::Call(kind) => {
                    self.code.push(0x10);
                    self.reloc(*kind);
                }
                Op::CallIndirect(kind) => {
                    self.code.push(0x11);
                    self.reloc(*kind);
                    self.code.push(0);
                }
            }
            self.ended = false;
        }
    }

    fn reloc(&mut self, kind: RelocKind) {
        self.relocs.push(Reloc { offset: self.code.len() as u32, kind });
        self.code.extend(padded(0));
    }
}

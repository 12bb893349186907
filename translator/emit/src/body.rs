//! What the translation of a function gives: a body with relocations, or an error.

/// The body of a WebAssembly function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The contents of an entry of the code section without the size before it: declarations of locals,
    /// instructions, `end`.
    pub code: Vec<u8>,
    /// Places in `code` that hold an index which is not known yet, by ascending offset.
    pub relocs: Vec<Reloc>,
}

/// A place in [`Body::code`] to be filled in: an unsigned LEB128 number padded to five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Offset of the first of the five bytes in the code.
    pub offset: u32,
    /// What the number is.
    pub kind: RelocKind,
}

/// What a relocation refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelocKind {
    /// The index of a function, given by CLIF's `UserExternalName`.
    Function {
        /// Name space of the name.
        namespace: u32,
        /// Index within the name space.
        index: u32,
    },
    /// The index of a function type, given by the number of a signature in the CLIF function (`SigRef`).
    Type {
        /// Number of the `SigRef`.
        signature: u32,
    },
}

/// Why a function was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// An instruction, type or entity that has no translation.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The CLIF is not well-formed.
    #[error("malformed function: {0}")]
    Malformed(String),
    /// More than 50,000 locals, which WebAssembly engines refuse.
    #[error("{0} locals are more than an engine accepts")]
    TooManyLocals(usize),
    /// A relocation without a value.
    #[error("nothing known about {0:?}")]
    Unresolved(RelocKind),
}

impl Body {
    /// Fills in all relocations.
    ///
    /// # Errors
    ///
    /// [`EmitError::Unresolved`] for the first relocation which `f` does not know.
    pub fn resolve(&mut self, mut f: impl FnMut(RelocKind) -> Option<u32>) -> Result<(), EmitError> {
        for reloc in &self.relocs {
            let value = f(reloc.kind).ok_or(EmitError::Unresolved(reloc.kind))?;
            let at = reloc.offset as usize;
            let place = self.code.get_mut(at..at + PADDED).ok_or(EmitError::Unresolved(reloc.kind))?;
            place.copy_from_slice(&padded(value));
        }
        Ok(())
    }
}

/// Size of a number to be filled in later.
pub(crate) const PADDED: usize = 5;

/// An unsigned LEB128 number of five bytes.
pub(crate) fn padded(value: u32) -> [u8; PADDED] {
    let mut out = [0; PADDED];
    for (i, byte) in out.iter_mut().enumerate() {
        let more = if i + 1 < PADDED { 0x80 } else { 0 };
        *byte = (value >> (7 * i)) as u8 & 0x7f | more;
    }
    out
}

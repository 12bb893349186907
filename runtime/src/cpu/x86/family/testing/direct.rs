//! A processor without paging whose instructions are executed by one family's functions, for tests that
//! compare these with the host's own instructions; and a page of host code.

use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::VcpuCell;
use crate::cpu::x86::{Cpu, NoDevices};
use crate::memory::GuestMemory;
use forelift_abi::layout::RAM_BASE;
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Where instructions lie.
pub(crate) const CODE: u64 = RAM_BASE + 0x1000;
/// Address of the memory operand: RBX.
pub(crate) const DATA: u64 = RAM_BASE + 0x3000;

/// See the module's documentation.
pub(crate) struct Machine {
    pub(crate) cpu: Cpu,
    pub(crate) mem: GuestMemory,
    family: fn(&Instruction) -> Option<Handler>,
}

impl Machine {
    /// With the functions that `family` knows.
    pub(crate) fn new(family: fn(&Instruction) -> Option<Handler>) -> Self {
        let mem = GuestMemory::new(1 << 20, None).unwrap();
        Machine { cpu: Cpu::new(&mem), mem, family }
    }

    pub(crate) fn vcpu(&mut self) -> &mut VcpuCell {
        &mut self.cpu.vcpu
    }

    /// Executes an instruction by its family's function, where it lies in memory as it would.
    pub(crate) fn execute(&mut self, code: &[u8]) -> Res<Flow> {
        let i = decode(code);
        assert!(!i.is_invalid() && i.len() == code.len(), "{code:02x?} is no instruction: {i:?}");
        let handler = (self.family)(&i).unwrap_or_else(|| panic!("{:?} is missing", i.code()));
        self.cpu.vcpu.rip = CODE;
        assert!(self.mem.write(CODE, code));
        let mut bus = NoDevices;
        let mut cx = self.cpu.context(&mut self.mem, &mut bus);
        handler(&mut cx, &i)
    }

    /// The same of bytes in hexadecimal.
    pub(crate) fn run(&mut self, hex: &str) -> Res<Flow> {
        self.execute(&parse(hex))
    }
}

pub(crate) fn decode(code: &[u8]) -> Instruction {
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode()
}

pub(crate) fn parse(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Marsaglia's xorshift64*.
pub(crate) struct Random(pub(in crate::cpu::x86::family) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    pub(crate) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A page of host code: a function.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) struct HostCode(pub(in crate::cpu::x86::family) *mut u8);

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl HostCode {
    const SIZE: usize = 4096;

    /// `code`, then a return.
    pub(crate) fn new(code: &[u8]) -> Self {
        const RET: u8 = 0xc3;
        assert!(code.len() < Self::SIZE);
        // SAFETY: a fresh mapping, large enough for what is written.
        unsafe {
            let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(core::ptr::null_mut(), Self::SIZE, rights, kind, -1, 0).cast::<u8>();
            assert_ne!(page.cast(), libc::MAP_FAILED);
            core::ptr::copy_nonoverlapping(code.as_ptr(), page, code.len());
            page.add(code.len()).write(RET);
            HostCode(page)
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl Drop for HostCode {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's.
        unsafe { libc::munmap(self.0.cast(), Self::SIZE) };
    }
}

//! The device tree of the riscv64 machine (Devicetree specification 0.4; Linux's
//! *Documentation/devicetree/bindings/{riscv/cpus,interrupt-controller/sifive,plic-1.0.0,virtio/mmio}.yaml*).
//!
//! It says what the machine is and nothing that could differ between two conversions of one image: the
//! snapshot must come out the same, so `rng-seed` is a constant of the conversion, and true entropy arrives
//! with the orders at the start.

use forelift_abi::layout::{
    PLIC_BASE, PLIC_SIZE, RAM_BASE, TIMEBASE_HZ, VIRTIO_IRQ_BASE, VIRTIO_SLOTS, VIRTIO_STRIDE,
};
use vm_fdt::{Error, FdtWriter};

use crate::platform::board::Slot;

/// Extensions of the hart, in the order that ISA strings have.
const SINGLE: &[&str] = &["i", "m", "a", "f", "d", "c"];
const MULTI: &[&str] = &["zicntr", "zicsr", "zifencei", "sstc", "svvptc"];

const PHANDLE_CPU: u32 = 1;
const PHANDLE_PLIC: u32 = 2;
/// Supervisor external interrupt (RISC-V Privileged, table 22).
const SUPERVISOR_EXTERNAL: u32 = 9;

/// Largest virtual address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmuType {
    /// 39 bits.
    Sv39,
    /// 48 bits.
    Sv48,
}

/// What a device tree depends on.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// Size of RAM in bytes.
    pub ram_len: u64,
    /// Kernel command line.
    pub bootargs: &'a str,
    /// Start and end of the initial RAM file system, guest physical.
    pub initrd: Option<(u64, u64)>,
    /// Seed for the kernel's generator until the real one; empty for none.
    pub rng_seed: &'a [u8],
    /// Paging modes.
    pub mmu: MmuType,
}

/// The ISA string of the hart.
pub fn isa() -> String {
    format!("rv64{}_{}", SINGLE.concat(), MULTI.join("_"))
}

/// Builds the tree as a flattened blob, to be placed in RAM at a multiple of 8.
///
/// # Errors
/// When the command line holds a zero byte.
pub fn build(config: &Config<'_>, slots: &[Slot]) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "forelift,machine")?;
    fdt.property_string("model", "Forelift")?;
    chosen(&mut fdt, config)?;
    let memory = fdt.begin_node(&format!("memory@{RAM_BASE:x}"))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[RAM_BASE, config.ram_len])?;
    fdt.end_node(memory)?;
    cpus(&mut fdt, config)?;
    soc(&mut fdt, slots)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, config: &Config<'_>) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", config.bootargs)?;
    if let Some((start, end)) = config.initrd {
        fdt.property_u64("linux,initrd-start", start)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    if !config.rng_seed.is_empty() {
        fdt.property("rng-seed", config.rng_seed)?;
    }
    fdt.end_node(node)
}

fn cpus(fdt: &mut FdtWriter, config: &Config<'_>) -> Result<(), Error> {
    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    fdt.property_u32("timebase-frequency", TIMEBASE_HZ as u32)?;
    let cpu = fdt.begin_node("cpu@0")?;
    fdt.property_string("device_type", "cpu")?;
    fdt.property_u32("reg", 0)?;
    fdt.property_string("status", "okay")?;
    fdt.property_string("compatible", "riscv")?;
    // Old kernels read the string, new ones the list (and refuse the string without RISCV_ISA_FALLBACK).
    fdt.property_string("riscv,isa", &isa())?;
    fdt.property_string("riscv,isa-base", "rv64i")?;
    let extensions = SINGLE.iter().chain(MULTI).map(|&e| e.to_owned()).collect();
    fdt.property_string_list("riscv,isa-extensions", extensions)?;
    let mmu = match config.mmu {
        MmuType::Sv39 => "riscv,sv39",
        MmuType::Sv48 => "riscv,sv48",
    };
    fdt.property_string("mmu-type", mmu)?;
    let controller = fdt.begin_node("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_string("compatible", "riscv,cpu-intc")?;
    fdt.property_phandle(PHANDLE_CPU)?;
    fdt.end_node(controller)?;
    fdt.end_node(cpu)?;
    fdt.end_node(cpus)
}

fn soc(fdt: &mut FdtWriter, slots: &[Slot]) -> Result<(), Error> {
    let soc = fdt.begin_node("soc")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "simple-bus")?;
    fdt.property_null("ranges")?;
    let plic = fdt.begin_node(&format!("plic@{PLIC_BASE:x}"))?;
    fdt.property_string_list("compatible", vec!["sifive,plic-1.0.0".into(), "riscv,plic0".into()])?;
    fdt.property_array_u64("reg", &[PLIC_BASE, PLIC_SIZE])?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_u32("#address-cells", 0)?;
    // One context, so supervisor mode is context 0.
    fdt.property_array_u32("interrupts-extended", &[PHANDLE_CPU, SUPERVISOR_EXTERNAL])?;
    fdt.property_u32("riscv,ndev", VIRTIO_IRQ_BASE + VIRTIO_SLOTS as u32 - 1)?;
    fdt.property_phandle(PHANDLE_PLIC)?;
    fdt.end_node(plic)?;
    for Slot { base, irq } in slots {
        let node = fdt.begin_node(&format!("virtio_mmio@{base:x}"))?;
        fdt.property_string("compatible", "virtio,mmio")?;
        fdt.property_array_u64("reg", &[*base, VIRTIO_STRIDE])?;
        fdt.property_u32("interrupt-parent", PHANDLE_PLIC)?;
        fdt.property_u32("interrupts", *irq)?;
        fdt.end_node(node)?;
    }
    fdt.end_node(soc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::Devices;
    use forelift_abi::config::Arch;

    const CONFIG: Config<'_> = Config {
        ram_len: 128 << 20,
        bootargs: "console=hvc0",
        initrd: Some((0x8400_0000, 0x8410_0001)),
        rng_seed: &[1, 2, 3],
        mmu: MmuType::Sv48,
    };

    /// Reads a blob back as lines `path/property = hex`, independently of the writer.
    fn dump(blob: &[u8]) -> Vec<String> {
        let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((word(0), word(4)), (0xd00d_feed, blob.len()));
        let (mut at, strings) = (word(8), word(12));
        let text = |at: usize| {
            let end = at + blob[at..].iter().position(|&b| b == 0).unwrap();
            std::str::from_utf8(&blob[at..end]).unwrap()
        };
        let (mut path, mut lines) = (Vec::new(), Vec::new());
        loop {
            let token = word(at);
            at += 4;
            match token {
                1 => {
                    let name = text(at);
                    path.push(name);
                    at += (name.len() + 4) & !3;
                }
                2 => drop(path.pop()),
                3 => {
                    let (len, name) = (word(at), text(strings + word(at + 4)));
                    let hex: String = blob[at + 8..at + 8 + len].iter().map(|b| format!("{b:02x}")).collect();
                    lines.push(format!("{}/{name}={hex}", path.join("/")));
                    at += 8 + len.next_multiple_of(4);
                }
                4 => {}
                9 => return lines,
                other => panic!("token {other}"),
            }
        }
    }

    fn hex(text: &str) -> String {
        text.bytes().chain([0]).map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_tree_says_what_the_machine_is() {
        let lines = dump(&build(&CONFIG, &Devices::new(Arch::Riscv64, 0x20_0000).unwrap().slots()).unwrap());
        let has = |line: &str| assert!(lines.iter().any(|l| l == line), "{line} not in {lines:#?}");
        has("/memory@80000000/reg=00000000800000000000000008000000");
        has("/chosen/rng-seed=010203");
        has("/chosen/linux,initrd-start=0000000084000000");
        has("/chosen/linux,initrd-end=0000000084100001");
        has(&format!("/chosen/bootargs={}", hex("console=hvc0")));
        has("/cpus/timebase-frequency=00989680");
        has(&format!("/cpus/cpu@0/riscv,isa={}", hex("rv64imafdc_zicntr_zicsr_zifencei_sstc_svvptc")));
        has(&format!("/cpus/cpu@0/mmu-type={}", hex("riscv,sv48")));
        has("/soc/plic@c000000/interrupts-extended=0000000100000009");
        has("/soc/plic@c000000/riscv,ndev=00000010");
        has("/soc/virtio_mmio@10000000/interrupts=00000001");
        has("/soc/virtio_mmio@1000b000/reg=000000001000b0000000000000001000");
        let slots = |lines: &[String]| {
            lines.iter().filter(|l| l.contains("virtio_mmio@") && l.contains("/reg=")).count()
        };
        assert_eq!(slots(&lines), 12);
        let bare = build(&CONFIG, &Devices::new(Arch::Riscv64, 0).unwrap().slots()).unwrap();
        assert_eq!(slots(&dump(&bare)), 11, "no disk without a root");
    }

    #[test]
    fn the_same_machine_has_the_same_tree() {
        let build = || build(&CONFIG, &Devices::new(Arch::Riscv64, 0x20_0000).unwrap().slots()).unwrap();
        assert_eq!(build(), build());
    }
}

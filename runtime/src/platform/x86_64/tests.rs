use super::*;
use forelift_abi::layout::pc::VIRTIO_IRQ_BASE;

/// Clocks that stand still.
struct At(u64);

impl Time for At {
    fn now(&mut self) -> u64 {
        self.0
    }
    fn date(&mut self) -> u64 {
        1_709_251_198
    }
}

fn out(pc: &mut Pc, port: u16, byte: u8) -> Effect {
    pc.port_out(port, 1, byte.into(), &mut At(0))
}

fn apic(pc: &mut Pc, offset: u64, word: u32) {
    assert!(pc.write(LAPIC_BASE + offset, 4, word.into(), &mut At(0)));
}

fn redirect(pc: &mut Pc, pin: u32, entry: u32) {
    assert!(pc.write(IOAPIC_BASE, 4, u64::from(0x10 + 2 * pin), &mut At(0)));
    assert!(pc.write(IOAPIC_BASE + 0x10, 4, entry.into(), &mut At(0)));
}

/// The 8259s as Linux initialises them, with the timer's line open; the timer at 100 Hz.
fn with_timer() -> Pc {
    let mut pc = Pc::new();
    for (port, byte) in [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xfa),
        (0x43, 0x34),
        (0x40, 0x9c),
        (0x40, 0x2e),
    ] {
        assert_eq!(out(&mut pc, port, byte), Effect::None);
    }
    pc
}

#[test]
fn the_timer_comes_through_the_virtual_wire() {
    let mut pc = with_timer();
    assert!(!pc.interrupts());
    let next = pc.next_event();
    assert_eq!(next / 1_000_000, 10);
    pc.tick(next);
    assert_eq!((pc.acknowledge(), pc.interrupts()), (Some(0x30), false));
    out(&mut pc, 0x20, 0x60);
    // LINT0 masked: nothing comes, and nobody need wake for it when the line is masked too.
    apic(&mut pc, 0x350, 0x1_0700);
    pc.tick(2 * next);
    assert!(!pc.interrupts());
    out(&mut pc, 0x21, 0xfb);
    assert_eq!(pc.next_event(), u64::MAX);
    // LINT0 as a fixed interrupt.
    apic(&mut pc, 0x350, 0x55);
    out(&mut pc, 0x21, 0xfa);
    pc.tick(3 * next);
    assert_eq!(pc.acknowledge(), Some(0x55));
}

#[test]
fn the_timer_comes_through_the_io_apic() {
    let mut pc = with_timer();
    out(&mut pc, 0x21, 0xff);
    redirect(&mut pc, 2, 0x31);
    for n in 1..4 {
        let next = pc.next_event();
        assert_eq!(next / 1_000_000, 10 * n);
        pc.tick(next);
        assert_eq!(pc.acknowledge(), Some(0x31));
        apic(&mut pc, 0xb0, 0);
    }
}

#[test]
fn a_device_interrupts_until_its_line_falls() {
    let mut pc = Pc::new();
    redirect(&mut pc, VIRTIO_IRQ_BASE + 1, 0x8041);
    pc.set_level(VIRTIO_IRQ_BASE + 1, true);
    assert_eq!(pc.acknowledge(), Some(0x41));
    apic(&mut pc, 0xb0, 0);
    assert!(pc.interrupts());
    assert_eq!(pc.acknowledge(), Some(0x41));
    pc.set_level(VIRTIO_IRQ_BASE + 1, false);
    apic(&mut pc, 0xb0, 0);
    assert!(!pc.interrupts());
    pc.set_level(99, true);
}

#[test]
fn ports() {
    let mut pc = Pc::new();
    assert_eq!((out(&mut pc, 0x70, 0x89), pc.port_in(0x71, 1, &mut At(0))), (Effect::None, 0x24));
    for (port, byte, effect) in [
        (0x3f8, b'x', Effect::Log(b'x')),
        (0xe9, b'y', Effect::Log(b'y')),
        (0x64, 0xfe, Effect::Reset),
        (0x64, 0xaa, Effect::None),
        (0xcf9, 6, Effect::Reset),
        (0xcf9, 2, Effect::None),
        (0x80, 1, Effect::None),
        (0x1234, 1, Effect::None),
    ] {
        assert_eq!(out(&mut pc, port, byte), effect, "{port:#x}");
    }
    assert_eq!(pc.port_in(0x60, 1, &mut At(0)), 0xff);
    assert_eq!(pc.port_in(0xcf8, 4, &mut At(0)), u32::MAX);
    assert_eq!(pc.port_in(0xffff, 4, &mut At(0)), u32::MAX);
    assert_eq!(pc.port_out(0xe8, 2, 0x4100, &mut At(0)), Effect::Log(0x41));
}

#[test]
fn model_specific_registers() {
    let mut pc = Pc::new();
    assert_eq!(pc.msr_read(MSR_APIC_BASE), Some(0xfee0_0900));
    assert_eq!((pc.msr_read(0x10), pc.msr_write(0x10, 0, &mut At(0))), (None, false));
    apic(&mut pc, 0x320, 0x4_0040);
    assert!(pc.msr_write(MSR_TSC_DEADLINE, 700, &mut At(100)));
    assert_eq!((pc.msr_read(MSR_TSC_DEADLINE), pc.next_event()), (Some(700), 700));
    pc.tick(700);
    assert_eq!((pc.acknowledge(), pc.next_event()), (Some(0x40), u64::MAX));
    pc.set_task_priority(0xff);
    assert_eq!(pc.task_priority(), 15);
}

#[test]
fn saved_state_comes_back() {
    let mut pc = with_timer();
    redirect(&mut pc, 16, 0x8041);
    pc.set_level(16, true);
    let back = Pc::restore(pc.save()).unwrap();
    assert_eq!(back.save(), pc.save());
    assert!(back.interrupts() && back.next_event() == pc.next_event());
    assert!(Pc::restore(PcState { cmos_index: 0x80, ..pc.save() }).is_err());
}

use super::*;

fn read(l: &mut Lapic, offset: u64, now: u64) -> u32 {
    l.read(offset, 4, &mut || now) as u32
}

fn write(l: &mut Lapic, offset: u64, word: u32, now: u64) -> Option<u8> {
    l.write(offset, word.into(), &mut || now)
}

#[test]
fn priorities_nest() {
    let mut l = Lapic::new();
    l.accept(0x41, false);
    l.accept(0x45, false);
    assert_eq!(l.acknowledge(), Some(0x45));
    assert!(!l.interrupts(), "the same class waits");
    assert_eq!(read(&mut l, 0xa0, 0), 0x40);
    l.accept(0x61, true);
    assert_eq!(l.acknowledge(), Some(0x61));
    assert_eq!(write(&mut l, 0xb0, 0, 0), Some(0x61), "a level goes to the I/O APIC");
    assert_eq!(write(&mut l, 0xb0, 0, 0), None);
    assert_eq!(l.acknowledge(), Some(0x41));
    assert_eq!(read(&mut l, 0x120, 0), 2);
    assert_eq!(write(&mut l, 0xb0, 0, 0), None);
    assert_eq!((l.acknowledge(), read(&mut l, 0x120, 0)), (None, 0));
}

#[test]
fn task_priority_holds_interrupts_back() {
    let mut l = Lapic::new();
    l.set_task_priority(5);
    l.accept(0x5f, false);
    assert!(!l.interrupts() && l.acknowledge().is_none());
    assert_eq!(read(&mut l, 0x80, 0), 0x50);
    write(&mut l, 0x80, 0x4f, 0);
    assert_eq!((l.interrupts(), l.task_priority()), (true, 4));
    assert_eq!(l.acknowledge(), Some(0x5f));
}

#[test]
fn one_shot_periodic_and_divisor() {
    let [denominator, numerator, hz, _] = crate::cpu::x86::cpuid::leaf(0x15, 0);
    assert_eq!((u64::from(hz) * CRYSTAL_NS, denominator), (1_000_000_000, 1));
    assert_eq!(u64::from(numerator), CRYSTAL_NS, "the time-stamp counter's ticks are nanoseconds");
    let mut l = Lapic::new();
    write(&mut l, 0x3e0, 3, 0);
    write(&mut l, 0x320, 0x30, 0);
    write(&mut l, 0x380, 100, 1000);
    assert_eq!(l.next_event(), 1000 + 64_000);
    assert_eq!((read(&mut l, 0x390, 1000), read(&mut l, 0x390, 33_000)), (100, 50));
    l.tick(64_999);
    assert!(!l.interrupts());
    l.tick(65_000);
    assert_eq!((l.acknowledge(), l.next_event()), (Some(0x30), u64::MAX));
    assert_eq!(read(&mut l, 0x390, 99_999), 0);
    write(&mut l, 0xb0, 0, 0);
    write(&mut l, 0x320, 0x2_0030, 5000);
    write(&mut l, 0x3e0, 0xb, 5000);
    write(&mut l, 0x380, 100, 5000);
    l.tick(5000 + 14_000);
    assert_eq!((l.acknowledge(), l.next_event()), (Some(0x30), 5000 + 16_000));
    // Half way, counts get twice as long.
    write(&mut l, 0x3e0, 0, 5000 + 14_000);
    assert_eq!((read(&mut l, 0x390, 19_000), l.next_event()), (50, 5000 + 18_000));
    write(&mut l, 0x380, 0, 19_000);
    assert_eq!(l.next_event(), u64::MAX);
    for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        write(&mut l, 0x3e0, divide, 0);
        assert_eq!(l.count_ns(), CRYSTAL_NS * by);
    }
}

#[test]
fn deadline_mode() {
    let mut l = Lapic::new();
    l.set_deadline(500, 0);
    assert_eq!((l.deadline(), l.next_event()), (0, u64::MAX), "not in that mode");
    write(&mut l, 0x320, 0x4_0031, 0);
    write(&mut l, 0x380, 100, 0);
    assert_eq!(l.next_event(), u64::MAX);
    l.set_deadline(500, 100);
    assert_eq!((l.deadline(), l.next_event()), (500, 500));
    l.tick(500);
    assert_eq!((l.acknowledge(), l.deadline()), (Some(0x31), 0));
    write(&mut l, 0xb0, 0, 0);
    l.set_deadline(600, 700);
    assert_eq!(l.acknowledge(), Some(0x31), "in the past: at once");
    l.set_deadline(900, 800);
    write(&mut l, 0x320, 0x31, 800);
    assert_eq!((l.deadline(), l.next_event()), (0, u64::MAX), "the mode's change disarms it");
}

#[test]
fn disabling_masks_the_local_vectors() {
    let mut l = Lapic::new();
    assert!(l.passes_external());
    write(&mut l, 0x320, 0x4_0031, 0);
    l.set_deadline(5, 0);
    write(&mut l, 0xf0, 0xff, 0);
    assert_eq!(read(&mut l, 0x320, 0), 0x5_0031);
    l.accept(0x50, false);
    l.tick(10);
    assert!(!l.interrupts() && !l.passes_external());
    write(&mut l, 0xf0, 0x1ff, 0);
    assert!(!l.interrupts());
    write(&mut l, 0x350, 0x700, 0);
    assert!(l.passes_external());
    write(&mut l, 0x350, 0x55, 0);
    assert!(!l.passes_external());
    l.rise_lint0();
    assert_eq!(l.acknowledge(), Some(0x55));
}

#[test]
fn commands_reach_the_one_processor() {
    let mut l = Lapic::new();
    for (low, high, sent) in [
        (0x4_0051, 0, true),
        (0x8_0051, 0, true),
        (0xc_0051, 0, false),
        (0x51, 0, true),
        (0x51, 0x100_0000, false),
        (0x51, 0xff00_0000, true),
        (0x500, 0, false),
        (0x4_0400, 0, false),
    ] {
        write(&mut l, 0x310, high, 0);
        write(&mut l, 0x300, low, 0);
        assert_eq!(l.acknowledge().is_some(), sent, "{low:#x}");
        write(&mut l, 0xb0, 0, 0);
    }
    write(&mut l, 0xd0, 0x0200_0000, 0);
    assert!(l.is_destination(true, 3) && !l.is_destination(true, 1));
    write(&mut l, 0xe0, 0, 0);
    write(&mut l, 0xd0, 0x3200_0000, 0);
    assert!(l.is_destination(true, 0x33) && l.is_destination(true, 0xf2) && !l.is_destination(true, 0x42));
}

#[test]
fn errors_are_latched() {
    let mut l = Lapic::new();
    write(&mut l, 0x370, 0x70, 0);
    l.accept(3, false);
    assert_eq!(l.acknowledge(), Some(0x70));
    assert_eq!(read(&mut l, 0x280, 0), 0);
    write(&mut l, 0x280, 0, 0);
    assert_eq!(read(&mut l, 0x280, 0), RECEIVE_ILLEGAL);
    write(&mut l, 0x300, 0x4_0001, 0);
    read(&mut l, 0x40, 0);
    write(&mut l, 0x280, 0, 0);
    assert_eq!(read(&mut l, 0x280, 0), SEND_ILLEGAL | ILLEGAL_REGISTER);
    // Even where the error interrupt itself is illegal.
    write(&mut l, 0x370, 1, 0);
    write(&mut l, 0x280, 0, 0);
    l.accept(3, false);
}

#[test]
fn base_and_saved_state() {
    let mut l = Lapic::new();
    assert_eq!(l.base(), 0xfee0_0900);
    assert!(!l.set_base(0xfee0_0d00) && !l.set_base(0x1000_0900) && l.set_base(0xfee0_0100));
    assert_eq!((read(&mut l, 0x30, 0), l.passes_external()), (u32::MAX, true));
    assert!(l.set_base(0xfee0_0900));
    assert_eq!((read(&mut l, 0x30, 0), l.passes_external()), (0x5_0014, false));
    write(&mut l, 0xf0, 0x1ff, 0);
    l.accept(0x99, true);
    let back = Lapic::restore(l.save()).unwrap();
    assert_eq!(back.save(), l.save());
    assert!(back.interrupts());
    for bad in [
        LapicState { irr: [1, 0, 0, 0, 0, 0, 0, 0], ..l.save() },
        LapicState { svr: 0x400, ..l.save() },
        LapicState { lvt: [u32::MAX; LVTS], ..l.save() },
        LapicState { icr: [1 << 12, 0], ..l.save() },
        LapicState { divide: 4, ..l.save() },
    ] {
        assert!(Lapic::restore(bad).is_err());
    }
}

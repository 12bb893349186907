//! The privileged side of the x86-64 processor, compared with QEMU's line by line.
//!
//! A bare-metal guest (`tests/system-x86`, built by `scripts/system-guest`) boots on QEMU's microvm and on
//! our machine, runs a group of cases and says of each on the serial port what the handler of its exception
//! found: vector, error code, the frame, CR2, DR6, the registers that changed. Where QEMU's emulator is known
//! not to do what the manual says, and for what it cannot do at all, `tests/system-x86/expected` has the line
//! that the manual asks for.

use forelift_abi::config::Arch;
use forelift_runtime::host::NoHost;
use forelift_runtime::machine::{BootSource, Machine, MachineError};
use forelift_runtime::memory::GuestMemory;
use forelift_runtime::session::ConsoleLog;
use forelift_tests::process::program;
use forelift_tests::workspace::{last_line, script, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, thread};

/// The processor that ours is like, and what it has besides.
const QEMU_CPU: &str = "Westmere,vendor=GenuineIntel,phys-bits=40,+pdpe1gb,+movbe,+rdtscp";
/// RAM of both machines in MiB.
const RAM_MIB: usize = 64;

fn guest() -> PathBuf {
    last_line(script("system-guest"), &[]).into()
}

/// What the group says on our machine.
fn on_forelift(group: &str) -> String {
    let kernel = fs::read(guest()).expect("the guest");
    let memory = GuestMemory::new(RAM_MIB << 20, None).expect("memory");
    let source =
        BootSource { arch: Arch::X86_64, kernel: &kernel, initrd: &[], cmdline: group, rng_seed: &[0; 64] };
    let mut machine = Machine::boot(memory, source, ConsoleLog::Keep).expect("a machine");
    match machine.boot_to_ready(&mut NoHost::default(), 0, &mut |_| {}) {
        Err(MachineError::Boot { why, .. }) => assert_eq!(why, "it switched itself off", "{}", machine.log()),
        other => panic!("{other:?}"),
    }
    machine.log()
}

/// What the group says on QEMU.
fn on_qemu(group: &str) -> String {
    // None takes a second; one that hangs is ended.
    let done = program(tool("timeout"), |c| {
        c.arg("60").arg(tool("qemu-system-x86_64"));
        c.args(["-machine", "microvm,accel=tcg,acpi=off", "-cpu", QEMU_CPU, "-m", &RAM_MIB.to_string()]);
        // With a second processor, which stays asleep, a locked instruction does not load before it knows
        // that it may store.
        c.args(["-smp", "2"]);
        c.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        c.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-append", group]);
        c.arg("-kernel").arg(guest());
    });
    // The device's way to say 0; a triple fault ends it with 0.
    assert!(matches!(done.status(), 0 | 1), "{done}");
    done.out()
}

/// Lines that the manual asks for, by the names of their cases.
fn expected(group: &str) -> BTreeMap<String, String> {
    let path = script("../tests/system-x86/expected");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let ours = lines.filter_map(|line| line.split_once(' ').filter(|(of, _)| *of == group));
    ours.map(|(_, line)| (name(line).to_owned(), line.to_owned())).collect()
}

/// QEMU's line without what its emulator always does in its own way: an error code that names a gate counts
/// 16 to a vector, and the manual 8 (6.13); that of a page fault by a reserved bit does not say that the page
/// is present (4.7).
fn of_qemu(line: &str) -> String {
    let words: Vec<String> = line
        .split(' ')
        .map(|word| {
            let code = word.strip_prefix("e=").and_then(|code| u32::from_str_radix(code, 16).ok());
            match code {
                Some(code) if code & 2 != 0 && (line.contains(" v=d ") || line.contains(" v=b ")) => {
                    format!("e={:x}", code >> 4 << 3 | code & 7)
                }
                Some(code) if code & 8 != 0 && line.contains(" v=e ") => format!("e={:x}", code | 1),
                _ => word.to_owned(),
            }
        })
        .collect();
    words.join(" ")
}

fn name(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// Runs the group on both; both have to come to its last line.
fn compare(group: &str, last: &str, least: usize) {
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| on_qemu(group));
        (on_forelift(group), theirs.join().expect("a run of QEMU"))
    });
    let expected = expected(group);
    let mut theirs: BTreeMap<_, _> = theirs
        .lines()
        .map(|line| of_qemu(line.trim_end_matches('\r')))
        .map(|l| (name(&l).to_owned(), l))
        .collect();
    let (mut seen, mut wrong, mut compared) = (BTreeSet::new(), Vec::new(), 0);
    for line in ours.lines() {
        let name = name(line);
        assert!(seen.insert(name), "{group}: two cases are called {name}");
        match (expected.get(name), theirs.remove(name)) {
            (Some(expected), _) if line == expected => {}
            (Some(expected), _) => wrong.push(format!("ours   {line}\nmanual {expected}")),
            (None, Some(their)) if line == their => compared += 1,
            (None, their) => {
                wrong.push(format!("ours {line}\nqemu {}", their.as_deref().unwrap_or("nothing")))
            }
        }
    }
    wrong.extend(theirs.values().map(|their| format!("ours nothing\nqemu {their}")));
    for name in expected.keys().filter(|name| !seen.contains(name.as_str())) {
        wrong.push(format!("no case is called {name}"));
    }
    println!("{group}: {compared} lines are QEMU's, {} the manual's", expected.len());
    assert!(wrong.is_empty(), "{group}: {} lines are wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(ours.lines().next_back(), Some(last), "{group}: it did not come to its end");
    assert!(compared >= least, "{group}: only {compared} lines could be compared");
}

/// A fault that cannot be delivered, while a double fault is: both machines end there.
#[test]
fn triple_fault() {
    let (ours, theirs) = (on_forelift("triple-fault"), on_qemu("triple-fault"));
    assert_eq!((ours.as_str(), theirs.trim_end()), ("about to fault\n", "about to fault"));
}

/// A test for each group: its name, and how many of its lines have to be QEMU's at least.
macro_rules! groups {
    ($($test:ident $group:literal $least:literal)*) => {
        $(#[test]
        fn $test() {
            compare($group, "end", $least);
        })*
    };
}

groups! {
    faults "faults" 150
    delivery "delivery" 80
    rights "rights" 570
    rights_without_wp "rights-without-wp" 570
    reserved_bits "reserved-bits" 200
    boundaries "boundaries" 100
    fetches "fetches" 30
    addresses "addresses" 100
    strings "strings" 100
    more_strings "more-strings" 30
    iret "iret" 40
    far_transfers "far" 150
    call_gates "gates" 40
    system_calls "syscall" 20
    segments "segments" 400
    control_registers "control-registers" 12
    translations "translations" 30
    changing_code "changing-code" 30
    single_steps "single-steps" 80
    interrupts "interrupts" 40
}

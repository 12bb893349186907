//! Boots a kernel up to *ready to exec*, shows what it says, and runs a command from the saved state: to try
//! kernels and machines without a conversion.
//!
//!     cargo run --release -p forelift-runtime --example boot -- \
//!         ARCH KERNEL INITRD [ROOT [APPEND [COMMAND ARG...]]]
//!
//! ARCH is riscv64 or x86_64, INITRD a cpio archive, ROOT a file system image (`-` for none).
//! `earlyprintk=serial` as APPEND shows an x86_64 kernel's words from before its console exists.

use forelift_abi::config::Arch;
use forelift_abi::control::Start;
use forelift_runtime::host::NoHost;
use forelift_runtime::machine::{BootSource, Machine, to_the_end};
use forelift_runtime::memory::GuestMemory;
use forelift_runtime::session::ConsoleLog;
use forelift_runtime::sys::SystemHost;
use std::error::Error;
use std::fs::{self, File};
use std::time::Instant;

const RAM: usize = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |n: usize| args.get(n).map(String::as_str);
    let usage = "usage: boot riscv64|x86_64 KERNEL INITRD [ROOT|- [APPEND [COMMAND ARG...]]]";
    let arch = match arg(0).ok_or(usage)? {
        "riscv64" => Arch::Riscv64,
        "x86_64" => Arch::X86_64,
        _ => return Err(usage.into()),
    };
    let (kernel, initrd) = (fs::read(arg(1).ok_or(usage)?)?, fs::read(arg(2).ok_or(usage)?)?);
    let root = match arg(3) {
        None | Some("-") => None,
        // SAFETY: an image that nobody writes to while this runs.
        Some(path) => Some(unsafe { memmap2::Mmap::map(&File::open(path)?)? }),
    };
    let cmdline = arg(4).unwrap_or("");
    let memory = GuestMemory::new(RAM, root)?;
    let source = BootSource { arch, kernel: &kernel, initrd: &initrd, cmdline, rng_seed: &[0x5a; 64] };
    let mut machine = Machine::boot(memory, source, ConsoleLog::Keep)?;
    let start = Instant::now();
    let outcome = machine.boot_to_ready(&mut NoHost::default(), 0, &mut |_| {});
    match &outcome {
        Ok(()) => println!("{}\nready", machine.log()),
        Err(error) => println!("{error}"),
    }
    println!("{} instructions, {:?}", machine.instructions(), start.elapsed());
    outcome?;
    if args.len() > 5 {
        let mut host = SystemHost::new()?;
        // As an image starts: from the state that was saved.
        let state = machine.save(&mut NoHost::default());
        let mut machine = Machine::restore(machine.into_memory(), &state, &mut host, ConsoleLog::Keep)?;
        let (start, before) = (Instant::now(), machine.instructions());
        machine.begin(orders(&args[5..]), &mut host);
        let outcome = to_the_end(&mut host, |host| machine.turn(host));
        println!("{outcome:?}\n{} instructions, {:?}", machine.instructions() - before, start.elapsed());
    }
    Ok(())
}

/// The command, as root and without input.
fn orders(argv: &[String]) -> Start {
    Start {
        argv: argv.iter().map(|arg| arg.clone().into_bytes()).collect(),
        env: vec![b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec()],
        cwd: "/".into(),
        user: String::new(),
        tty: None,
        tty_echo: false,
        stdin: false,
        hostname: "forelift".into(),
        network: None,
        mounts: Vec::new(),
        volumes: Vec::new(),
        stop_signal: String::new(),
        realtime_ns: 0,
        entropy: Vec::new(),
    }
}

//! Runs the init under QEMU and plays the host's part of the control protocol: what Forelift's own machine
//! does, on a machine that is known to be right.
//!
//! `cargo run -p forelift-init --example qemu_host -- KERNEL INIT BUSYBOX[,INTERPRETER] [NAME...]`
//!
//! KERNEL is the `Image` of `scripts/build-kernel`, INIT the release build of this crate, BUSYBOX a static
//! busybox, all of one architecture: INIT tells which. Each scenario is one boot of `qemu-system-riscv64 -M
//! virt` or `qemu-system-x86_64 -M microvm` with a root file system made by `mkfs.erofs`; NAME limits them to
//! those whose name contains it. The exit status is not 0 when one failed.
//!
//! With an INTERPRETER, a static x86_64 `qemu-aarch64`, BUSYBOX is an arm64 one.

mod network;
mod scenarios;

use forelift_abi::{
    config::ARM64_INTERPRETER,
    control::{self, Mount, Start, ToGuest, ToHost, WindowSize},
};
use std::{
    error::Error,
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PORTS: [&str; 4] =
    [control::PORT_CONTROL, control::PORT_STDIN, control::PORT_STDOUT, control::PORT_STDERR];
/// What an interpreter shows of itself: the handlers of its signals, and an environment in another order.
const WITHOUT_INTERPRETER: [&str; 2] = ["nothing is inherited", "environment"];
const TIMEOUT: Duration = Duration::from_secs(60);
/// The network device's own address.
const DEVICE_MAC: &str = "52:54:00:12:34:56";

#[expect(clippy::large_enum_variant, reason = "a handful of them exist")]
/// What a scenario does after the start, one step after the other.
enum Step {
    /// Sends bytes to standard input.
    Feed(Vec<u8>),
    /// Ends standard input after what was fed.
    End,
    /// Sends a message.
    Send(ToGuest),
    /// Waits until standard output contains this text.
    Await(&'static str),
}

/// What came back.
#[derive(Default)]
struct Seen {
    out: Vec<u8>,
    err: Vec<u8>,
    started: bool,
    end: Option<ToHost>,
    took: Duration,
}

enum Event {
    Control(ToHost),
    Out(Vec<u8>),
    Err(Vec<u8>),
    Gone,
}

/// The command and the machine for an ELF file's architecture, with nothing but virtio-mmio devices and an
/// 8250.
fn machine(elf: &[u8]) -> Result<(&'static str, &'static [&'static str])> {
    // e_machine of the ELF header; little-endian in both.
    match elf.get(18..20) {
        Some([0xf3, 0]) => Ok(("qemu-system-riscv64", &["-M", "virt"])),
        Some([0x3e, 0]) => Ok((
            "qemu-system-x86_64",
            &["-M", "microvm,acpi=off,x-option-roms=off,pit=on,pic=on,rtc=on,isa-serial=on", "-cpu", "max"],
        )),
        _ => Err("INIT is no ELF file of riscv64 or x86_64".into()),
    }
}

struct Bench {
    qemu: (&'static str, &'static [&'static str]),
    kernel: PathBuf,
    initrd: PathBuf,
    /// By [`Root`].
    roots: [PathBuf; 3],
    dir: PathBuf,
}

/// Which root file system a scenario has.
#[derive(Clone, Copy)]
enum Root {
    /// Busybox with links, users and files to try.
    Full,
    /// One file, `/busybox`, and no directory.
    Scratch,
    /// Not a file system.
    Damaged,
}

/// A `newc` archive (Documentation/driver-api/early-userspace/buffer-format.rst) of /init, /dev and
/// /dev/console.
fn cpio(init: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |name: &str, mode: u32, device: (u32, u32), data: &[u8]| {
        let fields =
            [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        out.extend_from_slice(b"070701");
        fields.iter().for_each(|f| out.extend_from_slice(format!("{f:08x}").as_bytes()));
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    add("dev", 0o040_755, (0, 0), b"");
    add("dev/console", 0o020_600, (5, 1), b"");
    add("init", 0o100_755, (0, 0), init);
    add("TRAILER!!!", 0, (0, 0), b"");
    out
}

fn make_root(dir: &Path, busybox: &Path, interpreter: Option<&Path>) -> Result<PathBuf> {
    let root = dir.join("root");
    for sub in ["bin", "etc", "vol/sub", "home/web", "opt"] {
        fs::create_dir_all(root.join(sub))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    let applets = "sh cat echo id sleep true false env ls stty tty hostname mount dd wc sha256sum head seq ps grep \
        kill readlink pwd stat date trap touch yes ulimit mknod chown test mkdir rm sync df tr cut ip ping nc tail sort \
        uniq";
    for applet in applets.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/home/web:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:44:\nssl:x:90:web\n")?;
    symlink("../run/resolve/resolv.conf", root.join("etc/resolv.conf"))?;
    fs::write(root.join("vol/file"), "from the image\n")?;
    fs::set_permissions(root.join("vol"), fs::Permissions::from_mode(0o750))?;
    fs::write(root.join("opt/data"), "not executable\n")?;
    fs::write(root.join("opt/noshebang"), b"\x00\x01\x02")?;
    fs::set_permissions(root.join("opt/noshebang"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("opt/lost"), "#!/no/such/interpreter\n")?;
    fs::set_permissions(root.join("opt/lost"), fs::Permissions::from_mode(0o755))?;
    add_interpreter(&root, interpreter)?;
    mkfs(dir, "root", &root)
}

fn add_interpreter(root: &Path, interpreter: Option<&Path>) -> Result<()> {
    if let Some(interpreter) = interpreter {
        fs::copy(interpreter, root.join(ARM64_INTERPRETER))?;
    }
    Ok(())
}

fn make_scratch(dir: &Path, busybox: &Path, interpreter: Option<&Path>) -> Result<PathBuf> {
    let root = dir.join("scratch");
    fs::create_dir_all(&root)?;
    fs::copy(busybox, root.join("busybox"))?;
    add_interpreter(&root, interpreter)?;
    mkfs(dir, "scratch", &root)
}

fn mkfs(dir: &Path, name: &str, root: &Path) -> Result<PathBuf> {
    let image = dir.join(name).with_extension("erofs");
    let done = Command::new("mkfs.erofs").arg(&image).arg(root).stdout(Stdio::null()).status()?;
    if !done.success() {
        return Err("mkfs.erofs failed".into());
    }
    Ok(image)
}

impl Bench {
    fn boot(&self, root: Root, share: Option<&Path>, nic: bool) -> Result<(Child, Vec<UnixStream>)> {
        let (program, machine) = self.qemu;
        let mut qemu = Command::new(program);
        qemu.args(machine)
            .args(["-m", "192", "-nographic", "-nodefaults", "-no-reboot", "-global"])
            .args(["virtio-mmio.force-legacy=false", "-device", "virtio-serial-device", "-serial"])
            .arg(format!("file:{}", self.dir.join("console").display()))
            .args(["-append", "console=ttyS0 loglevel=5 panic=-1", "-kernel"])
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args(["-device", "virtio-blk-device,drive=root", "-drive"])
            .arg(format!(
                "id=root,if=none,format=raw,readonly=on,file={}",
                self.roots[root as usize].display()
            ));
        let mut listeners = Vec::new();
        for (i, name) in PORTS.into_iter().enumerate() {
            let path = self.dir.join(name);
            let _ = fs::remove_file(&path);
            listeners.push(UnixListener::bind(&path)?);
            qemu.arg("-chardev").arg(format!("socket,id=c{i},path={}", path.display()));
            qemu.arg("-device").arg(format!("virtserialport,chardev=c{i},name={name}"));
        }
        if let Some(share) = share {
            qemu.arg("-fsdev").arg(format!("local,id=share,security_model=none,path={}", share.display()));
            qemu.args(["-device", "virtio-9p-device,fsdev=share,mount_tag=share"]);
        }
        if nic {
            // QEMU's own gateway: 10.0.2.2, 10.0.2.3 for names, fec0::2; nothing is reached beyond.
            qemu.args(["-netdev", "user,id=net,restrict=on,ipv4=on,ipv6=on,ipv6-net=fec0::/64"]);
            qemu.arg("-device").arg(format!("virtio-net-device,netdev=net,mac={DEVICE_MAC}"));
        }
        let child = qemu.stdin(Stdio::null()).spawn()?;
        let streams = listeners.iter().map(|l| Ok(l.accept()?.0)).collect::<Result<Vec<_>>>()?;
        Ok((child, streams))
    }

    fn run(&self, scenario: &mut Scenario, share: &Path) -> Result<Seen> {
        let steps = std::mem::take(&mut scenario.steps);
        let share = scenario.share.then_some(share);
        let (mut qemu, mut streams) = self.boot(scenario.root, share, scenario.nic)?;
        let done = play(&scenario.start, steps, &mut streams);
        let _ = qemu.kill();
        let _ = qemu.wait();
        done
    }
}

fn listen(streams: &[UnixStream]) -> Result<Receiver<Event>> {
    let (sender, events) = channel();
    for (i, wrap) in [(2, Event::Out as fn(Vec<u8>) -> Event), (3, Event::Err)] {
        let (mut stream, sender) = (streams[i].try_clone()?, sender.clone());
        thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                if sender.send(wrap(chunk[..n].to_vec())).is_err() {
                    break;
                }
            }
        });
    }
    let mut stream = streams[0].try_clone()?;
    thread::spawn(move || {
        let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut chunk) {
            buffer.extend_from_slice(&chunk[..n]);
            while let Ok(Some(message)) = control::take(&mut buffer) {
                let _ = sender.send(Event::Control(message));
            }
        }
        let _ = sender.send(Event::Gone);
    });
    Ok(events)
}

fn play(start: &Start, steps: Vec<Step>, streams: &mut [UnixStream]) -> Result<Seen> {
    let events = listen(streams)?;
    let (mut seen, begun) = (Seen::default(), Instant::now());
    let next = |seen: &mut Seen, within: Duration| -> Result<Option<Event>> {
        match events.recv_timeout(within) {
            Ok(Event::Out(bytes)) => seen.out.extend_from_slice(&bytes),
            Ok(Event::Err(bytes)) => seen.err.extend_from_slice(&bytes),
            Ok(other) => return Ok(Some(other)),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() > TIMEOUT => {
                return Err(format!(
                    "timeout; stdout so far {:?}, stderr {:?}",
                    String::from_utf8_lossy(&seen.out),
                    String::from_utf8_lossy(&seen.err)
                )
                .into());
            }
            Err(_) => {}
        }
        Ok(None)
    };
    let pause = Duration::from_millis(50);
    loop {
        match next(&mut seen, pause)? {
            Some(Event::Control(ToHost::Ready)) => break,
            Some(Event::Control(other)) => {
                seen.end = Some(other);
                return Ok(seen);
            }
            Some(_) => return Err("the machine died before it was ready".into()),
            None => {}
        }
    }
    let since = Instant::now();
    streams[0].write_all(&control::encode(&ToGuest::Start(start.clone())))?;
    let mut fed = 0;
    let mut steps = steps.into_iter().peekable();
    while seen.end.is_none() {
        match steps.peek() {
            Some(Step::Await(text)) if !contains(&seen.out, text) => {}
            Some(_) if seen.started => match steps.next() {
                Some(Step::Feed(bytes)) => {
                    fed += bytes.len() as u64;
                    // Apart, so that a command that does not read its input does not hold the scenario up.
                    let mut stream = streams[1].try_clone()?;
                    thread::spawn(move || stream.write_all(&bytes));
                }
                Some(Step::End) => {
                    streams[0].write_all(&control::encode(&ToGuest::StdinEof { bytes: fed }))?;
                }
                Some(Step::Send(message)) => streams[0].write_all(&control::encode(&message))?,
                Some(Step::Await(_)) | None => {}
            },
            _ => {}
        }
        match next(&mut seen, pause)? {
            Some(Event::Control(ToHost::Started)) => seen.started = true,
            Some(Event::Control(end)) => seen.end = Some(end),
            Some(_) => return Err("the machine died".into()),
            None => {}
        }
    }
    seen.took = since.elapsed();
    // What was written before the end may still be on its way through the other sockets.
    for _ in 0..4 {
        next(&mut seen, pause)?;
    }
    while let Ok(event) = events.recv_timeout(pause) {
        match event {
            Event::Out(bytes) => seen.out.extend_from_slice(&bytes),
            Event::Err(bytes) => seen.err.extend_from_slice(&bytes),
            _ => {}
        }
    }
    Ok(seen)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len().max(1)).any(|w| w == text.as_bytes())
}

fn start(argv: &[&str]) -> Start {
    Start {
        argv: argv.iter().map(|a| a.as_bytes().to_vec()).collect(),
        env: Vec::new(),
        cwd: String::new(),
        user: String::new(),
        tty: None,
        tty_echo: true,
        stdin: false,
        hostname: "box".into(),
        network: None,
        mounts: Vec::new(),
        volumes: Vec::new(),
        stop_signal: String::new(),
        realtime_ns: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64),
        entropy: (0..64).collect(),
    }
}

fn sh(script: &str) -> Start {
    start(&["sh", "-c", script])
}

/// What a scenario must show.
struct Expected {
    code: u8,
    failed: bool,
    out: Out,
    err: String,
}

enum Out {
    Is(String),
    Has(Vec<&'static str>),
}

struct Scenario {
    name: &'static str,
    start: Start,
    root: Root,
    steps: Vec<Step>,
    share: bool,
    /// Whether the machine has a network device.
    nic: bool,
    expected: Expected,
}

fn scenario(name: &'static str, start: Start, code: u8, out: &str) -> Scenario {
    let expected = Expected { code, failed: false, out: Out::Is(out.into()), err: String::new() };
    Scenario { name, start, root: Root::Full, steps: Vec::new(), share: false, nic: false, expected }
}

fn failing(name: &'static str, start: Start, code: u8, message: &'static str) -> Scenario {
    let expected = Expected { code, failed: true, out: Out::Is(String::new()), err: message.into() };
    Scenario { name, start, root: Root::Full, steps: Vec::new(), share: false, nic: false, expected }
}

impl Scenario {
    fn steps(mut self, steps: Vec<Step>) -> Self {
        self.start.stdin |= steps.iter().any(|s| matches!(s, Step::Feed(_) | Step::End));
        self.steps = steps;
        self
    }

    fn root(mut self, root: Root) -> Self {
        self.root = root;
        self
    }

    fn nic(mut self) -> Self {
        self.nic = true;
        self
    }

    fn has(mut self, lines: &[&'static str]) -> Self {
        self.expected.out = Out::Has(lines.to_vec());
        self
    }

    fn err(mut self, text: &str) -> Self {
        self.expected.err = text.into();
        self
    }

    fn judge(&self, seen: &Seen) -> std::result::Result<(), String> {
        let (out, err) = (String::from_utf8_lossy(&seen.out), String::from_utf8_lossy(&seen.err));
        let end = match (&seen.end, self.expected.failed) {
            (Some(ToHost::Exited { code }), false) if *code == self.expected.code => err == self.expected.err,
            (Some(ToHost::Failed { code, message }), true) if *code == self.expected.code => {
                *message == self.expected.err
            }
            _ => false,
        };
        let text = match &self.expected.out {
            Out::Is(text) => out == *text,
            Out::Has(parts) => parts.iter().all(|p| out.contains(p)),
        };
        if end && text {
            return Ok(());
        }
        let short: String = out.chars().take(3000).collect();
        Err(format!("end {:?}\n  stdout ({} bytes) {short:?}\n  stderr {err:?}", seen.end, out.len()))
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, init, busybox, names @ ..] = args.as_slice() else {
        return Err("usage: qemu_host KERNEL INIT BUSYBOX[,INTERPRETER] [NAME...]".into());
    };
    let dir = std::env::temp_dir().join(format!("forelift-qemu-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let damaged = dir.join("damaged");
    fs::write(&damaged, vec![0x5a; 1 << 20])?;
    let (busybox, interpreter) = match busybox.split_once(',') {
        Some((busybox, interpreter)) => (Path::new(busybox), Some(Path::new(interpreter))),
        None => (Path::new(busybox), None),
    };
    let roots = [make_root(&dir, busybox, interpreter)?, make_scratch(&dir, busybox, interpreter)?, damaged];
    let initrd = dir.join("initrd");
    let init = fs::read(init)?;
    fs::write(&initrd, cpio(&init))?;
    let bench = Bench { qemu: machine(&init)?, kernel: kernel.into(), initrd, roots, dir: dir.clone() };
    let share = dir.join("share");
    fs::create_dir_all(&share)?;
    fs::write(share.join("hello"), "from the host\n")?;

    let (mut ran, mut failed) = (0, 0);
    for mut scenario in scenarios::scenarios().into_iter().chain(network::scenarios()) {
        if !names.is_empty() && !names.iter().any(|n| scenario.name.contains(n.as_str())) {
            continue;
        }
        if interpreter.is_some() && WITHOUT_INTERPRETER.contains(&scenario.name) {
            continue;
        }
        ran += 1;
        let seen = bench.run(&mut scenario, &share);
        let verdict =
            seen.map_err(|e| e.to_string()).and_then(|seen| scenario.judge(&seen).map(|()| seen.took));
        match verdict {
            Ok(took) => {
                println!("ok     {} ({} ms)", scenario.name, took.as_millis());
            }
            Err(why) => {
                failed += 1;
                println!("FAILED {}: {why}", scenario.name);
                print!("{}", fs::read_to_string(dir.join("console")).unwrap_or_default());
            }
        }
        if scenario.name == "host directory"
            && fs::read(share.join("made")).ok().as_deref() != Some(b"in the guest\n")
        {
            failed += 1;
            println!("FAILED host directory: what the guest wrote did not arrive");
        }
    }
    fs::remove_dir_all(&dir)?;
    println!("{ran} scenarios, {failed} failed");
    if failed > 0 || ran == 0 { Err(format!("{failed} of {ran} scenarios failed").into()) } else { Ok(()) }
}

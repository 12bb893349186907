//! A guest: the host's own kernel in a network namespace, whose only interface is a TAP device with virtio
//! headers and offloads, bridged to a gateway's handle.

use forelift_abi::net::Network;
use forelift_net::{
    Config,
    native::{Gateway, Handle},
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
        unix::net::UnixStream,
    },
    process::Command,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

type Job = Box<dyn FnOnce() + Send>;

/// A guest and its gateway.
pub(crate) struct Guest {
    pub(crate) handle: Arc<Handle>,
    jobs: Option<mpsc::Sender<Job>>,
    worker: Option<JoinHandle<()>>,
    bridge: Option<JoinHandle<()>>,
    stop: UnixStream,
}

const IFF_VNET_HDR: libc::c_short = 0x4000;
const TUN_F: libc::c_uint = 1 | 2 | 4 | 8;

/// A TAP device in the thread's network namespace.
fn tap() -> File {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
    let file = file.expect("/dev/net/tun: these tests need root and the tun device");
    // SAFETY: `ifreq` is plain data, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"eth0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        libc::IFF_TAP as libc::c_short | libc::IFF_NO_PI as libc::c_short | IFF_VNET_HDR;
    let header: libc::c_int = 12;
    // SAFETY: the three requests read an `ifreq`, an `int` and a number (linux/if_tun.h).
    unsafe {
        assert_eq!(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &request), 0, "TUNSETIFF");
        assert_eq!(libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &header), 0, "TUNSETVNETHDRSZ");
        assert_eq!(libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD as _, TUN_F), 0, "TUNSETOFFLOAD");
    }
    file
}

/// Moves this thread, and what it starts, into a network namespace of its own.
fn enter_namespace() {
    // SAFETY: the call concerns the calling thread alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare: these tests need root");
}

/// Runs a command of the shell's; its output.
pub(crate) fn shell(command: &str) -> Result<String, String> {
    let output = Command::new("bash").args(["-c", command]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}: {} {}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// Gives the interface its addresses, as init does.
fn set_up(network: &Network) {
    let [a, b, c, d, e, f] = network.mac;
    let mut commands = vec![
        "ip link set lo up".to_owned(),
        format!("ip link set eth0 address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        format!("ip link set eth0 mtu {}", network.mtu),
    ];
    for address in &network.addresses {
        let nodad = if address.ip.is_ipv6() { "nodad" } else { "" };
        commands.push(format!("ip addr add {}/{} dev eth0 {nodad}", address.ip, address.prefix));
    }
    commands.push("ip link set eth0 up".to_owned());
    commands.extend(network.gateways.iter().map(|ip| format!("ip route add default via {ip}")));
    shell(&commands.join(" && ")).unwrap();
}

fn poll(descriptors: [(RawFd, libc::c_short); 3]) -> [libc::c_short; 3] {
    let mut list = descriptors.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    // SAFETY: the list has the length that is given.
    let n = unsafe { libc::poll(list.as_mut_ptr(), 3, -1) };
    assert!(n > 0 || std::io::Error::last_os_error().kind() == ErrorKind::Interrupted);
    list.map(|entry| entry.revents)
}

/// Carries packets until `stop` closes.
fn bridge(mut tap: File, handle: &Handle, stop: &UnixStream) {
    use std::os::fd::AsFd;
    let mut packet = vec![0; 12 + 65535 + 18];
    let mut held = None;
    loop {
        handle.receive(&mut |packet| match (&tap).write(packet) {
            Ok(length) => {
                assert_eq!(length, packet.len());
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            // The interface is not yet up.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => true,
            Err(error) => panic!("a packet of the gateway's: {error}, {packet:x?}"),
        });
        for _ in 0..64 {
            let length = match held.take() {
                Some(length) => length,
                None => match tap.read(&mut packet) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("tap: {error}"),
                },
            };
            if !handle.send(&[&packet[..12], &packet[12..length]]) {
                held = Some(length);
                break;
            }
        }
        handle.clear();
        if handle.has_packets() || (held.is_some() && handle.has_room()) {
            continue;
        }
        let wants = if held.is_none() { libc::POLLIN } else { 0 };
        let ready = poll([
            (tap.as_raw_fd(), wants),
            (handle.as_fd().as_raw_fd(), libc::POLLIN),
            (stop.as_raw_fd(), libc::POLLIN),
        ]);
        if ready[2] != 0 {
            return;
        }
    }
}

impl Guest {
    /// Starts a gateway and its guest.
    pub(crate) fn start(config: Config) -> Guest {
        let network = config.network();
        let handle = Arc::new(Gateway::start(config, None).unwrap());
        Self::on(handle, &network)
    }

    /// Starts a guest at the handle of a link.
    pub(crate) fn on(handle: Arc<Handle>, network: &Network) -> Guest {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (device, made) = mpsc::channel();
        let network = network.clone();
        let worker = thread::spawn(move || {
            enter_namespace();
            let tap = tap();
            set_up(&network);
            device.send(tap).unwrap();
            for job in todo {
                job();
            }
        });
        let tap = made.recv().expect("the guest's interface");
        let (stop, stopped) = UnixStream::pair().unwrap();
        let bridge = thread::spawn({
            let handle = handle.clone();
            move || bridge(tap, &handle, &stopped)
        });
        Guest { handle, jobs: Some(jobs), worker: Some(worker), bridge: Some(bridge), stop }
    }

    /// Runs something inside of the guest, and what it gives.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (give, result) = mpsc::channel();
        let job: Job = Box::new(move || drop(give.send(work())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the work inside of the guest panicked")
    }

    /// Starts a thread inside of the guest.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.run(move || thread::spawn(work))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.jobs = None;
        drop(self.stop.shutdown(std::net::Shutdown::Both));
        for thread in [self.worker.take(), self.bridge.take()].into_iter().flatten() {
            let result = thread.join();
            if !thread::panicking() {
                result.unwrap();
            }
        }
    }
}

/// Whether a descriptor becomes readable within this time.
pub(crate) fn readable(descriptor: std::os::fd::BorrowedFd<'_>, wait: Duration) -> bool {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the list has one entry.
    unsafe { libc::poll(&mut entry, 1, wait.as_millis() as libc::c_int) == 1 }
}

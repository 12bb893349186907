//! The program inside an image: reads the table that the packer left in its memory, and runs the container.
//!
//! Natively this program is of no use (`forelift run --native` is), and says so.

fn main() {
    #[cfg(target_os = "wasi")]
    {
        let mut host = forelift_runtime::sys::SystemHost::new();
        let code = wasi::main(&mut host);
        // A component's has all 256 of them.
        #[cfg(feature = "component")]
        host.exit(code);
        std::process::exit(i32::from(code));
    }
    #[cfg(not(target_os = "wasi"))]
    {
        eprintln!("forelift-runtime: this program is the inside of an image: run images with `forelift run`");
        std::process::exit(i32::from(forelift_abi::exit::FAILURE));
    }
}

#[cfg(target_os = "wasi")]
mod wasi {
    use forelift_abi::config::ImageConfig;
    use forelift_abi::exit::FAILURE;
    use forelift_abi::header::{ImageHeader, SIZE, Span};
    use forelift_abi::lift::dtlb_bytes;
    use forelift_runtime::dev::fuse::{HostFs, Server, preopens, remotes};
    use forelift_runtime::image::{self, Asked, Image, Origin, Share};
    use forelift_runtime::memory::GuestMemory;
    use forelift_runtime::session::Outcome;
    use forelift_runtime::sys::{SystemHost, WasiHost};
    use std::io::Write;
    use std::os::wasi::ffi::OsStringExt;

    /// The block that the packer fills in; its address is exported under this name.
    #[unsafe(no_mangle)]
    #[used]
    static mut forelift_image_header: [u8; SIZE] = [0; SIZE];

    const WASM_PAGE: u64 = 0x1_0000;
    /// What a runtime is told that has only the module.
    const NO_ROOT: &str = "image: this module is a part of what `forelift convert --web` has made, whose root file \
                           system is in other files: open the index.html beside it, or convert the image without --web";

    pub(super) fn main(host: &mut SystemHost) -> u8 {
        end(match asked() {
            Ok(asked) => image::run(asked, host, print),
            Err(outcome) => outcome,
        })
    }

    /// Says why a run has failed, if it has; its exit status.
    fn end(outcome: Outcome) -> u8 {
        if let Some(message) = outcome.message {
            let _ = writeln!(std::io::stderr(), "forelift: {message}");
        }
        outcome.code
    }

    fn print(text: &str) {
        let mut out = std::io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Bytes of linear memory that the packer placed.
    fn part(span: Span) -> &'static [u8] {
        if span.len == 0 {
            return &[];
        }
        // SAFETY: the header was checked against the size of memory, nobody writes to these parts, and they
        // lie after the memory that the linker and the allocator know of.
        unsafe { core::slice::from_raw_parts(span.addr as usize as *const u8, span.len as usize) }
    }

    /// The image that the packer placed in linear memory.
    fn image() -> Result<Image<'static>, String> {
        // SAFETY: read as volatile, because the packer wrote to it after the compiler had seen zeros.
        let block = unsafe { (&raw const forelift_image_header).read_volatile() };
        let memory_size = core::arch::wasm32::memory_size(0) as u64 * WASM_PAGE;
        let header = ImageHeader::parse(&block, memory_size).map_err(|e| e.to_string())?;
        let config: ImageConfig = postcard::from_bytes(part(header.config))
            .map_err(|_| "image: its configuration is damaged: convert it again".to_string())?;
        // SAFETY: both parts are checked, page-aligned, and nobody else's; linear memory lives for ever.
        let mut memory = unsafe {
            GuestMemory::from_raw(
                header.ram.addr as usize as *mut u8,
                header.ram.len as usize,
                header.root.addr as usize as *const u8,
                header.root.len as usize,
                None,
            )
        };
        if header.root_outside > 0 {
            if !WasiHost::has_root() {
                return Err(NO_ROOT.to_owned());
            }
            memory.set_root_outside(header.root_outside);
        }
        if header.tlb.len >= dtlb_bytes(header.ram.len) {
            // SAFETY: as above; the size was just checked.
            unsafe { memory.set_tlb_area(header.tlb.addr as usize as *mut u64) };
        }
        let lifted =
            match header.lifted.len {
                0 => None,
                _ => Some(postcard::from_bytes(part(header.lifted)).map_err(|_| {
                    "image: its index of lifted code is damaged: convert it again".to_string()
                })?),
            };
        let origin = if header.state.len > 0 {
            Origin::Snapshot(part(header.state))
        } else {
            Origin::Boot { kernel: part(header.kernel), initrd: part(header.initrd) }
        };
        Ok(Image { memory, config, origin, lifted, tier: None })
    }

    /// What the runtime asks for.
    fn asked() -> Result<Asked<'static>, Outcome> {
        let image = image().map_err(|message| Outcome { code: FAILURE, message: Some(message) })?;
        let env = std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
        Ok(Asked { image, args: arguments(), env: env.collect(), shares: shares() })
    }

    /// The host directories.
    fn shares() -> Vec<Share> {
        let served = remotes().into_iter().map(|r| Share {
            path: r.path.clone(),
            read_only: r.read_only,
            server: Box::new(r),
        });
        let preopened = preopens().into_iter().map(|p| Share {
            path: image::guest_path(&p.path),
            server: Box::new(Server::new(HostFs::new(p.fd), p.read_only)),
            read_only: p.read_only,
        });
        served.chain(preopened).collect()
    }

    fn arguments() -> Vec<Vec<u8>> {
        std::env::args_os().skip(1).map(OsStringExt::into_vec).collect()
    }

    /// For hosts that run the module step by step (see [`forelift_abi::step`]). `_start` does not use it.
    #[cfg(not(feature = "component"))]
    mod step {
        use super::{asked, end, print};
        use forelift_abi::step::Step;
        use forelift_runtime::host::Host;
        use forelift_runtime::image::Run;
        use forelift_runtime::machine::Turn;
        use forelift_runtime::sys::SystemHost;
        use std::cell::RefCell;

        #[derive(Default)]
        enum State {
            #[default]
            New,
            Running(Box<(Run, SystemHost)>),
            Ended(u8),
        }

        thread_local! {
            static STATE: RefCell<State> = RefCell::default();
        }

        unsafe extern "C" {
            fn __wasm_call_ctors();
        }

        fn begin() -> State {
            // SAFETY: what `_start` does first, and has not done: a module is run in one of the two ways.
            unsafe { __wasm_call_ctors() };
            let mut host = SystemHost::new();
            match asked().and_then(|asked| Run::begin(asked, &mut host, print)) {
                Ok(run) => State::Running(Box::new((run, host))),
                Err(outcome) => State::Ended(end(outcome)),
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn forelift_step(budget_ns: u64) -> u64 {
            STATE.with_borrow_mut(|state| {
                if let State::New = state {
                    *state = begin();
                }
                let (run, host) = match state {
                    State::Running(running) => &mut **running,
                    State::Ended(code) => return Step::Ended(*code).to_word(),
                    State::New => return Step::Again.to_word(),
                };
                let begin = host.monotonic_ns();
                let step = loop {
                    match run.turn(host) {
                        Turn::Ended(outcome) => {
                            let code = end(outcome);
                            *state = State::Ended(code);
                            break Step::Ended(code);
                        }
                        Turn::Sleep { timeout_ns, interest } if !host.is_at_once(interest) => {
                            break Step::Idle(timeout_ns);
                        }
                        _ if host.monotonic_ns().saturating_sub(begin) >= budget_ns => break Step::Again,
                        _ => {}
                    }
                };
                step.to_word()
            })
        }
    }

    /// For `forelift lockstep` (see [`forelift_runtime::machine::lockstep`]); a run does not use it.
    #[cfg(feature = "lifting")]
    mod lockstep {
        use super::{arguments, image};
        use forelift_runtime::args::{self, Request};
        use forelift_runtime::image::{FUNCTIONS_VARIABLE, Origin, filter};
        use forelift_runtime::machine::lockstep::{Command, Stepper};
        use std::cell::RefCell;

        #[derive(Default)]
        struct Lockstep {
            stepper: Option<Stepper>,
            /// What the last command gave.
            bytes: Vec<u8>,
        }

        thread_local! {
            static LOCKSTEP: RefCell<Lockstep> = RefCell::default();
        }

        fn begin() -> Result<Stepper, String> {
            let image = image()?;
            let Origin::Snapshot(state) = image.origin else {
                return Err(
                    "image: it has no snapshot: there is nothing that two machines could start from".into()
                );
            };
            let start = match args::parse(&arguments(), &[], &image.config, Vec::new()) {
                Ok(Request::Run(start, None)) => *start,
                Ok(_) => return Err("no command".into()),
                Err(error) => return Err(error.to_string()),
            };
            let machine = Stepper::restore(image.memory, state).map_err(|e| e.to_string())?;
            let mut stepper = Stepper::new(machine, start).map_err(|e| e.to_string())?;
            let Some(mut index) = image.lifted else { return Ok(stepper) };
            if let Some(functions) = std::env::var_os(FUNCTIONS_VARIABLE) {
                filter(&mut index, functions.as_encoded_bytes())?;
            }
            // SAFETY: the packer put the functions of its index into the module's table.
            let taken = stepper
                .lifting()
                .is_some_and(|(lifting, mem)| unsafe { lifting.install(index, Vec::new(), mem) });
            if taken {
                Ok(stepper)
            } else {
                Err("image: its index of lifted code is inconsistent: convert it again".into())
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn forelift_lockstep(command: u32, argument: u64) -> u64 {
            let known = Command::ALL.into_iter().find(|c| *c as u32 == command);
            LOCKSTEP.with_borrow_mut(|lockstep| {
                let Lockstep { stepper, bytes } = lockstep;
                let mut give = |new: Vec<u8>| {
                    *bytes = new;
                    (bytes.as_ptr() as usize as u64) << 32 | bytes.len() as u64
                };
                match (known, stepper.as_mut()) {
                    (Some(Command::Begin), None) => match begin() {
                        Ok(new) => {
                            *stepper = Some(new);
                            give(Vec::new())
                        }
                        Err(message) => give(message.into_bytes()),
                    },
                    (Some(Command::Turn), Some(stepper)) => stepper.turn().to_word(),
                    (Some(Command::Run), Some(stepper)) => stepper.run(argument),
                    (Some(Command::RunTo), Some(stepper)) => stepper.run_to(argument),
                    (Some(Command::State), Some(stepper)) => {
                        // Plain data into a Vec: it cannot fail.
                        give(postcard::to_allocvec(&stepper.state()).unwrap_or_default())
                    }
                    (Some(Command::TrackWrites), Some(stepper)) => {
                        stepper.track_writes();
                        0
                    }
                    (Some(Command::Written), Some(stepper)) => {
                        give(stepper.memory().written().iter().flat_map(|w| w.to_le_bytes()).collect())
                    }
                    (Some(Command::Lifted), Some(stepper)) => stepper.lifted(),
                    _ => u64::MAX,
                }
            })
        }
    }
}

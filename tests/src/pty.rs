//! A program on a pseudo-terminal, where the test is the user who types.

use crate::{
    done::{contains, show},
    process::{pid_of, wait},
    stream::Stream,
};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::setsid,
};
use std::{
    fs::File,
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    time::{Duration, Instant},
};

nix::ioctl_write_int_bad!(
    /// Makes the terminal the controlling one (ioctl_tty(2), TIOCSCTTY).
    control,
    libc::TIOCSCTTY
);
nix::ioctl_write_ptr_bad!(
    /// Sets the window's size (TIOCSWINSZ).
    set_size,
    libc::TIOCSWINSZ,
    Winsize
);

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program at a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The user's side.
    keyboard: File,
    /// The program's side, held open so that its settings can be read after the program's end.
    line: OwnedFd,
    screen: Stream,
    /// Bytes on the screen that earlier waits have seen.
    seen: usize,
}

fn size(rows: u16, cols: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// Starts a program with a terminal of that size as its controlling terminal and its three streams.
    pub fn spawn(mut command: Command, rows: u16, cols: u16) -> Self {
        let pair = openpty(&size(rows, cols), None).expect("a pseudo-terminal");
        let (user, line) = (pair.master, pair.slave);
        // Neither end may stay open in the program, or its end would not be seen.
        for fd in [&user, &line] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("close-on-exec");
        }
        let copy = || line.try_clone().expect("duplicating a descriptor");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: both are system calls, async-signal-safe, that touch nothing of this process's memory;
        // descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                control(0, 0)?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let keyboard = File::from(user);
        let screen = Stream::collect(Some(keyboard.try_clone().expect("duplicating a descriptor")));
        Terminal { child, keyboard, line, screen, seen: 0 }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typing");
    }

    /// Waits until a text is on the screen, after the text of the last wait.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let from = self.seen;
        let mut end = 0;
        let found = self.screen.wait(Instant::now() + DEADLINE, |bytes| {
            let at = bytes[from..].windows(text.len()).position(|w| w == text.as_bytes());
            end = at.map_or(0, |at| from + at + text.len());
            at.is_some()
        });
        assert!(found, "waited for {text:?} on the terminal; it shows:\n{}", show(&self.screen.so_far()));
        self.seen = end;
    }

    /// Everything that was ever on the screen.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.so_far()).into_owned()
    }

    /// Whether a text was ever on the screen.
    pub fn shows(&self, text: &str) -> bool {
        contains(&self.screen.so_far(), text.as_bytes())
    }

    /// Changes the window's size; the kernel tells the program.
    pub fn resize(&self, rows: u16, cols: u16) {
        // SAFETY: the descriptor is open, and the kernel only reads the structure.
        unsafe { set_size(self.keyboard.as_raw_fd(), &size(rows, cols)) }.expect("setting the window size");
    }

    /// The terminal's settings.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.line).expect("reading the terminal's settings")
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill(pid_of(&self.child), signal).expect("kill");
    }

    /// Waits for the program's end and gives its exit status (128+n for a signal).
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        match wait(&mut self.child, Instant::now() + DEADLINE) {
            Some(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            None => panic!("the program at the terminal does not end; it shows:\n{}", self.screen()),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_at_the_terminal() {
        let mut command = Command::new("sh");
        command.args(["-c", "stty size; read line; echo got $line; exit 5"]);
        let mut terminal = Terminal::spawn(command, 33, 99);
        terminal.expect("33 99");
        terminal.send("words\n");
        terminal.expect("got words");
        assert_eq!(terminal.finish(), 5);
        assert!(!terminal.shows("other"));
    }
}

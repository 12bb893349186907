//! Progress of a long command, in stages, on stderr: a bar per stage on a terminal, a line per stage
//! elsewhere, or nothing.

use std::{
    io::{IsTerminal, stderr},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{boot::BootProgress, image};

/// How long a stage took.
#[derive(Clone, Debug, Serialize)]
pub struct StageTime {
    /// The stage.
    pub stage: String,
    /// Milliseconds of wall-clock time.
    pub ms: u64,
}

enum Mode {
    Quiet,
    Lines,
    Bars,
}

/// See the module's documentation.
pub struct Stages {
    mode: Mode,
    current: Option<(String, Instant)>,
    bar: Option<ProgressBar>,
    note: String,
    done: Vec<StageTime>,
}

impl Stages {
    /// Starts without a stage.
    pub fn new(quiet: bool) -> Self {
        let mode = match (quiet, stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        };
        Stages { mode, current: None, bar: None, note: String::new(), done: Vec::new() }
    }

    /// Ends the current stage and begins another, of `total` bytes if that is known.
    pub fn begin(&mut self, name: &str, total: Option<u64>) {
        let template = match total {
            Some(_) => "{msg:32} {bar:30} {bytes}/{total_bytes}",
            None => "{msg:32} {spinner} {elapsed}",
        };
        self.begin_with(name, total, template);
    }

    /// Ends the current stage and begins another, whose progress is [`set`](Self::set) in percent.
    pub fn begin_share(&mut self, name: &str) {
        self.begin_with(name, Some(100), "{msg:32} {bar:30} {percent} %");
    }

    fn begin_with(&mut self, name: &str, total: Option<u64>, template: &str) {
        self.end();
        self.current = Some((name.to_string(), Instant::now()));
        if let Mode::Bars = self.mode {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            // The template is constant: an error would show in the first test on a terminal.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(name.to_string());
            if total.is_none() {
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
            }
            self.bar = Some(bar);
        }
    }

    /// Text to add to the current stage's line when it ends.
    pub fn note(&mut self, text: String) {
        self.note = text;
    }

    /// Ends the current stage.
    pub fn end(&mut self) {
        let Some((stage, start)) = self.current.take() else { return };
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let ms = start.elapsed().as_millis() as u64;
        let note = std::mem::take(&mut self.note);
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        match self.mode {
            Mode::Quiet => {}
            Mode::Lines | Mode::Bars => {
                eprintln!("forelift: {stage}: {}.{:03} s{note}", ms / 1000, ms % 1000)
            }
        }
        self.done.push(StageTime { stage, ms });
    }

    /// Prints a warning without disturbing the bar.
    pub fn warn(&self, text: &str) {
        let print = || eprintln!("forelift: warning: {text}");
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// As [`warn`](Self::warn), but not when quiet.
    pub fn remark(&self, text: &str) {
        if !matches!(self.mode, Mode::Quiet) {
            self.warn(text);
        }
    }

    /// Sets how many bytes (or percent) of the stage are done. It never goes back: threads may report out of
    /// order.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.max(bar.position()));
        }
    }

    /// Adds to the bytes of the stage that are done.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// All stages that have ended.
    pub fn times(&self) -> &[StageTime] {
        &self.done
    }
}

impl image::Progress for Stages {
    fn stage(&mut self, name: &str, total: Option<u64>) {
        self.begin(name, total);
    }

    fn advance(&mut self, bytes: u64) {
        self.add(bytes);
    }
}

impl BootProgress for Stages {
    fn instructions(&mut self, count: u64) {
        if let (Some(bar), Some((stage, _))) = (&self.bar, &self.current) {
            bar.set_message(format!("{stage}: {} M instructions", count / 1_000_000));
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        // A failed stage leaves no bar on the screen; the error follows.
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

//! The supervisor binary interface (RISC-V SBI 2.0), served by the runtime: base, timer, IPI, remote fence,
//! system reset, debug console. One hart, so IPIs and remote fences concern the caller itself.

use super::fields::SSIP;
use super::{Context, Exit};

const SUCCESS: i64 = 0;
const FAILED: i64 = -1;
const NOT_SUPPORTED: i64 = -2;
const INVALID_PARAM: i64 = -3;
const INVALID_ADDRESS: i64 = -5;

const BASE: u64 = 0x10;
const TIMER: u64 = 0x5449_4d45;
const IPI: u64 = 0x73_5049;
const RFENCE: u64 = 0x5246_4e43;
const RESET: u64 = 0x5352_5354;
const CONSOLE: u64 = 0x4442_434e;

/// Longest debug-console write taken at once, in bytes; the guest is told how much was taken.
const CONSOLE_CHUNK: u64 = 4096;

/// Serves the call in `a7` (extension) and `a6` (function); the result goes to `a0` (error) and `a1` (value).
pub(crate) fn call(cx: &mut Context<'_>) -> Option<Exit> {
    let x = &cx.hart.x;
    let (extension, function) = (x[17], x[16]);
    let arguments = [x[10], x[11], x[12], x[13], x[14]];
    let (error, value) = match (extension, function) {
        (BASE, 0) => (SUCCESS, 0x0200_0000), // specification 2.0
        (BASE, 1) => (SUCCESS, 0x464c),      // implementation id: none registered
        (BASE, 2) => (SUCCESS, 1),
        (BASE, 3) => (SUCCESS, known(arguments[0])),
        (BASE, 4..=6) => (SUCCESS, 0),
        (TIMER, 0) => {
            cx.hart.stimecmp = arguments[0];
            let now = cx.bus.time(cx.hart.instret);
            cx.hart.update_timer(now);
            (SUCCESS, 0)
        }
        (IPI, 0) => match hart_mask(arguments[0], arguments[1]) {
            Ok(hits) => {
                if hits {
                    cx.hart.sip |= SSIP;
                }
                (SUCCESS, 0)
            }
            Err(e) => (e, 0),
        },
        (RFENCE, 0..=2) => match hart_mask(arguments[0], arguments[1]) {
            Ok(hits) => {
                if hits && function != 0 {
                    cx.hart.flush_tlb();
                }
                (SUCCESS, 0)
            }
            Err(e) => (e, 0),
        },
        (RESET, 0) if arguments[0] <= 2 && arguments[1] <= 1 => {
            return Some(Exit::Shutdown { reset: arguments[0] != 0, failed: arguments[1] != 0 });
        }
        (RESET, 0) => (INVALID_PARAM, 0),
        (CONSOLE, 0) => console_write(cx, arguments),
        (CONSOLE, 1) => (SUCCESS, 0),
        (CONSOLE, 2) => {
            cx.bus.debug_byte(arguments[0] as u8);
            (SUCCESS, 0)
        }
        _ => (NOT_SUPPORTED, 0),
    };
    cx.hart.x[10] = error as u64;
    cx.hart.x[11] = value;
    None
}

fn known(extension: u64) -> u64 {
    u64::from(matches!(extension, BASE | TIMER | IPI | RFENCE | RESET | CONSOLE))
}

/// Whether the mask names hart 0 (SBI 2.0, section 3.1).
fn hart_mask(mask: u64, base: u64) -> Result<bool, i64> {
    match base {
        u64::MAX => Ok(true),
        0 if mask & !1 == 0 => Ok(mask & 1 != 0),
        _ if mask == 0 => Ok(false),
        _ => Err(INVALID_PARAM),
    }
}

fn console_write(cx: &mut Context<'_>, [len, low, high, ..]: [u64; 5]) -> (i64, u64) {
    if high != 0 {
        return (INVALID_ADDRESS, 0);
    }
    let len = len.min(CONSOLE_CHUNK);
    match cx.mem.slice(low, len as usize) {
        Some(bytes) => {
            for &byte in bytes {
                cx.bus.debug_byte(byte);
            }
            (SUCCESS, len)
        }
        None if len == 0 => (SUCCESS, 0),
        None => (FAILED, 0),
    }
}

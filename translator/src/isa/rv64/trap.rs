//! System calls and returns from traps: helpers of the runtime.

use crate::lift::Frame;
use crate::region::Block;
use cranelift_codegen::ir::InstBuilder;
use forelift_abi::lift::rv64::Helper;

/// The system call at `at`: a call of its handler. Whatever changes a translation meanwhile leaves all
/// frames, as in any call.
pub(super) fn ecall(f: &mut Frame<'_>, block: &Block, at: i32) {
    f.flush();
    f.count_down();
    f.store_left();
    let (pc, depth) = (f.pc(at), f.depth());
    let next = f.call_helper(Helper::Ecall.number(), &[pc, depth]);
    let (on, gone) = (f.b.create_block(), f.b.create_block());
    f.b.ins().brif(next, gone, &[], on, &[]);
    f.b.switch_to_block(gone);
    f.b.ins().return_(&[next]);
    f.b.switch_to_block(on);
    let address = block.end_address;
    f.take_over(address);
    f.go(block, address);
}

pub(super) fn sret(f: &mut Frame<'_>) {
    f.retire();
    f.flush();
    f.count_down();
    f.store_left();
    let next = f.call_helper(Helper::Sret.number(), &[]);
    f.b.ins().return_(&[next]);
}

//! Operands for each operation.

use super::guest::Op;
use crate::values::*;

/// Operands of an operation.
pub(crate) fn operands(random: &mut Random, op: Op, shape: Shape) -> [u64; 3] {
    if op.takes_integer() {
        return [integer(random), 0, 0];
    }
    let a = operand(random, shape);
    let independent = random.below(3) == 0;
    match op {
        _ if independent => [a, operand(random, shape), operand(random, shape)],
        Op::Mul => [a, partner_in_product(random, shape, a), 0],
        Op::Div => dividend_and_divisor(random, shape),
        Op::Sqrt => [square(random, shape), 0, 0],
        Op::Fma if random.below(3) == 0 => nearly_half_way(random, shape),
        Op::Fma => {
            let b = partner_in_product(random, shape, a);
            [a, b, addend(random, shape, a, b)]
        }
        Op::ToI32 | Op::ToU32 | Op::ToI64 | Op::ToU64 => {
            [near_integer_bound(random, shape) ^ random.next() & shape.sign(), 0, 0]
        }
        Op::Convert if shape.width == 64 => [near_single(random), 0, 0],
        _ => [a, partner_in_sum(random, shape, a), 0],
    }
}

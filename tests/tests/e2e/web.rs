//! The npm package of `runtime/web` on Node, in steps: cases of other groups, which say what they are about.

use crate::{basic, signals, start, status, streams, terminal};
use forelift_tests::{
    hosts::Host,
    table::{Check, Group},
};

const WEB: [Host; 1] = [Host::Web];

pub(crate) const CASES: Group = &[
    ("hello", Check::Everywhere(&WEB, basic::hello)),
    ("arguments_arrive_unchanged", Check::On(&WEB, basic::arguments_arrive_unchanged)),
    ("entrypoint_and_cmd", Check::On(&WEB, basic::entrypoint_and_cmd)),
    ("help", Check::On(&WEB, basic::help)),
    ("debian", Check::Everywhere(&WEB, basic::debian)),
    ("python", Check::On(&WEB, basic::python)),
    ("pipelines", Check::On(&WEB, basic::pipelines)),
    ("apart", Check::On(&WEB, streams::apart)),
    ("both_full", Check::Everywhere(&WEB, streams::both_full)),
    ("control_characters", Check::On(&WEB, streams::control_characters)),
    ("random_bytes_through", Check::On(&WEB, streams::random_bytes_through)),
    ("end_of_input", Check::On(&WEB, streams::end_of_input)),
    ("no_stdin", Check::On(&WEB, streams::no_stdin)),
    ("conversation", Check::On(&WEB, streams::conversation)),
    ("input_in_pieces", Check::On(&WEB, streams::input_in_pieces)),
    ("unread_input", Check::On(&WEB, streams::unread_input)),
    ("closed_input", Check::On(&WEB, streams::closed_input)),
    ("reader_leaves", Check::On(&WEB, streams::reader_leaves)),
    ("slow_reader", Check::On(&WEB, streams::slow_reader)),
    ("dev_null_as_streams", Check::On(&WEB, streams::dev_null_as_streams)),
    ("output_comes_at_once", Check::On(&WEB, streams::output_comes_at_once)),
    ("some", Check::On(&WEB, status::some)),
    ("above_125", Check::On(&WEB, status::above_125)),
    ("signals_of_children", Check::On(&WEB, status::signals_of_children)),
    ("not_found", Check::On(&WEB, status::not_found)),
    ("unknown_option_of_the_image", Check::On(&WEB, status::unknown_option_of_the_image)),
    ("entropy_is_fresh", Check::On(&WEB, start::entropy_is_fresh)),
    ("wall_clock_is_right", Check::On(&WEB, start::wall_clock_is_right)),
    ("sleep_takes_its_time", Check::On(&WEB, start::sleep_takes_its_time)),
    (
        "busy_clock_runs_at_the_right_speed",
        Check::Everywhere(&WEB, start::busy_clock_runs_at_the_right_speed),
    ),
    ("timers", Check::On(&WEB, start::timers)),
    ("idle_shell_uses_no_cpu", Check::On(&WEB, start::idle_shell_uses_no_cpu)),
    ("idle_sleep_uses_no_cpu", Check::On(&WEB, start::idle_sleep_uses_no_cpu)),
    ("reach_a_trap", Check::On(&WEB, signals::reach_a_trap)),
    ("end_a_command_that_handles_them_not", Check::On(&WEB, signals::end_a_command_that_handles_them_not)),
    ("python_keyboard_interrupt", Check::On(&WEB, signals::python_keyboard_interrupt)),
    ("shell_at_a_prompt", Check::On(&WEB, terminal::shell_at_a_prompt)),
    ("is_a_terminal", Check::On(&WEB, terminal::is_a_terminal)),
    ("has_the_right_size", Check::On(&WEB, terminal::has_the_right_size)),
    ("resizing_is_signalled", Check::On(&WEB, terminal::resizing_is_signalled)),
    ("ctrl_c", Check::On(&WEB, terminal::ctrl_c)),
    ("line_editing", Check::On(&WEB, terminal::line_editing)),
    ("much_output", Check::On(&WEB, terminal::much_output)),
];

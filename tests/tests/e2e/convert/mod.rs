//! `forelift convert` and its siblings: every kind of input, equal output, and what comes out runs.

mod options;
mod report;
mod reproducible;
mod small_images;
mod sources;
mod web;

use forelift_tests::{
    hosts::Host,
    table::{Check, Group},
};

pub(crate) const CASES: Group = &[
    ("every_transport", Check::Once(sources::every_transport)),
    ("every_compression", Check::Once(sources::every_compression)),
    ("bare_paths", Check::Once(sources::bare_paths)),
    ("registry", Check::Once(sources::registry)),
    ("registry_platforms", Check::Once(sources::registry_platforms)),
    ("registry_refusals", Check::Once(sources::registry_refusals)),
    ("tags", Check::Once(sources::tags)),
    ("same_input_same_bytes", Check::Once(reproducible::same_input_same_bytes)),
    ("same_content_same_bytes", Check::Once(reproducible::same_content_same_bytes)),
    ("a_cache_changes_nothing", Check::Once(reproducible::a_cache_changes_nothing)),
    ("without_snapshot", Check::Everywhere(&Host::ALL, options::without_snapshot)),
    ("plain_module", Check::On(&[Host::Wasm], options::plain_module)),
    ("memory_option", Check::Once(options::memory_option)),
    ("append_option", Check::Once(options::append_option)),
    ("kernel_option", Check::Once(options::kernel_option)),
    ("json_report", Check::Once(report::json_report)),
    ("inspect", Check::Once(report::inspect)),
    ("names_of_lifted_functions", Check::Once(report::names_of_lifted_functions)),
    ("compile", Check::Once(options::compile)),
    ("default_output_name", Check::Once(options::default_output_name)),
    ("rootfs_is_sound", Check::Once(options::rootfs_is_sound)),
    ("image_without_command", Check::Once(small_images::image_without_command)),
    ("image_without_passwd", Check::Once(small_images::image_without_passwd)),
    ("image_without_standard_directories", Check::Once(small_images::image_without_standard_directories)),
    ("files_that_docker_adds", Check::Once(small_images::files_that_docker_adds)),
    ("image_of_one_static_program", Check::Once(small_images::image_of_one_static_program)),
    ("size_of_the_output", Check::Once(report::size_of_the_output)),
    ("progress_is_quiet_when_asked", Check::Once(options::progress_is_quiet_when_asked)),
    ("web_directory", Check::Everywhere(&[Host::Web], web::web_directory)),
    ("web_directory_is_reproducible", Check::Once(web::web_directory_is_reproducible)),
    ("web_refusals", Check::Once(web::web_refusals)),
    ("web_code_alone", Check::Once(web::web_code_alone)),
];

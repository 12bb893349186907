//! The command `forelift`.

fn main() -> std::process::ExitCode {
    forelift::cli::main()
}

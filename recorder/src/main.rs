//! The recorder's binary; see the library.

fn main() -> std::process::ExitCode {
    recorder::cli::main()
}

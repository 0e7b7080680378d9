//! Arguments to `cli`, its exit code back.

fn main() -> std::process::ExitCode {
    coracle::cli::main(std::env::args_os())
}

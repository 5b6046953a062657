//! `clos`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread: a command asks a question and prints the answer.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "error: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let context = clos_cli::Context::of_the_process();
        clos_cli::run(std::env::args_os().collect(), &context).await
    });
    // What still blocks (a read of standard input) shall not hold the process back.
    runtime.shutdown_background();
    ExitCode::from(code)
}

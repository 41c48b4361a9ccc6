//! The command line. Exit codes: 0 done, 2 bad usage or configuration, 1 failure at run time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::shutdown::{Signals, Wish};

use crate::Config;

/// Records rooms of a turn-server as WebM and stores the files.
#[derive(Debug, Parser)]
#[command(version, name = "recorder")]
struct Args {
    /// The configuration; without it, defaults and the environment (TERN__SECTION__KEY).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Finish and store what a crash left in the spool, then end.
    Recover,
    /// Check the configuration, then end.
    Check,
}

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    // clap ends the process itself with 2 on bad usage.
    let args = Args::parse();
    let config = match load(&args) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    if matches!(args.command, Some(Command::Check)) {
        println!("the configuration is good");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = service::log::start(&config.log) {
        return fail(2, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let done = runtime.block_on(async {
        match args.command {
            Some(Command::Recover) => recover(config).await,
            _ => serve(config).await,
        }
    });
    // A blocked disk must not keep a process that was told to end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn load(args: &Args) -> Result<Config, service::config::ConfigError> {
    let mut loaded = service::config::load::<Config>(args.config.as_deref(), std::env::vars())?;
    loaded.config.check(&loaded.origin)?;
    Ok(loaded.config)
}

async fn serve(config: Config) -> Result<(), crate::Error> {
    let mut signals = Signals::listen().map_err(|why| crate::Error::Io { what: "signals".into(), why })?;
    let running = crate::start(config).await?;
    let stop = running.shutdown.clone();
    let mut ended = std::pin::pin!(running.wait());
    loop {
        let wish = tokio::select! {
            wish = signals.next() => wish,
            done = &mut ended => return done,
        };
        match wish {
            // A second time: now. The spool keeps what is left.
            Wish::Stop if stop.is_cancelled() => {
                tracing::warn!("stopping at once");
                return Ok(());
            }
            Wish::Stop => stop.cancel(),
            Wish::Reload => tracing::info!("nothing to reload: the recorder reads its configuration at start"),
        }
    }
}

async fn recover(config: Config) -> Result<(), crate::Error> {
    let segments = crate::recover(config).await?;
    if segments.is_empty() {
        println!("the spool is empty");
    }
    for segment in segments {
        println!("{} {}: stored", segment.recording, segment.room);
        for file in &segment.files {
            println!("  {}  {} bytes  {} ms", file.name, file.size, file.end_ms - file.start_ms.min(file.end_ms));
        }
    }
    Ok(())
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("recorder: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}

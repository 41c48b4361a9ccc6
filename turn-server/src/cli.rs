//! The command line: `turn-server [--config F | --coturn F] [--dev]` runs, subcommands check and mint.
//!
//! Exit codes: 0 done, 2 bad usage or configuration, 1 failure at run time.

mod check;
mod coturn;
mod doctor;
mod mint;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::config::{ConfigError, Loaded};

use crate::config::Config;
use crate::{init, ready};

/// STUN/TURN relay, rooms, SFU, signalling and REST API in one program.
#[derive(Debug, Parser)]
#[command(name = "turn-server", version, args_conflicts_with_subcommands = false)]
struct Cli {
    #[command(flatten)]
    from: From,
    #[command(subcommand)]
    command: Option<Verb>,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct From {
    /// The configuration file; without one: the defaults and the environment (TERN__SECTION__KEY).
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The configuration of a coturn: run its relay, and nothing else.
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["config", "dev"])]
    coturn: Option<PathBuf>,
    /// For development: this machine only, guests may everything, secrets are made and kept in state_dir.
    #[arg(long, global = true)]
    dev: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check the configuration and say what it means.
    Check,
    /// Ask every part of a running server from outside and say what is wrong.
    Doctor(doctor::Args),
    /// Mint relay credentials.
    Credentials(mint::CredentialsArgs),
    /// Sign a room token.
    Token(mint::TokenArgs),
    /// Say whether the relay would talk to a peer, and which rule decides.
    CheckPeer(check::PeerArgs),
    /// Print a coturn configuration as one of ours, with a comment for each option that is ignored or refused.
    ImportCoturn(coturn::Args),
    /// Make the secrets, and garage's bucket, before the first start.
    Init(init::Args),
    /// Ask a running server or recorder whether it can work.
    Ready(ready::Args),
}

/// Why a command ends without success.
enum Failure {
    /// Usage or configuration.
    Usage(String),
    /// At run time.
    Run(String),
}

impl std::convert::From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From {
    fn load(&self) -> Result<Loaded<Config>, Failure> {
        if let Some(file) = &self.coturn {
            let loaded = coturn::load(file)?;
            loaded.config.check(&loaded.origin)?;
            return Ok(loaded);
        }
        let mut loaded: Loaded<Config> = service::config::load(self.config.as_deref(), std::env::vars())?;
        if self.dev {
            loaded.config = loaded.config.for_development().map_err(Failure::Usage)?;
        }
        loaded.config.check(&loaded.origin)?;
        Ok(loaded)
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::Run(format!("the runtime cannot start: {error}"))),
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    let (code, text) = match failure {
        Failure::Usage(text) => (2, text),
        Failure::Run(text) => (1, text),
    };
    eprintln!("turn-server: {text}");
    ExitCode::from(code)
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => run::run(&cli.from).await,
        Some(Verb::Check) => {
            check::check(&cli.from.load()?.config)?;
            cli.from.coturn.as_deref().map_or(Ok(()), coturn::differences)
        }
        Some(Verb::Doctor(args)) => doctor::doctor(&cli.from.load()?.config, &args).await,
        Some(Verb::Credentials(args)) => mint::credentials(&cli.from.load()?, &args),
        Some(Verb::Token(args)) => mint::token(&cli.from.load()?, &args),
        Some(Verb::CheckPeer(args)) => check::peer(&cli.from.load()?.config, &args),
        Some(Verb::ImportCoturn(args)) => coturn::print(&args),
        Some(Verb::Init(args)) => {
            for line in init::run(&args).await.map_err(|error| Failure::Run(error.to_string()))? {
                println!("{line}");
            }
            Ok(())
        }
        Some(Verb::Ready(args)) => ready::run(&args).await.map_err(Failure::Run),
    }
}

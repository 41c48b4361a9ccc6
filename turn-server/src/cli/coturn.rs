//! `--coturn FILE` and `import-coturn FILE`: reading the file, and asking the system what the import must know.

use std::path::{Path, PathBuf};

use service::config::Loaded;

use super::Failure;
use crate::config::Config;
use crate::coturn::{Host, Import, import};

/// `import-coturn FILE`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration of a coturn, such as /etc/turnserver.conf.
    file: PathBuf,
}

/// The configuration of `--coturn FILE` with the environment over it.
pub(super) fn load(file: &Path) -> Result<Loaded<Config>, Failure> {
    let imported = read(file)?;
    refuse(file, &imported)?;
    Ok(service::config::load_foreign(imported.config, file, std::env::vars())?)
}

/// What `check` says beside the rest: each difference from coturn.
pub(super) fn differences(file: &Path) -> Result<(), Failure> {
    for remark in read(file)?.remarks {
        println!("coturn     {remark}");
    }
    Ok(())
}

/// Says the same in the log: what the file asks for and does not get. What differs always is in the documents.
pub(super) fn warn(file: &Path) -> Result<(), Failure> {
    for remark in read(file)?.remarks.iter().filter(|remark| remark.line.is_some()) {
        tracing::warn!(%remark, "not as coturn does");
    }
    Ok(())
}

/// Prints the TOML. What is refused is named in it, and makes the command fail.
pub(super) fn print(args: &Args) -> Result<(), Failure> {
    let imported = read(&args.file)?;
    print!("{}", imported.to_toml());
    refuse(&args.file, &imported)
}

fn read(file: &Path) -> Result<Import, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", file.display())))?;
    Ok(import(&text, &host()))
}

/// All refusals at once, so that one run is enough to mend the file.
fn refuse(file: &Path, imported: &Import) -> Result<(), Failure> {
    let refusals: Vec<_> = imported.refusals().map(|remark| format!("\n  {remark}")).collect();
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!("{}: not taken over:{}", file.display(), refusals.concat())))
}

fn host() -> Host {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    Host {
        addresses: interfaces.iter().map(if_addrs::Interface::ip).collect(),
        root: rustix::process::geteuid().is_root(),
    }
}

//! `turn-server init`: what must exist before the first start, and never changes after: secrets, and garage's bucket.
//!
//! Both steps may run again at every start: what is there stays. `docker-compose.yml` runs them as one-shot services,
//! `make run` only the first. Nothing here reads the server's configuration.

mod garage;
mod secrets;

use std::path::PathBuf;

/// The arguments of `turn-server init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the secrets; made if it does not exist.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Also make the secrets of the object storage that docker-compose.yml starts.
    #[arg(long)]
    pub storage: bool,
    /// The admin address of a running garage that shall get our key and the bucket, such as http://garage:3903.
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub garage: Option<String>,
    /// The bucket's name.
    #[arg(long, value_name = "NAME", requires = "garage")]
    pub bucket: Option<String>,
}

/// Why the preparation did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A secret can neither be read nor written.
    #[error("{path}: {why}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// Garage's admin API does not answer, or not over HTTP.
    #[error(transparent)]
    Http(#[from] crate::plain_http::HttpError),
    /// Garage's admin API refuses.
    #[error("garage: {verb}: {status}: {body}")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// HTTP status.
        status: u16,
        /// Its explanation.
        body: String,
    },
}

/// Does what is asked and says in one line a thing what it did.
///
/// # Errors
/// [`InitError`]; running it again goes on where it failed.
pub async fn run(args: &Args) -> Result<Vec<String>, InitError> {
    let mut done = secrets::make(&args.dir, args.storage || args.garage.is_some())?;
    if let (Some(url), Some(bucket)) = (&args.garage, &args.bucket) {
        done.extend(garage::prepare(url, bucket, &args.dir).await?);
    }
    Ok(done)
}

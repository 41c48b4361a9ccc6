//! Running: start, obey signals, drain.

use std::time::Duration;

use service::log::LogHandle;
use service::shutdown::{Signals, Wish};

use super::{Failure, From};
use crate::{Order, Running, StartError};

/// How long draining may take. Compose and systemd kill after 30 to 90 s.
const DRAIN: Duration = Duration::from_secs(20);

pub(super) async fn run(from: &From) -> Result<(), Failure> {
    let loaded = from.load()?;
    let log = service::log::start(&loaded.config.log)
        .map_err(|why| Failure::from(loaded.origin.meaning("log.level", why)))?;
    if let Some(file) = &from.coturn {
        super::coturn::warn(file)?;
    }
    let mut signals = Signals::listen().map_err(|error| Failure::Run(format!("signals: {error}")))?;
    let mut running = crate::start(loaded.config).await.map_err(|error| match error {
        StartError::Config(error) => Failure::from(error),
        StartError::Bind(why) => Failure::Run(why),
    })?;
    welcome(&running, from.dev);
    let mut orders = running.orders().expect("nobody else has taken them");
    loop {
        tokio::select! {
            why = running.wait() => return Err(Failure::Run(why)),
            wish = signals.next() => match wish {
                Wish::Reload => drop(reload(from, &running, log.as_ref())),
                Wish::Stop => break,
            },
            // The server keeps the other end.
            Some(order) = orders.recv() => match order {
                // Who asked may be gone.
                Order::Reload(reply) => drop(reply.send(reload(from, &running, log.as_ref()))),
                Order::Stop => break,
            },
        }
    }
    tracing::info!("draining; a second signal ends at once");
    tokio::select! {
        () = running.drain(DRAIN) => {}
        () = async { while signals.next().await != Wish::Stop {} } => {}
    }
    Ok(())
}

fn reload(from: &From, running: &Running, log: Option<&LogHandle>) -> Result<Vec<String>, String> {
    let outcome = read_again(from, running, log);
    match &outcome {
        Ok(waiting) if waiting.is_empty() => tracing::info!("configuration reloaded"),
        Ok(waiting) => tracing::warn!(?waiting, "configuration reloaded; some keys wait for the next start"),
        Err(why) => tracing::error!(why, "the new configuration is refused; the old one stays"),
    }
    outcome
}

fn read_again(from: &From, running: &Running, log: Option<&LogHandle>) -> Result<Vec<String>, String> {
    let loaded = from.load().map_err(|(Failure::Usage(why) | Failure::Run(why))| why)?;
    let waiting = running.reload(&loaded.config, &loaded.origin).map_err(|error| error.to_string())?;
    log.map_or(Ok(()), |log| log.follow(&loaded.config.log))?;
    Ok(waiting)
}

fn welcome(running: &Running, dev: bool) {
    let addresses = running.addresses();
    if let Some(http) = addresses.http {
        tracing::info!("page and API at http://{http}");
    }
    if let Some(https) = addresses.https {
        tracing::info!("page and API at https://{https}");
    }
    if dev {
        tracing::warn!("--dev: guests may moderate and record; this machine only");
    }
}

//! `recorder-cost [RECORDINGS] [SECONDS] [LOSS_PERCENT]`: what a recording costs, everything included: receiving, SRTP,
//! resends of what was lost, muxing, the spool. The recorder is kept on core 0; the server, the participants and this
//! program share core 1. Of more than [`ONE_CORE`] recordings that is too much for one core: then they may also use what the
//! recorder leaves of its own, which goes first there. Needs root: the network is a namespace of its own, where the firewall
//! loses packets.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use signalling::message::Source;
use tests::bot::Feed;
use tests::crowd::Crowd;
use tests::media_check;
use tests::media_source::{Sound, Video};
use tests::netns::Namespace;
use tests::recording::{Stand, Storage};

/// 640x360 at 30 frames a second; with the sound about 850 kbit/s.
const KILOBITS: u32 = 800;
/// So many participants can be served and played from one core.
const ONE_CORE: usize = 150;
/// How long everything runs before it is measured.
const SETTLE: Duration = Duration::from_secs(10);
/// The kernel's unit of CPU time.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a recording may take to begin.
const MAX_START: Duration = Duration::from_millis(300);
/// What a recording may add to the recorder's memory.
const MAX_GROWTH: f64 = (1 << 20) as f64;

fn arguments() -> Option<(usize, u64, f64)> {
    let mut arguments = std::env::args().skip(1);
    let recordings = arguments.next().map_or(Some(300), |text| text.parse().ok())?;
    let seconds = arguments.next().map_or(Some(60), |text| text.parse().ok())?;
    let loss = arguments.next().map_or(Some(1.0), |text| text.parse().ok())?;
    Some((recordings, seconds, loss))
}

fn main() -> ExitCode {
    let Some((recordings, seconds, loss)) = arguments() else {
        eprintln!("usage: recorder-cost [RECORDINGS] [SECONDS] [LOSS_PERCENT]");
        return ExitCode::FAILURE;
    };
    // Before any thread is made: they inherit both.
    let _network = Namespace::new();
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(1);
    if recordings > ONE_CORE {
        cores.set(0);
    }
    rustix::thread::sched_setaffinity(None, &cores).expect("this machine has two cores");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(measure(recordings, Duration::from_secs(seconds), loss)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("recorder-cost: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The recorder's process.
struct Recorder(Child);

impl Recorder {
    fn start(stand: &Stand) -> io::Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("recorder");
        let mut command = Command::new("nice");
        command
            .env("TERN__LOG__LEVEL", "warn")
            .args(["-n", "-10", "taskset", "-c", "0"])
            .arg(binary)
            .arg("--config")
            .arg(stand.recorder_file("a")?);
        Ok(Self(command.stdin(Stdio::null()).spawn()?))
    }

    /// CPU time so far, in user mode and in the kernel.
    fn cpu(&self) -> io::Result<(Duration, Duration)> {
        cpu(&format!("/proc/{}/stat", self.0.id()))
    }

    fn resident(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0).ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cpu(stat: &str) -> io::Result<(Duration, Duration)> {
    let stat = fs::read_to_string(stat)?;
    // The second field is the program's name in brackets, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => {
            Ok((Duration::from_secs_f64(user / TICKS_PER_SECOND), Duration::from_secs_f64(system / TICKS_PER_SECOND)))
        }
        _ => Err(io::Error::other("no CPU times")),
    }
}

/// Datagrams that the kernel dropped because the buffer of a socket was full: those of a process's sockets, and all others in
/// this network.
fn dropped(process: u32) -> io::Result<[u64; 2]> {
    let mut own = BTreeSet::new();
    for descriptor in fs::read_dir(format!("/proc/{process}/fd"))? {
        // It may be closed meanwhile.
        let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
        let socket = target.to_string_lossy();
        own.extend(socket.strip_prefix("socket:[").and_then(|inode| Some(inode.strip_suffix(']')?.to_owned())));
    }
    let mut dropped = [0; 2];
    for sockets in ["udp", "udp6"] {
        let sockets = fs::read_to_string(format!("/proc/thread-self/net/{sockets}"))?;
        for socket in sockets.lines().skip(1) {
            let fields: Vec<&str> = socket.split_whitespace().collect();
            let (Some(inode), Some(drops)) = (fields.get(9), fields.last()) else { continue };
            let whose = usize::from(!own.contains(*inode));
            dropped[whose] += drops.parse::<u64>().map_err(io::Error::other)?;
        }
    }
    Ok(dropped)
}

/// From now on so many of the server's media packets are lost on their way in.
fn lose(port: u16, percent: f64) -> io::Result<()> {
    let of_ten_thousand = (percent * 100.0).round();
    let chain = "type filter hook input priority 0;";
    let rule = format!("udp sport {port} numgen random mod 10000 < {of_ten_thousand} drop;");
    let rules = format!("table ip loss {{ chain in {{ {chain} {rule} }}; }}");
    let status = Command::new("nft").arg(rules).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("nft refuses")) }
}

async fn measure(recordings: usize, time: Duration, loss: f64) -> io::Result<bool> {
    let video = Video { seconds: 8.0, kilobits: KILOBITS, ..Video::default() }.vp8()?;
    let sound = Sound::Tone.opus(8.0)?;
    let bits = |media: &[tests::media_source::Encoded]| media.iter().map(|e| e.data.len()).sum::<usize>() as f64;
    println!("media: {:.0} kbit/s a participant", (bits(&video) + bits(&sound)) / 1000.0);
    let stand = Stand::start(Storage::Disk).await?;
    let recorder = Recorder::start(&stand)?;
    let mut crowd = Crowd::new();
    for n in 0..recordings {
        let feeds = vec![
            Feed { source: Source::Mic, media: sound.clone() },
            Feed { source: Source::Camera, media: video.clone() },
        ];
        crowd.join(stand.address(), &format!("cost{n}"), feeds).await?;
    }
    println!("{recordings} participants publish, each in a room of its own");
    // The first recording pays for what every process has once.
    let mut ids = vec![stand.record("cost0").await?];
    stand.wait(&ids[0], &["recording"]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = recorder.resident()?;
    let mut starts = Vec::new();
    for n in 1..recordings {
        let asked = Instant::now();
        let id = stand.record(&format!("cost{n}")).await?;
        stand.wait(&id, &["recording"]).await?;
        starts.push(asked.elapsed());
        ids.push(id);
    }
    starts.sort();
    let quick = starts.last().is_none_or(|worst| *worst <= MAX_START);
    if let (Some(median), Some(worst)) = (starts.get(starts.len() / 2), starts.last()) {
        println!("start: {median:?} (median), {worst:?} (worst) from the request to the state `recording`");
    }
    lose(stand.media().port(), loss)?;
    tokio::time::sleep(SETTLE).await;
    let (cpu_before, own_before, dropped_before, began) =
        (recorder.cpu()?, cpu("/proc/self/stat")?, dropped(recorder.0.id())?, Instant::now());
    tokio::time::sleep(time).await;
    let (cpu_after, own_after, took) = (recorder.cpu()?, cpu("/proc/self/stat")?, began.elapsed().as_secs_f64());
    let growth = (recorder.resident()? - before) / recordings.max(2).saturating_sub(1) as f64;
    let share = |before: Duration, after: Duration| (after - before).as_secs_f64() / took * 100.0;
    let (user, system) = (share(cpu_before.0, cpu_after.0), share(cpu_before.1, cpu_after.1));
    let others = share(own_before.0, own_after.0) + share(own_before.1, own_after.1);
    let dropped = dropped(recorder.0.id())?;
    let [drops, others_drops] = [0, 1].map(|whose| dropped[whose] - dropped_before[whose]);
    println!("recorder: {:.1} % of a core over {took:.0} s ({user:.1} user, {system:.1} system)", user + system);
    println!("per core: {:.0} recordings at this rate", recordings as f64 * 100.0 / (user + system));
    println!("memory: {:.0} KiB a recording", growth / 1024.0);
    println!("datagrams dropped for full buffers: {drops}");
    println!("server and participants: {others:.1} % of a core, {others_drops} dropped");
    let files = finish(&stand, &ids).await?;
    drop(crowd);
    Ok(files && quick && drops == 0 && growth <= MAX_GROWTH && user + system <= 100.0)
}

/// Ends all recordings and looks at what they became.
async fn finish(stand: &Stand, ids: &[String]) -> io::Result<bool> {
    for n in 0..ids.len() {
        stand.stop(&format!("cost{n}")).await?;
    }
    let mut good = true;
    let (mut gaps, mut files, mut packets, mut lost) = (0, 0, 0, 0);
    for (n, id) in ids.iter().enumerate() {
        let recording = stand.wait(id, &["ready", "failed"]).await?;
        good &= recording["state"] == "ready";
        for file in stand.manifest(&recording).await?.files() {
            files += 1;
            gaps += file.gaps.len();
            lost += file.figures.lost;
            packets += file.figures.packets;
        }
        if n.is_multiple_of(50) {
            for file in recording["files"].as_array().into_iter().flatten() {
                good &= is_whole(stand, file).await?;
            }
        }
    }
    println!("{files} files of {} recordings: {packets} packets, {lost} lost for good, {gaps} gaps", ids.len());
    Ok(good && files == ids.len())
}

async fn is_whole(stand: &Stand, file: &Value) -> io::Result<bool> {
    let path = stand.download(file).await?;
    match media_check::check_all(&path) {
        Ok(()) => Ok(true),
        Err(wrong) => {
            println!("{}: {wrong}", path.display());
            Ok(false)
        }
    }
}

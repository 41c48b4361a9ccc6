//! A process and its descendants, ended together: a browser's children outlive it long enough to write into its profile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Ends `root` and everything it started, and waits until none of them runs.
pub(crate) fn end(root: u32) {
    let processes = processes();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(processes.iter().filter(|process| process.parent == parent).map(|process| process.id));
        next += 1;
    }
    let ids = tree.iter().map(u32::to_string);
    let _ = Command::new("kill").arg("-KILL").args(ids).stderr(Stdio::null()).status();
    let deadline = Instant::now() + Duration::from_secs(5);
    while tree.iter().any(|&id| runs(id)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Process {
    id: u32,
    parent: u32,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let (_, parent) = state_and_parent(id)?;
            Some(Process { id, parent })
        })
        .collect()
}

/// A zombie that nobody reaps does nothing any more.
fn runs(id: u32) -> bool {
    state_and_parent(id).is_some_and(|(state, _)| state != 'Z')
}

fn state_and_parent(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // `id (name) state parent ...`, where the name may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

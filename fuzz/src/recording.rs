//! Recordings: the frames that make one, and the files that a crash left.

use std::sync::LazyLock;
use std::time::Duration;

use webm::{Frame, HEAD_LEN, Muxer, Options, Recovery, Size};

use crate::input::Input;

/// A file in chunks of any size: what is kept lies in it, and mending what was mended changes nothing, unless damage was passed
/// over, which may hide or show what looks like a cluster.
pub fn webm_recovery(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (Some(step), Some(kind)) = (input.byte(), input.byte()) else { return };
    let bytes = input.0;
    // A head region is longer than the inputs that a fuzzer likes; a whole one lets it spend them on clusters.
    let (head, clusters) = whole_file();
    let file = match kind % 3 {
        0 => bytes.to_vec(),
        1 => [head, bytes].concat(),
        _ => {
            let mut file = bytes.to_vec();
            file.resize(HEAD_LEN, 0);
            [&file, clusters].concat()
        }
    };
    let Some((mended, damaged)) = recover(&file, usize::from(step) + 1) else { return };
    assert!(damaged || mend(&mended, 1 << 16) == Some(mended), "twice is once");
}

/// The file as recovery would finish it, if it finds anything.
pub(crate) fn mend(file: &[u8], step: usize) -> Option<Vec<u8>> {
    recover(file, step).map(|(mended, _)| mended)
}

/// The same, and whether damage was passed over.
fn recover(file: &[u8], step: usize) -> Option<(Vec<u8>, bool)> {
    let mut recovery = Recovery::new(Vec::new());
    file.chunks(step).for_each(|chunk| recovery.handle_bytes(chunk));
    let recovered = recovery.finish().ok()?;
    assert!(recovered.valid_len <= file.len() as u64, "nothing is kept that was not there");
    let mut mended = file.to_vec();
    recovered.apply(&mut mended);
    Some((mended, !recovered.voids.is_empty()))
}

/// The head region and the clusters of a short file.
fn whole_file() -> (&'static [u8], &'static [u8]) {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut input: Vec<u8> = Vec::new();
        (0..60).for_each(|_| input.extend_from_slice(&[0, 20, 3, 0xF8, 0xFF, 0xFE, 0x81, 20, 2, 1, 2]));
        mux(Input(&input)).0
    });
    FILE.split_at(HEAD_LEN)
}

/// Frames of two tracks, at any time and of any length: the file that comes out is whole.
pub fn webm_muxer(bytes: &[u8]) {
    let (file, clusters) = mux(Input(bytes));
    let mended = mend(&file, 4096);
    assert_eq!(mended.is_some(), clusters > 0, "each file with media can be read");
    if let Some(mended) = mended {
        assert_eq!(mended, file, "a finished file needs no mending");
    }
}

/// A finished file of what the input says, and how many clusters it has.
fn mux(mut input: Input<'_>) -> (Vec<u8>, u64) {
    let mut muxer = Muxer::new(Options { max_cluster_bytes: 2000, ..Options::default() });
    let tracks = [muxer.add_track(webm::Codec::Opus), muxer.add_track(webm::Codec::Vp8)];
    let tracks = tracks.map(|track| track.expect("an empty head has room for two"));
    let mut at = 0u64;
    while let (Some(flags), Some(step)) = (input.byte(), input.byte()) {
        // Forward by up to a quarter of a second, or by a leap either way.
        at = match flags & 0x60 {
            0x20 => at.saturating_sub(u64::from(step)),
            0x40 => at.saturating_add(u64::from(step) * 1000),
            0x60 => at << (step % 64),
            _ => at.saturating_add(u64::from(step)),
        };
        let Some(data) = input.chunk() else { break };
        let size = (flags & 2 == 0).then_some(Size { width: u16::from(step), height: 180 });
        let track = tracks[usize::from(flags & 1)];
        let frame = Frame { track, at: Duration::from_millis(at), key: flags & 0x80 != 0, size, data: data.to_vec() };
        let _refused = muxer.handle_frame(frame);
        if flags & 4 != 0 {
            muxer.handle_timeout(Duration::from_millis(at));
        }
    }
    muxer.finish(Duration::from_millis(at));
    let mut file = vec![0; HEAD_LEN];
    while let Some(output) = muxer.poll_output() {
        output.apply(&mut file);
    }
    (file, muxer.stats().clusters)
}

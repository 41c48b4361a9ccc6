//! Our words for what the WebRTC engine calls differently: its configuration, codecs by payload type.

use std::time::{Duration, Instant};

use str0m::format::{Codec as EngineCodec, CodecConfig, FormatParams};
use str0m::media::{Frequency, Pt};
use str0m::rtp::Extension;
use str0m::{Rtc, RtcConfig};

use crate::packet::Codec;

/// H264 as browsers offer it: payload type, its RTX, packetization-mode 1?, profile-level-id. Every one that a room takes:
/// a receiver gets nothing of a profile that it did not offer.
const H264: [(u8, u8, bool, u32); 7] = [
    (127, 121, true, 0x42001f),
    (125, 107, false, 0x42001f),
    (108, 109, true, 0x42e01f),
    (124, 120, false, 0x42e01f),
    (123, 119, true, 0x4d001f),
    (35, 36, false, 0x4d001f),
    (114, 115, true, 0x64001f),
];

/// Header extensions. Without video orientation: nobody here would turn a picture.
const EXTENSIONS: [(u8, Extension); 6] = [
    (1, Extension::AudioLevel),
    (2, Extension::AbsoluteSendTime),
    (3, Extension::TransportSequenceNumber),
    (4, Extension::RtpMid),
    (10, Extension::RtpStreamId),
    (11, Extension::RepairedRtpStreamId),
];

/// The server answers only, so a path is known to be dead when these checks are not answered: each half second, more
/// than there are by default, and sooner. Noticed after six to seven seconds instead of twenty; a path that loses a
/// fifth each way, or answers after five seconds, is still one.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// See [`CHECK_EVERY`].
const MOST_UNANSWERED: usize = 12;

/// An engine for one transport.
pub(crate) fn build(codecs: &[Codec], now: Instant) -> Rtc {
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .clear_codecs()
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_rtcp_report_interval_video(Duration::from_secs(1))
        // Room for the retransmission of a burst: about 4 s of Opus.
        .set_send_buffer_audio(200)
        .clear_extension_map();
    config.set_max_stun_rto(CHECK_EVERY);
    config.set_max_stun_retransmits(MOST_UNANSWERED);
    for (id, extension) in EXTENSIONS {
        config = config.set_extension(id, extension);
    }
    for &codec in codecs {
        add(config.codec_config(), codec);
    }
    config.build(now)
}

fn add(config: &mut CodecConfig, codec: Codec) {
    let khz90 = Frequency::NINETY_KHZ;
    let plain = FormatParams::default();
    let mut video = |pt: u8, rtx: u8, codec, format| {
        config.add_config(Pt::from(pt), Some(Pt::from(rtx)), codec, khz90, None, format);
    };
    match codec {
        Codec::Opus => {
            let format = FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..plain };
            let khz48 = Frequency::FORTY_EIGHT_KHZ;
            config.add_config(111.into(), Some(112.into()), EngineCodec::Opus, khz48, Some(2), format);
        }
        Codec::Vp8 => video(96, 97, EngineCodec::Vp8, plain),
        Codec::Vp9 => {
            video(98, 99, EngineCodec::Vp9, FormatParams { profile_id: Some(0), ..plain });
            video(100, 101, EngineCodec::Vp9, FormatParams { profile_id: Some(2), ..plain });
        }
        Codec::Av1 => video(45, 46, EngineCodec::Av1, plain),
        Codec::H264 => H264.iter().for_each(|&(pt, rtx, mode, profile)| {
            config.add_h264(pt.into(), Some(rtx.into()), mode, profile);
        }),
    }
}

/// The codec behind the engine's name; `None`: one that is never offered.
pub(crate) fn codec(engine: EngineCodec) -> Option<Codec> {
    match engine {
        EngineCodec::Opus => Some(Codec::Opus),
        EngineCodec::Vp8 => Some(Codec::Vp8),
        EngineCodec::Vp9 => Some(Codec::Vp9),
        EngineCodec::H264 => Some(Codec::H264),
        EngineCodec::Av1 => Some(Codec::Av1),
        _ => None,
    }
}

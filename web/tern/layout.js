// @ts-check
/**
 * The m-lines of our connection to the server: slots that remote tracks are mapped onto, some of which carry our own
 * tracks the other way.
 *
 * All of them are in the first offer: Firefox never decodes what arrives on later ones, and Safari must not see a
 * direction change. What is mapped changes by message, the SDP does not.
 *
 *     audio  mic | screen_audio | -                 sendrecv, sendrecv, recvonly
 *     video  camera (q;h;f) | screen | - x 7        sendrecv, sendrecv, recvonly ...
 *     application                                   data channel "tern"
 */

export const AUDIO_SLOTS = 3;
export const VIDEO_SLOTS = 9;

/** The simulcast layers of a camera, smallest first. */
const CAMERA_RIDS = ['q', 'h', 'f'];
const CAMERA_BITRATES = [150_000, 500_000, 1_700_000];

/**
 * How each layer of a camera is encoded. Chromium encodes three layers from 960 pixels on, two from 480, else one, and
 * takes the first ones: so the first ones must reach the full size.
 *
 * @param {number} longSide  of the camera's picture, in pixels
 * @returns {{ scaleResolutionDownBy: number, maxBitrate: number, active: boolean }[]}
 */
export function cameraLayers(longSide) {
  const count = longSide >= 960 ? 3 : longSide >= 480 ? 2 : 1;
  return CAMERA_RIDS.map((_, n) => ({
    scaleResolutionDownBy: n < count ? 2 ** (count - 1 - n) : 1,
    // The full size of a small camera still needs more than a thumbnail does.
    maxBitrate: n === count - 1 && n < 2 ? 700_000 : CAMERA_BITRATES[n],
    active: n < count,
  }));
}

const SCREEN_ENCODINGS = [{ maxBitrate: 2_500_000 }];

/** What is sent on the n-th m-line of a kind. */
const SENT = {
  audio: /** @type {import('./types.js').Source[]} */ (['mic', 'screen_audio']),
  video: /** @type {import('./types.js').Source[]} */ (['camera', 'screen']),
};

/**
 * Adds m-lines of a kind until there are `count`.
 *
 * @param {RTCPeerConnection} pc
 * @param {'audio' | 'video'} kind
 * @param {number} count
 * @returns {Map<import('./types.js').Source, RTCRtpTransceiver>} the added ones that send
 */
export function addSlots(pc, kind, count) {
  const senders = new Map();
  for (let n = slotsOf(pc, kind).length; n < count; n++) {
    const source = SENT[kind][n];
    const transceiver = pc.addTransceiver(kind, {
      direction: source ? 'sendrecv' : 'recvonly',
      sendEncodings: source === 'camera' ? cameraEncodings() : source === 'screen' ? SCREEN_ENCODINGS : undefined,
    });
    prefer(transceiver, kind);
    if (source) senders.set(source, transceiver);
  }
  return senders;
}

/** Before the camera is known. */
function cameraEncodings() {
  return cameraLayers(1280).map((layer, n) => ({ rid: CAMERA_RIDS[n], ...layer }));
}

/**
 * @param {RTCPeerConnection} pc
 * @param {string} kind
 */
function slotsOf(pc, kind) {
  return pc.getTransceivers().filter((transceiver) => transceiver.receiver.track.kind === kind);
}

/** We send the first of these that the server takes; the rest is for what others (WHIP encoders) publish. */
const CODECS = {
  audio: ['audio/opus'],
  video: ['video/VP8', 'video/rtx', 'video/H264', 'video/VP9', 'video/AV1'],
};

/**
 * Keeps the offer small, VP8 first: every browser encodes it in simulcast and every recorder writes it as WebM.
 *
 * @param {RTCRtpTransceiver} transceiver
 * @param {'audio' | 'video'} kind
 */
function prefer(transceiver, kind) {
  const known = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const wanted = CODECS[kind].flatMap((mime) => known.filter((codec) => codec.mimeType === mime && isUsual(codec)));
  if (wanted.length) transceiver.setCodecPreferences(wanted);
}

/**
 * Of the many profiles, those that encoders in the field send.
 *
 * @param {{ mimeType: string, sdpFmtpLine?: string }} codec
 */
function isUsual({ mimeType, sdpFmtpLine = '' }) {
  if (mimeType === 'video/H264') return /packetization-mode=1/.test(sdpFmtpLine) && /profile-level-id=42[ce0]/i.test(sdpFmtpLine);
  if (mimeType === 'video/VP9' || mimeType === 'video/AV1') return !/profile(-id)?=[1-9]/.test(sdpFmtpLine);
  return true;
}

/**
 * The mids of an offer in the order of its m-lines, which is the order of the transceivers: they carry none before
 * `setLocalDescription`.
 *
 * @param {string} sdp
 */
export function midsOf(sdp) {
  return sdp
    .split(/^m=/m)
    .slice(1)
    .filter((section) => !section.startsWith('application'))
    .map((section) => /^a=mid:(.*?)\r?$/m.exec(section)?.[1] ?? '');
}

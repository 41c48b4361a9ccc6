// @ts-check
/** Cameras, microphones, screens: asking for them, remembering which, saying in plain words why there is none. */

/** @typedef {{ camera?: string, mic?: string, speaker?: string, quality?: 'high' | 'standard' }} Choice */

const KEY = 'tern.devices';
const SIZES = { high: { width: 1280, height: 720 }, standard: { width: 640, height: 480 } };

/** @returns {Choice} */
export function choice() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}');
  } catch {
    return {};
  }
}

/** @param {Choice} change */
export function choose(change) {
  localStorage.setItem(KEY, JSON.stringify({ ...choice(), ...change }));
}

/** Browsers hand out cameras on https and on localhost only. */
export const secure = Boolean(navigator.mediaDevices?.getUserMedia);

/** Phones share no screens. */
export const canShare = Boolean(navigator.mediaDevices && 'getDisplayMedia' in navigator.mediaDevices);

/**
 * @param {'camera' | 'mic'} kind
 * @returns {Promise<MediaStreamTrack>}
 * @throws {Error} with a sentence for people
 */
export async function open(kind) {
  const { camera, mic, quality } = choice();
  const size = SIZES[quality ?? 'high'];
  const constraints = kind === 'camera'
    ? { video: { deviceId: camera, width: { ideal: size.width }, height: { ideal: size.height }, frameRate: { ideal: 30 } } }
    : { audio: { deviceId: mic, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
  if (!secure) throw new Error('Your browser gives no camera or microphone to a page that is not on HTTPS.');
  try {
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    return stream.getTracks()[0];
  } catch (error) {
    throw new Error(reason(kind, /** @type {Error} */ (error)));
  }
}

/**
 * The screen, a window or a tab that the user picks, with its sound if there is one; null when the user picks none.
 *
 * @returns {Promise<{ screen: MediaStreamTrack, sound?: MediaStreamTrack } | null>}
 */
export async function openScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: true });
    const screen = stream.getVideoTracks()[0];
    // Text must stay sharp; rather fewer pictures.
    screen.contentHint = 'detail';
    return { screen, sound: stream.getAudioTracks()[0] };
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'NotAllowedError') return null;
    throw new Error('The screen could not be shared.');
  }
}

/** @returns {Promise<MediaDeviceInfo[]>} */
export async function list() {
  return secure ? navigator.mediaDevices.enumerateDevices() : [];
}

/**
 * @param {'camera' | 'mic'} kind
 * @param {Error} error
 */
function reason(kind, { name }) {
  const device = kind === 'camera' ? 'camera' : 'microphone';
  if (name === 'NotAllowedError') return `This page may not use your ${device}. Allow it in the address bar of your browser.`;
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return `No ${device} was found.`;
  if (name === 'NotReadableError') return `Your ${device} is in use by another program.`;
  return `Your ${device} does not start.`;
}

// @ts-check
/** Numbers and names as people read them. */

/** @param {number} ms */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const pad = (/** @type {number} */ part) => String(part % 60).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${pad(minutes)}:${pad(seconds)}` : `${Math.floor(minutes / 60)}:${pad(minutes)}:${pad(seconds)}`;
}

/** @param {number} count */
export function bytes(count) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 10 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

/** @param {number} ms  since 1970 */
export function day(ms) {
  const date = new Date(ms);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(ms).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return `Today, ${time}`;
  if (days === 1) return `Yesterday, ${time}`;
  return `${date.toLocaleDateString([], { day: 'numeric', month: 'long', year: 'numeric' })}, ${time}`;
}

/**
 * What a recorded file holds.
 *
 * @param {{ sources: import('../tern/types.js').Source[] }} file
 */
export function content({ sources }) {
  const has = (/** @type {import('../tern/types.js').Source} */ source) => sources.includes(source);
  if (has('screen')) return has('screen_audio') ? 'screen with sound' : 'screen';
  if (has('screen_audio')) return 'sound of the screen';
  if (has('camera')) return has('mic') ? 'camera and microphone' : 'camera';
  return 'microphone';
}

/** @param {number} count */
export function people(count) {
  return count === 1 ? '1 person' : `${count} people`;
}

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
 * What a recorded file holds: its name says the source, its codecs whether there is a picture and sound.
 *
 * @param {{ name: string, codecs: string[] }} file
 */
export function content({ name, codecs }) {
  const sound = codecs.some((codec) => codec.toLowerCase() === 'opus');
  const picture = codecs.some((codec) => codec.toLowerCase() !== 'opus');
  if (name.includes('-screen-')) return sound ? 'screen with sound' : 'screen';
  if (!picture) return 'microphone';
  return sound ? 'camera and microphone' : 'camera';
}

/** @param {number} count */
export function people(count) {
  return count === 1 ? '1 person' : `${count} people`;
}

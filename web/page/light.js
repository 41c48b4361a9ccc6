// @ts-check
/** The red light: everybody in the room sees that it is being recorded, and since when. */

import { byId } from './dom.js';
import { duration } from './words.js';

/** @type {Record<string, string>} */
const WORDS = { starting: 'Recording starts', recording: 'Recording', paused: 'Recording paused' };

export class RecordingLight {
  #timer = 0;
  #title = '';
  /** What the server said last, and when it was switched on by our clock. */
  #said = /** @type {import('../tern/types.js').RoomRecording | null | undefined} */ (null);
  #began = 0;

  /**
   * @param {import('../tern/types.js').RoomRecording | null | undefined} recording
   * @param {string} title  the document's, without the light
   */
  show(recording, title) {
    this.#title = title;
    clearInterval(this.#timer);
    document.body.classList.toggle('recording-live', Boolean(recording));
    document.title = recording ? `${recording.state === 'paused' ? '‖' : '●'} ${this.#title}` : this.#title;
    document.body.classList.toggle('recording-paused', recording?.state === 'paused');
    byId('recording').hidden = !recording;
    if (recording !== this.#said) this.#began = performance.now() - (recording?.age_ms ?? 0);
    this.#said = recording;
    if (!recording) return;
    byId('recording-text').textContent = WORDS[recording.state] ?? 'Recording';
    const time = byId('recording-time');
    const tick = () => (time.textContent = duration(performance.now() - this.#began));
    time.hidden = recording.state !== 'recording';
    tick();
    this.#timer = setInterval(tick, 1000);
  }
}

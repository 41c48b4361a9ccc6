// @ts-check
/** The dialog with a room's recordings: state, facts, play, download. It refreshes itself while one is still moving. */

import { explain } from '../tern.js';
import { byId, icon, make } from './dom.js';
import { bytes, content, day, duration } from './words.js';
import { toast } from './toast.js';

const REFRESH_MS = 1_500;

/** @type {Record<string, { word: string, look: string }>} */
const STATES = {
  starting: { word: 'Starting', look: 'live' },
  recording: { word: 'Recording', look: 'live' },
  paused: { word: 'Paused', look: 'live' },
  finalising: { word: 'Finishing', look: '' },
  uploading: { word: 'Saving', look: '' },
  ready: { word: 'Ready', look: 'ready' },
  failed: { word: 'Failed', look: 'failed' },
};

export class Recordings {
  #dialog = byId('recordings');
  #list = byId('recordings-list');
  #player = byId('player');
  /** @type {import('./api.js').Api | null} */
  #api = null;
  #timer = 0;
  #shown = '';

  constructor() {
    this.#dialog.addEventListener('close', () => this.#closed());
  }

  /** @param {import('./api.js').Api} api */
  async open(api) {
    this.#api = api;
    this.#dialog.showModal();
    await this.refresh();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  async refresh() {
    clearTimeout(this.#timer);
    if (!this.#api || !this.#dialog.open) return;
    let moving = true;
    try {
      const recordings = await this.#api.recordings();
      moving = recordings.some(({ state }) => state !== 'ready' && state !== 'failed');
      this.#show(recordings);
    } catch (error) {
      toast(explain(error), { error: true });
      moving = false;
    }
    if (moving) this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  /** @param {import('./api.js').Recording[]} recordings */
  #show(recordings) {
    byId('recordings-empty').hidden = recordings.length > 0;
    // Redrawing what did not change would take the focus away.
    const shown = JSON.stringify(recordings, (key, value) => (key === 'url' ? undefined : value));
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#list.replaceChildren(...recordings.map((recording) => this.#row(recording)));
  }

  /** @param {import('./api.js').Recording} recording */
  #row(recording) {
    const state = STATES[recording.state] ?? { word: recording.state, look: '' };
    const { files } = recording;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const people = [...new Set(files.map((file) => file.participant_name || file.participant))];
    const length = recording.ended_ms ? duration(recording.ended_ms - recording.started_ms) : '';
    const facts = [recording.room, length, size ? bytes(size) : '', people.join(', ')].filter(Boolean).join(' · ');
    const row = make('li', { 'data-recording': recording.id, 'data-state': recording.state },
      make('div', { class: 'head' },
        make('strong', { text: day(recording.started_ms) }), make('span', { class: `state ${state.look}`, text: state.word })),
      make('p', { class: 'facts', text: facts }));
    if (recording.error) row.append(make('p', { class: 'facts', text: recording.error }));
    if (recording.state === 'ready') {
      row.append(make('ul', { class: 'files' }, ...files.map((file) => this.#file(recording, file))));
    }
    return row;
  }

  /**
   * @param {import('./api.js').Recording} recording
   * @param {import('./api.js').RecordedFile} file
   */
  #file(recording, file) {
    const who = file.participant_name || file.participant;
    const what = `${who}: ${content(file)}`;
    const button = (/** @type {string} */ name, /** @type {string} */ word, /** @type {() => Promise<void>} */ run) => {
      const element = make('button', { type: 'button', class: 'quiet', 'aria-label': `${word} ${what}` }, icon(name), make('span', { text: word }));
      element.onclick = () => run().catch((error) => toast(explain(error), { error: true }));
      return element;
    };
    return make('li', { 'data-file': file.name },
      make('span', { class: 'what' }, what, ' ', make('small', { text: `${duration(file.end_ms - file.start_ms)} · ${bytes(file.size)}` })),
      button('play', 'Play', () => this.#play(recording, file, what)),
      button('download', 'Download', () => this.#download(recording, file)));
  }

  /**
   * @param {import('./api.js').Recording} recording
   * @param {import('./api.js').RecordedFile} file
   * @param {string} what
   */
  async #play(recording, file, what) {
    const video = this.#player.querySelector('video');
    video.src = await this.#link(recording, file);
    this.#player.querySelector('figcaption').textContent = what;
    this.#player.hidden = false;
    this.#dialog.scrollTo({ top: 0 });
    // Refused only where the browser wants another click on the controls, which are there.
    await video.play().catch(() => {});
  }

  /**
   * @param {import('./api.js').Recording} recording
   * @param {import('./api.js').RecordedFile} file
   */
  async #download(recording, file) {
    make('a', { href: await this.#link(recording, file), download: file.name }).click();
  }

  /**
   * @param {import('./api.js').Recording} recording
   * @param {import('./api.js').RecordedFile} file
   * @returns {Promise<string>}
   */
  #link(recording, file) {
    if (!this.#api) throw new Error('not open');
    return this.#api.link(recording.id, file.name);
  }

  #closed() {
    clearTimeout(this.#timer);
    this.#shown = '';
    this.#player.hidden = true;
    const video = this.#player.querySelector('video');
    video.pause();
    video.removeAttribute('src');
    video.load();
  }
}

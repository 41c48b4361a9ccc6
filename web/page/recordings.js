// @ts-check
/** The dialog with a room's recordings: state, facts, play, download, delete. It refreshes itself while one is still moving. */

import { explain } from '../tern.js';
import { confirmed } from './confirm.js';
import { byId, icon, make } from './dom.js';
import { bytes, content, day, duration, people } from './words.js';
import { toast } from './toast.js';

const REFRESH_MS = 1_000;

/** @type {Record<string, { word: string, style: string }>} */
const STATES = {
  starting: { word: 'Starting', style: 'live' },
  recording: { word: 'Recording', style: 'live' },
  paused: { word: 'Paused', style: 'live' },
  finalising: { word: 'Finishing', style: '' },
  uploading: { word: 'Saving', style: '' },
  ready: { word: 'Ready', style: 'ready' },
  failed: { word: 'Failed', style: 'failed' },
};

const look = (/** @type {string} */ state) => STATES[state] ?? { word: state, style: '' };
const isOver = (/** @type {string} */ state) => state === 'ready' || state === 'failed';

export class Recordings {
  #dialog = byId('recordings');
  #list = byId('recordings-list');
  #player = byId('player');
  /** @type {import('./api.js').Api | null} */
  #api = null;
  #moderate = false;
  #timer = 0;
  #turn = 0;
  #complained = false;
  /** What each row shows, by recording. @type {Map<string, { row: any, facts: string, state: string }>} */
  #rows = new Map();

  constructor() {
    this.#dialog.addEventListener('close', () => this.#closed());
  }

  /**
   * @param {import('./api.js').Api} api
   * @param {{ moderate: boolean }} rights
   */
  async open(api, { moderate }) {
    this.#api = api;
    this.#moderate = moderate;
    this.#complained = false;
    this.#dialog.showModal();
    await this.refresh();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  async refresh() {
    clearTimeout(this.#timer);
    if (!this.#api || !this.#dialog.open) return;
    const turn = ++this.#turn;
    let moving = true;
    try {
      const recordings = await this.#api.recordings();
      // A later question has the later answer.
      if (turn !== this.#turn) return;
      this.#complained = false;
      moving = recordings.some(({ state }) => !isOver(state));
      this.#show(recordings);
    } catch (error) {
      if (!this.#complained) toast(explain(error), { error: true });
      this.#complained = true;
    }
    if (turn !== this.#turn) return;
    if (moving && this.#dialog.open) this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  /**
   * Rows that did not change stay as they are: redrawing them would take the focus away.
   *
   * @param {import('./api.js').Recording[]} recordings
   */
  #show(recordings) {
    byId('recordings-empty').hidden = recordings.length > 0;
    const rows = new Map();
    for (const recording of recordings) {
      const known = this.#rows.get(recording.id);
      const facts = JSON.stringify(recording, (key, value) => (key === 'url' ? undefined : value));
      const row = known?.facts === facts ? known.row : this.#row(recording);
      if (known && row !== known.row) known.row.replaceWith(row);
      if (known && known.state !== recording.state) {
        byId('recordings-status').textContent = `${day(recording.started_ms)}: ${look(recording.state).word}`;
      }
      rows.set(recording.id, { row, facts, state: recording.state });
    }
    for (const [id, { row }] of this.#rows) if (!rows.has(id)) row.remove();
    // Newest first: what is new comes before what is there.
    let place = null;
    for (const { row } of [...rows.values()].reverse()) {
      if (row.parentElement !== this.#list) this.#list.insertBefore(row, place);
      place = row;
    }
    this.#rows = rows;
  }

  /** @param {import('./api.js').Recording} recording */
  #row(recording) {
    const { word, style } = look(recording.state);
    const { progress, files } = recording;
    const size = recording.size || progress?.bytes || 0;
    const names = recording.participants.map(({ id, name }) => name || id).join(', ');
    const live = !isOver(recording.state) && progress?.participants ? `${people(progress.participants)} recorded` : '';
    const facts = [duration(recording.duration_ms), size ? bytes(size) : '', names, live].filter(Boolean).join(' · ');
    const head = make('div', { class: 'head' },
      make('strong', { text: day(recording.started_ms) }), make('span', { class: `state ${style}`, text: word }));
    const row = make('li', { 'data-recording': recording.id, 'data-state': recording.state },
      head, make('p', { class: 'facts', text: facts }));
    if (progress?.percent !== undefined) {
      const name = `${word}, ${progress.percent} %`;
      head.append(make('small', { text: `${progress.percent} %` }));
      row.append(make('progress', { max: 100, value: progress.percent, 'aria-label': name }));
    }
    if (recording.error) row.append(make('p', { class: 'facts', text: recording.error }));
    if (recording.state === 'ready') {
      row.append(make('ul', { class: 'files' }, ...files.map((file) => this.#file(recording, file))));
    }
    if (this.#moderate && isOver(recording.state)) {
      const remove = make('button', { type: 'button', class: 'quiet remove', 'aria-label': `Delete the recording of ${day(recording.started_ms)}` },
        icon('bin'), make('span', { text: 'Delete' }));
      remove.onclick = () => this.#delete(recording).catch((error) => toast(explain(error), { error: true }));
      head.append(remove);
    }
    return row;
  }

  /** @param {import('./api.js').Recording} recording */
  async #delete(recording) {
    const count = recording.files.length;
    const what = count === 1 ? 'its file' : `all ${count} files`;
    const sure = await confirmed({
      title: 'Delete this recording?',
      text: `${day(recording.started_ms)}, with ${count ? what : 'everything about it'}. This cannot be undone.`,
      action: 'Delete',
    });
    if (!sure || !this.#api) return;
    await this.#api.deleteRecording(recording.id);
    if (this.#playing === recording.id) this.#stopPlaying();
    toast('The recording was deleted.');
    byId('recordings-title').focus();
    await this.refresh();
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
    this.#playing = recording.id;
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
    const link = await this.#link(recording, file);
    // Our own links play where nothing else is asked; S3's always save.
    make('a', { href: link.startsWith('/') ? `${link}&download` : link, download: '' }).click();
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
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#stopPlaying();
  }

  /** Whose file the player has. */
  #playing = '';

  #stopPlaying() {
    this.#playing = '';
    this.#player.hidden = true;
    const video = this.#player.querySelector('video');
    video.pause();
    video.removeAttribute('src');
    video.load();
  }
}

// @ts-check
/** The dialog with a room's recordings: state, facts, play, download, delete. It refreshes itself while one is still moving. */

import { explain } from '../tern.js';
import { confirmed } from './confirm.js';
import { PAGE } from './api.js';
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
  #more = byId('recordings-more');
  #player = byId('player');
  #video = this.#player.querySelector('video');
  /** @type {import('./api.js').Api | null} */
  #api = null;
  #moderate = false;
  #timer = 0;
  #turn = 0;
  #complained = false;
  /** Latest first. @type {import('./api.js').Recording[]} */
  #known = [];
  /** Whether there may be older ones: not after the last page was shown. */
  #hasMore = true;
  /** What each row shows, by recording. @type {Map<string, { row: any, facts: string, state: string }>} */
  #rows = new Map();

  constructor() {
    this.#dialog.addEventListener('close', () => this.#closed());
    this.#video.addEventListener('error', () => this.#cannotPlay());
    this.#more.onclick = () => this.#showMore().catch((error) => toast(explain(error), { error: true }));
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
      const latest = await this.#api.recordings();
      // A later question has the later answer.
      if (turn !== this.#turn) return;
      this.#complained = false;
      moving = latest.some(({ state }) => !isOver(state));
      // What is older was asked for by hand and does not move. Ids begin with the time.
      const last = latest.length < PAGE ? '' : latest[latest.length - 1].id;
      const older = this.#known.filter(({ id }) => id < last);
      this.#known = [...latest, ...older];
      if (latest.length < PAGE) this.#hasMore = false;
      this.#show();
    } catch (error) {
      // Closed meanwhile, or asked again: nobody waits for this answer.
      if (turn !== this.#turn) return;
      if (!this.#complained) toast(explain(error), { error: true });
      this.#complained = true;
    }
    if (moving && this.#dialog.open) this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  async #showMore() {
    const last = this.#known[this.#known.length - 1];
    if (!this.#api || !last) return;
    const older = await this.#api.recordings(last.id);
    // Asked twice, or the dialog was closed. What is shown may have been refreshed.
    if (this.#known.at(-1)?.id !== last.id) return;
    this.#known = [...this.#known, ...older];
    this.#hasMore = older.length === PAGE;
    this.#show();
  }

  /** Rows that did not change stay as they are: redrawing them would take the focus away. */
  #show() {
    byId('recordings-empty').hidden = this.#known.length > 0;
    this.#more.hidden = !this.#hasMore;
    const rows = new Map();
    for (const recording of this.#known) {
      const known = this.#rows.get(recording.id);
      const facts = JSON.stringify(recording);
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
    if (recording.error) {
      // Who may not moderate is given a code only, and that is made for programs.
      const word = recording.state === 'ready' ? 'Not all of it could be stored.' : 'It could not be recorded.';
      row.append(make('p', { class: 'facts', text: this.#moderate ? recording.error : word }));
    }
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
    this.#known = this.#known.filter(({ id }) => id !== recording.id);
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
    const play = ++this.#plays;
    const link = await this.#link(recording, file);
    // The dialog was closed meanwhile, of which its event tells a frame later, or something else is to be played.
    if (play !== this.#plays || !this.#dialog.open) return;
    this.#playing = recording.id;
    this.#video.src = link;
    this.#player.querySelector('figcaption').textContent = what;
    this.#player.hidden = false;
    this.#dialog.scrollTo({ top: 0 });
    // Refused only where the browser wants another click on the controls, which are there. A file that is of no use is told
    // by its event.
    await this.#video.play().catch(() => {});
  }

  #cannotPlay() {
    // Taking the file away is no failure.
    if (!this.#playing) return;
    const broke = this.#video.error?.code === MediaError.MEDIA_ERR_NETWORK;
    const why = broke ? 'The file stopped loading. Try again, or download it.' : 'This browser cannot play the file. Download it to play it elsewhere.';
    this.#stopPlaying();
    toast(why, { error: true });
  }

  /**
   * @param {import('./api.js').Recording} recording
   * @param {import('./api.js').RecordedFile} file
   */
  async #download(recording, file) {
    const link = await this.#link(recording, file);
    // Our own links play where nothing else is asked; S3's always save. If S3 answers with an error instead, that is a page, and
    // is not to take the place of the call: a tab that saves a file closes by itself.
    const how = link.startsWith('/') ? { href: `${link}&download`, download: '' } : { href: link, target: '_blank', rel: 'noopener' };
    make('a', how).click();
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
    this.#known = [];
    this.#hasMore = true;
    this.#list.replaceChildren();
    this.#stopPlaying();
  }

  /** Whose file the player has. */
  #playing = '';
  /** Tells the last wish to play something from those before it. */
  #plays = 0;

  #stopPlaying() {
    this.#plays += 1;
    this.#playing = '';
    this.#player.hidden = true;
    this.#video.pause();
    this.#video.removeAttribute('src');
    this.#video.load();
  }
}

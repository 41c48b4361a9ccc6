// @ts-check
/** The buttons of a call and their keys. */

import { explain } from '../tern.js';
import * as devices from './devices.js';
import { byId, dress } from './dom.js';
import { inviteLink } from './options.js';
import { toast } from './toast.js';

export class Controls {
  #room;
  #own;
  #api;
  #recordings;
  #redraw;
  /** A start, stop or pause of the recording is under way. */
  #switching = false;
  #stop = new AbortController();

  /**
   * @param {object} parts
   * @param {import('../tern.js').Room} parts.room
   * @param {import('./own.js').OwnMedia} parts.own
   * @param {() => import('./api.js').Api} parts.api
   * @param {import('./recordings.js').Recordings} parts.recordings
   * @param {() => void} parts.redraw  what is shown of ourselves
   */
  constructor({ room, own, api, recordings, redraw }) {
    this.#room = room;
    this.#own = own;
    this.#api = api;
    this.#recordings = recordings;
    this.#redraw = redraw;
    this.#bind('mic', () => this.#toggleMic());
    this.#bind('camera', () => this.#toggleCamera());
    this.#bind('share', () => this.#toggleShare());
    this.#bind('record', () => this.#switchRecording(() => (room.info.recording ? api().stopRecording() : api().startRecording())));
    this.#bind('pause', () => this.#switchRecording(() => (this.#isPaused ? api().resumeRecording() : api().pauseRecording())));
    this.#bind('leave', async () => room.leave());
    this.#bind('invite', () => this.#invite());
    this.#bind('alone-invite', () => this.#invite());
    this.#bind('show-recordings', () => this.#showRecordings());
    document.addEventListener('keydown', (event) => this.#key(event), { signal: this.#stop.signal });
    this.#stop.signal.addEventListener('abort', own.on('change', () => this.#ownChanged()));
    room.on('local', (local) => this.#localChanged(local));
    room.on('room', () => this.#roomChanged());
    this.#wasRecording = Boolean(room.info.recording);
    this.draw();
  }

  #wasRecording;

  close() {
    this.#stop.abort();
  }

  draw() {
    const { info, grants, locals, features } = this.#room;
    const own = this.#own;
    dress(byId('mic'), own.mic && own.micOn
      ? { icon: 'mic', word: 'Mute', title: 'Mute microphone', key: 'M' }
      : { icon: 'mic-off', word: 'Unmute', title: 'Unmute microphone', key: 'M', state: 'off' });
    dress(byId('camera'), own.cameraOn
      ? { icon: 'camera', word: 'Stop video', title: 'Turn camera off', key: 'V' }
      : { icon: 'camera-off', word: 'Start video', title: 'Turn camera on', key: 'V', state: 'off' });
    dress(byId('share'), locals.has('screen')
      ? { icon: 'share-stop', word: 'Stop share', title: 'Stop sharing your screen', key: 'S', state: 'active' }
      : { icon: 'share', word: 'Share', title: 'Share your screen', key: 'S' });
    dress(byId('record'), info.recording
      ? { icon: 'record-stop', word: 'Stop rec', title: 'Stop recording', key: 'R', state: 'recording-on' }
      : { icon: 'record', word: 'Record', title: 'Record this room', key: 'R' });
    dress(byId('pause'), this.#isPaused
      ? { icon: 'resume', word: 'Resume rec', title: 'Resume recording', key: 'P' }
      : { icon: 'pause', word: 'Pause rec', title: 'Pause recording', key: 'P' });
    byId('share').hidden = !devices.canShare || !grants.publish.includes('screen');
    byId('mic').hidden = !grants.publish.includes('mic');
    byId('camera').hidden = !grants.publish.includes('camera');
    byId('record').hidden = !grants.moderate || !features.includes('recording');
    byId('show-recordings').hidden = !features.includes('recording');
    byId('pause').hidden = byId('record').hidden || !info.recording;
    byId('record').disabled = byId('pause').disabled = this.#switching;
  }

  get #isPaused() {
    return this.#room.info.recording?.state === 'paused';
  }

  #showRecordings() {
    return this.#recordings.open(this.#api(), { moderate: this.#room.grants.moderate });
  }

  async #toggleMic() {
    const on = !(this.#own.mic && this.#own.micOn);
    const local = this.#room.locals.get('mic');
    if (on && local?.mutedByModerator) return toast('A moderator has muted you. Ask to be unmuted.');
    await this.#own.setMic(on);
    if (!this.#room.locals.has('mic') && this.#own.mic) await this.#room.publish('mic', this.#own.mic, { muted: !on });
    else await this.#room.setMuted('mic', !on);
  }

  async #toggleCamera() {
    const on = !this.#own.cameraOn;
    const local = this.#room.locals.get('camera');
    if (on && local?.mutedByModerator) return toast('A moderator has turned your camera off.');
    await this.#own.setCamera(on);
    if (on && !local && this.#own.camera) await this.#room.publish('camera', this.#own.camera);
    else await this.#room.setMuted('camera', !on);
  }

  async #toggleShare() {
    if (this.#room.locals.has('screen')) return this.#stopSharing();
    const shared = await devices.openScreen();
    if (!shared) return;
    // The browser has a stop button of its own.
    shared.screen.onended = () => this.#run(() => this.#stopSharing());
    const published = [this.#room.publish('screen', shared.screen)];
    if (shared.sound) published.push(this.#room.publish('screen_audio', shared.sound));
    this.#changed();
    await Promise.all(published);
    this.#changed();
  }

  async #stopSharing() {
    for (const source of /** @type {const} */ (['screen', 'screen_audio'])) {
      const local = this.#room.locals.get(source);
      if (!local) continue;
      local.media?.stop();
      const ended = this.#room.unpublish(source);
      this.#changed();
      await ended;
    }
  }

  /** @param {() => Promise<any>} action */
  async #switchRecording(action) {
    if (this.#switching) return;
    this.#switching = true;
    this.draw();
    try {
      await action();
    } finally {
      this.#switching = false;
      this.draw();
    }
  }

  async #invite() {
    const link = inviteLink(this.#room.info.name);
    try {
      await navigator.clipboard.writeText(link);
      toast('Invite link copied. Send it to whom you want to see.');
    } catch {
      // Without HTTPS there is no clipboard.
      prompt('The link to this room:', link);
    }
  }

  /** Publishes what was opened after the join. */
  publishOwn() {
    for (const source of /** @type {const} */ (['mic', 'camera'])) {
      const media = this.#own[source];
      if (!media || this.#room.locals.has(source) || !this.#room.grants.publish.includes(source)) continue;
      this.#run(() => this.#room.publish(source, media, { muted: !media.enabled }));
    }
  }

  /** A device came, went or was exchanged: our published tracks follow. */
  #ownChanged() {
    for (const source of /** @type {const} */ (['mic', 'camera'])) {
      const local = this.#room.locals.get(source);
      if (local && local.media !== this.#own[source]) this.#run(() => this.#room.replace(source, this.#own[source]));
    }
    this.draw();
  }

  /** @param {import('../tern/local.js').LocalTrack} local */
  #localChanged(local) {
    if (local.mutedByModerator && local.source === 'mic' && this.#own.micOn) {
      this.#run(() => this.#own.setMic(false));
      toast('A moderator has muted your microphone.');
    }
    if (local.mutedByModerator && local.source === 'camera' && this.#own.cameraOn) {
      this.#run(() => this.#own.setCamera(false));
      toast('A moderator has turned your camera off.');
    }
    this.#changed();
  }

  #roomChanged() {
    const recording = Boolean(this.#room.info.recording);
    if (recording && !this.#wasRecording) toast('This room is being recorded.');
    if (!recording && this.#wasRecording) {
      const open = () => this.#run(() => this.#showRecordings());
      toast('The recording has stopped and is being saved.', { action: { word: 'Recordings', run: open } });
    }
    this.#wasRecording = recording;
    // Whoever looks at the list sees it come.
    this.#recordings.refresh();
    this.draw();
  }

  #changed() {
    this.draw();
    this.#redraw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    // Keys belong to fields, dialogs and menus first.
    if (document.querySelector('dialog[open], .menu') || /** @type {Element} */ (event.target).closest?.('input, select, textarea')) return;
    const id = { m: 'mic', v: 'camera', s: 'share', r: 'record', p: 'pause', L: 'leave' }[event.key];
    const button = id && byId(id);
    if (!button || button.hidden || button.disabled) return;
    event.preventDefault();
    button.click();
  }

  /**
   * @param {string} id
   * @param {() => Promise<any>} action
   */
  #bind(id, action) {
    byId(id).onclick = () => this.#run(action);
  }

  /** @param {() => Promise<any>} action */
  async #run(action) {
    try {
      await action();
    } catch (error) {
      toast(explain(error), { error: true });
    }
  }
}

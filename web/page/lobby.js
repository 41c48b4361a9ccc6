// @ts-check
/** Before the call: see and hear oneself, a name, a room, Join. */

import { explain } from '../tern.js';
import { serverInfo } from './api.js';
import * as devices from './devices.js';
import { avatar, byId, dress, make } from './dom.js';
import { Level } from './level.js';
import { cleanRoom, newRoom } from './options.js';
import { toast } from './toast.js';

const NAME_KEY = 'tern.name';

export class Lobby {
  #own;
  #invited;
  #onJoin;
  #level = new Level(byId('preview-mic'));

  /**
   * @param {import('./own.js').OwnMedia} own
   * @param {boolean} invited  the address has a token
   * @param {(where: { room: string, name: string }) => Promise<void>} onJoin
   */
  constructor(own, invited, onJoin) {
    this.#own = own;
    this.#invited = invited;
    this.#onJoin = onJoin;
    own.on('change', () => this.#draw());
    byId('preview-mic').onclick = () => this.#try(own.setMic(!own.micOn || !own.mic));
    byId('preview-camera').onclick = () => this.#try(own.setCamera(!own.cameraOn));
    byId('name').oninput = () => this.#draw();
    byId('room').oninput = () => byId('room').removeAttribute('aria-invalid');
    byId('join-form').onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#join();
    };
  }

  /**
   * @param {{ room: string, name: string, notice?: string }} start
   */
  async open({ room, name, notice = '' }) {
    document.body.dataset.view = 'lobby';
    document.title = 'Tern';
    byId('call').hidden = true;
    byId('lobby').hidden = false;
    byId('name').value = name || localStorage.getItem(NAME_KEY) || '';
    byId('room').value = room || newRoom();
    this.say(notice);
    this.#draw();
    byId(byId('name').value ? 'join' : 'name').focus();
    this.opened = this.#begin(notice);
    await this.opened;
  }

  /** Join may be pressed while the browser still asks for the devices; when this is done, they are open or refused. */
  opened = Promise.resolve();

  /** @param {string} notice */
  async #begin(notice) {
    const info = await serverInfo();
    if (!notice && info.guests === 'off' && !this.#invited) this.say('This server lets in who has an invitation: a link with a token.');
    if (!devices.secure) return this.#explainInsecure(info);
    const { camera, wantsCamera, mic, micOn } = this.#own;
    // One after the other: two prompts at once confuse people and some browsers.
    if (!mic && micOn) await this.#try(this.#own.setMic(true));
    if (!camera && wantsCamera) await this.#try(this.#own.setCamera(true));
  }

  close() {
    byId('lobby').hidden = true;
    this.#level.follow(null);
  }

  /** @param {string} text */
  say(text) {
    byId('notice').textContent = text;
    byId('notice').hidden = !text;
  }

  async #join() {
    const room = cleanRoom(byId('room').value);
    if (!room) {
      byId('room').setAttribute('aria-invalid', 'true');
      byId('room').focus();
      return this.say('Please name a room: letters, digits, “-”, “_” and “.”.');
    }
    const button = byId('join');
    const name = byId('name').value.trim();
    localStorage.setItem(NAME_KEY, name);
    button.disabled = true;
    button.textContent = 'Joining…';
    try {
      await this.#onJoin({ room, name: name || 'Guest' });
    } catch (error) {
      this.say(explain(error));
    } finally {
      button.disabled = false;
      button.textContent = 'Join';
    }
  }

  /** @param {Promise<void>} action */
  async #try(action) {
    try {
      await action;
    } catch (error) {
      if (!byId('lobby').hidden) toast(explain(error), { error: true });
    } finally {
      this.#draw();
    }
  }

  #draw() {
    const own = this.#own;
    const micOn = Boolean(own.mic) && own.micOn;
    dress(byId('preview-mic'), micOn
      ? { icon: 'mic', word: 'Mute', title: 'Mute microphone' }
      : { icon: 'mic-off', word: 'Unmute', title: 'Unmute microphone', state: 'off' });
    dress(byId('preview-camera'), own.cameraOn
      ? { icon: 'camera', word: 'Stop video', title: 'Turn camera off' }
      : { icon: 'camera-off', word: 'Start video', title: 'Turn camera on', state: 'off' });
    const video = byId('preview');
    if (own.camera && video.srcObject?.getTracks()[0] !== own.camera) video.srcObject = new MediaStream([own.camera]);
    if (!own.camera) video.srcObject = null;
    byId('preview-off').hidden = own.cameraOn;
    avatar(byId('preview-avatar'), byId('name').value);
    this.#level.follow(micOn && !byId('lobby').hidden ? own.mic : null);
  }

  /** @param {{ https_port?: number | null }} info */
  #explainInsecure({ https_port: port }) {
    const box = byId('insecure');
    box.hidden = false;
    box.replaceChildren('Camera and microphone need HTTPS. You can join now to watch and listen');
    if (!port) return box.append('; to be seen and heard, open this page over https:// or on localhost.');
    const url = new URL(location.href);
    url.protocol = 'https:';
    url.port = String(port);
    box.append(', or open ', make('a', { href: url.href, text: `https://${url.host}` }), ' to be seen and heard.');
  }
}

// @ts-check
/** The call as it is seen: the room's state drawn into tiles, bars and sounds. What buttons do is in controls.js. */

import { byId } from './dom.js';
import { Grid } from './grid.js';
import { RecordingLight } from './light.js';
import { openMenu } from './menu.js';
import { Sounds } from './sounds.js';
import { toast } from './toast.js';
import { people } from './words.js';
import { explain } from '../tern.js';

/** Below this score of 100 a connection is worth a warning. */
const WEAK = 40;

export class CallView {
  #room;
  #own;
  #name;
  #grid;
  #sounds = new Sounds(byId('sounds'));
  #light = new RecordingLight();
  /** Own pictures, kept so that an element keeps its stream. @type {Map<MediaStreamTrack, MediaStream>} */
  #previews = new Map();
  #weak = false;
  #off;

  /**
   * @param {import('../tern.js').Room} room
   * @param {import('./own.js').OwnMedia} own
   * @param {string} name
   * @param {Grid} grid  outlives the call: it observes the window
   */
  constructor(room, own, name, grid) {
    this.#room = room;
    this.#own = own;
    this.#name = name;
    this.#grid = grid;
    this.#off = own.on('change', () => this.drawOwn());
    room.on('peer', (peer) => this.#drawPeer(peer));
    room.on('peer-gone', (peer) => this.#grid.remove(peer.id));
    room.on('peer-gone', () => this.#count());
    room.on('track', (track) => this.#drawPeerOf(track));
    room.on('track-gone', (track) => this.#end(track));
    room.on('routed', () => room.peers.forEach((peer) => this.#drawPeer(peer)));
    room.on('local', () => this.drawOwn());
    room.on('speak', (ids) => this.#grid.setSpeaking(new Set(ids)));
    room.on('room', () => this.#drawRoom());
    room.on('quality', (score) => this.#setWeak(score < WEAK));
    room.on('state', (state) => this.#connection(state === 'reconnecting' ? 'Reconnecting…' : ''));
    room.on('media', (state) => this.#media(state));
    this.#drawRoom();
    this.drawOwn();
    room.peers.forEach((peer) => this.#drawPeer(peer));
    this.#count();
  }

  /** A tile's new size: the server sends the picture that fits. */
  sized(/** @type {string} */ id, /** @type {number} */ w, /** @type {number} */ h) {
    const [peer, kind] = id.split(':');
    const track = this.#room.peer(peer)?.track(kind === 'screen' ? 'screen' : 'camera');
    if (track) this.#room.watch(track.id, { w, h, prio: kind === 'screen' ? 1 : 0 });
    this.#sizes.set(id, { w, h });
  }

  /** @type {Map<string, { w: number, h: number }>} */
  #sizes = new Map();

  drawOwn() {
    const { camera, mic, micOn } = this.#own;
    const view = { name: this.#name ? `${this.#name} (you)` : 'You', muted: !mic || !micOn, weak: this.#weak };
    this.#grid.show(this.#room.me, 'camera', { ...view, stream: this.#preview(camera) }, { own: true });
    const screen = this.#room.locals.get('screen')?.media ?? null;
    const id = `${this.#room.me}:screen`;
    if (screen) this.#grid.show(id, 'screen', { ...view, name: 'You', stream: this.#preview(screen) }, { own: true });
    else this.#grid.remove(id);
  }

  close() {
    this.#off();
    this.#grid.clear();
    this.#sounds.clear();
    this.#light.show(null, 'Tern');
    this.#connection('');
  }

  redirect() {
    this.#sounds.redirect();
  }

  /** @param {import('../tern/remote.js').Peer} peer */
  #drawPeer(peer) {
    const { grants } = this.#room;
    const name = peer.name || 'Guest';
    const camera = peer.track('camera');
    const screen = peer.track('screen');
    const mic = peer.track('mic');
    const onMenu = grants.moderate ? (/** @type {HTMLElement} */ button) => openMenu(button, this.#actions(peer)) : undefined;
    const weak = peer.quality !== null && peer.quality < WEAK;
    this.#grid.show(peer.id, 'camera', {
      name, weak, muted: !mic || mic.muted, held: camera?.muted ? undefined : camera?.held, stream: camera?.live ? camera.stream : null,
    }, { onMenu });
    const id = `${peer.id}:screen`;
    if (screen) this.#grid.show(id, 'screen', { name, muted: false, held: screen.held, stream: screen.live ? screen.stream : null });
    else this.#grid.remove(id);
    for (const track of peer.tracks.values()) if (track.kind === 'audio' && track.stream.getTracks().length) this.#sounds.play(track.id, track.stream);
    this.#watchAgain(peer);
    this.#count();
  }

  /** A track that comes after its tile was laid out has not been told its size. @param {import('../tern/remote.js').Peer} peer */
  #watchAgain(peer) {
    for (const id of [peer.id, `${peer.id}:screen`]) {
      const size = this.#sizes.get(id);
      if (size) this.sized(id, size.w, size.h);
    }
  }

  /** @param {import('../tern/remote.js').RemoteTrack} track */
  #drawPeerOf(track) {
    const peer = this.#room.peer(track.peer);
    if (peer) this.#drawPeer(peer);
  }

  /** @param {import('../tern/remote.js').RemoteTrack} track */
  #end(track) {
    this.#sounds.stop(track.id);
    this.#drawPeerOf(track);
  }

  /** What a moderator may do to somebody. @param {import('../tern/remote.js').Peer} peer */
  #actions(peer) {
    const run = (/** @type {Promise<any>} */ action) => action.catch((error) => toast(explain(error), { error: true }));
    const actions = [];
    for (const track of peer.tracks.values()) {
      const word = { mic: 'microphone', camera: 'camera', screen: 'screen', screen_audio: 'screen sound' }[track.source];
      if (track.mutedByModerator) actions.push({ word: `Allow ${word} again`, run: () => run(this.#room.moderateMute(track.id, false)) });
      else if (!track.muted) actions.push({ word: `Mute ${word}`, run: () => run(this.#room.moderateMute(track.id, true)) });
    }
    return [...actions, { word: 'Remove from the room', danger: true, run: () => run(this.#room.kick(peer.id)) }];
  }

  #drawRoom() {
    const { info } = this.#room;
    byId('room-name').textContent = info.name;
    this.#light.show(info.recording, `${info.name} · Tern`);
  }

  #count() {
    const { peers } = this.#room;
    byId('people').textContent = people(peers.length + 1);
    byId('alone').hidden = peers.length > 0;
  }

  /** @param {boolean} weak */
  #setWeak(weak) {
    this.#weak = weak;
    this.drawOwn();
  }

  /** @param {RTCPeerConnectionState} state */
  #media(state) {
    const mesh = this.#room.info.mode === 'mesh';
    if (state === 'connected') this.#connection('');
    else if ((state === 'failed' || state === 'disconnected') && !mesh) this.#connection('Media interrupted…');
    if (state === 'failed' && !mesh) {
      toast('Sound and pictures do not get through to the server. A firewall may block them; we keep trying.', { error: true });
    }
  }

  /** @param {string} text */
  #connection(text) {
    byId('connection').textContent = text;
    byId('connection').hidden = !text;
  }

  /** @param {MediaStreamTrack | null} track */
  #preview(track) {
    if (!track) return null;
    const stream = this.#previews.get(track) ?? new MediaStream([track]);
    this.#previews.set(track, stream);
    return stream;
  }
}

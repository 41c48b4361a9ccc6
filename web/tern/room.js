// @ts-check
/**
 * A room that we are in: who else is there, what they publish, what we publish, and everything one may do.
 *
 * Events:
 *   peer, peer-gone      a Peer came or changed, left
 *   track, track-gone    a RemoteTrack came, changed, ended, or its stream did
 *   local                a LocalTrack was changed by the server or a moderator
 *   room                 the RoomInfo: mode, lock, recording
 *   speak                ids of those who speak, loudest first
 *   message              { from, topic, data }
 *   state                connected, reconnecting (the socket)
 *   media                RTCPeerConnectionState (the way to the server)
 *   closed               it is over: a TernError that says why, or nothing after `leave`
 */

import { Emitter } from './emitter.js';
import { Media } from './media.js';
import { Roster } from './roster.js';
import { Session } from './session.js';

/** Many tiles change size at once; one message tells. */
const WISHES_MS = 100;

export class Room extends Emitter {
  /** Our participant id. */
  me = '';
  /** @type {import('./types.js').RoomInfo} */
  info = { name: '', mode: 'sfu', max_participants: 0 };
  /** @type {import('./types.js').Grants} */
  grants = { publish: [], subscribe: false, moderate: false };
  /** A bearer for the REST API, good for this room. */
  apiToken = '';
  /** What the server can do beyond the protocol: `turn`, `recording`, ... @type {string[]} */
  features = [];

  #options;
  #roster = new Roster();
  #session;
  #media;
  /** @type {Map<string, { track: string }>} what the server should know of each track's use */
  #wishes = new Map();
  #wishesTimer = 0;

  /** @param {import('./types.js').Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#session = new Session(socketUrl(options), (request, hello) => this.#enter(request, hello));
    this.#media = new Media(options, this.#session.request, this.#roster);
    this.#session.on('event', (frame) => this.#apply(frame));
    this.#session.on('resumed', (ok) => this.#welcome(ok));
    this.#session.on('up', () => this.emit('state', 'connected'));
    this.#session.on('away', () => this.#away());
    this.#session.on('over', (error) => this.#over(error));
    for (const event of ['peer', 'track', 'track-gone']) this.#roster.on(event, (value) => this.emit(event, value));
    this.#roster.on('track', () => this.#media.route());
    this.#roster.on('track-gone', (track) => this.#wishes.delete(track.id));
    this.#roster.on('peer-gone', (peer) => {
      this.#media.closeLeg(peer.id);
      this.emit('peer-gone', peer);
    });
    this.#media.on('state', (state) => this.emit('media', state));
    this.#media.on('message', (message) => this.emit('message', message));
    this.#media.on('routed', () => this.emit('routed'));
  }

  /** Enters the room with the media of the options. See `connect`. */
  async join() {
    for (const [source, track] of Object.entries(this.#options.media ?? {})) {
      if (track) await this.#media.publish(/** @type {import('./types.js').Source} */ (source), track, !track.enabled);
    }
    await this.#session.start();
  }

  /** Everybody else. */
  get peers() {
    return [...this.#roster.peers.values()];
  }

  /** @param {string} id */
  peer(id) {
    return this.#roster.peers.get(id);
  }

  /** What we publish. */
  get locals() {
    return this.#media.locals;
  }

  /** The connections, for statistics: the one to the server first. */
  get connections() {
    const legs = [...this.#media.legs.values()].map((leg) => leg.pc);
    return this.#media.transport ? [this.#media.transport.pc, ...legs] : legs;
  }

  /**
   * @param {import('./types.js').Source} source
   * @param {MediaStreamTrack} media
   * @param {{ muted?: boolean }} [options]
   */
  async publish(source, media, { muted = false } = {}) {
    const local = await this.#media.publish(source, media, muted);
    await this.#media.negotiate();
    return local;
  }

  /** @param {import('./types.js').Source} source */
  async unpublish(source) {
    await this.#media.unpublish(source);
    await this.#media.negotiate();
  }

  /**
   * Another device for a published source; null while there is none (mute it, too).
   *
   * @param {import('./types.js').Source} source
   * @param {MediaStreamTrack | null} media
   */
  async replace(source, media) {
    await this.#media.replace(source, media);
  }

  /**
   * @param {import('./types.js').Source} source
   * @param {boolean} muted
   */
  async setMuted(source, muted) {
    const local = this.#media.locals.get(source);
    if (!local || local.muted === muted) return;
    // Silence must not wait for the server.
    local.setMuted(muted);
    this.emit('local', local);
    if (local.id) await this.#session.request('mute', { track: local.id, muted });
  }

  /**
   * How large a track is shown, in CSS pixels times the pixel ratio; the server picks the layer by it.
   *
   * @param {string} track
   * @param {{ on?: boolean, w?: number, h?: number, prio?: number }} wish
   */
  watch(track, wish) {
    const known = this.#wishes.get(track) ?? {};
    const next = { ...known, track, ...wish };
    if (JSON.stringify(known) === JSON.stringify(next)) return;
    this.#wishes.set(track, next);
    this.#wishesTimer ||= setTimeout(() => this.#tellWishes([...this.#wishes.values()]), WISHES_MS);
  }

  /**
   * @param {string} topic
   * @param {any} data  anything JSON
   * @param {{ to?: string[], reliable?: boolean }} [options]  to nobody in particular: to everybody else
   */
  async send(topic, data, { to = [], reliable = true } = {}) {
    if (!reliable && this.#media.transport?.send({ t: 'msg', id: 0, to, topic, data, reliable })) return;
    await this.#session.request('msg', { to, topic, data, reliable });
  }

  /**
   * Moderators only: silences a track at the server, or allows it again.
   *
   * @param {string} track
   * @param {boolean} muted
   */
  moderateMute(track, muted) {
    return this.#session.request('mod', { action: 'mute', track, muted });
  }

  /** @param {string} peer */
  kick(peer) {
    return this.#session.request('mod', { action: 'kick', peer });
  }

  /** @param {boolean} locked */
  lock(locked) {
    return this.#session.request('mod', { action: 'lock', locked });
  }

  /** Leaves for good. */
  leave() {
    this.#session.end();
  }

  /**
   * @param {import('./session.js').Request} request
   * @param {Promise<any>} hello
   */
  async #enter(request, hello) {
    /** @type {Awaited<ReturnType<Media['prepare']>> | null} */
    let prepared = (await Promise.all([this.#media.prepare(), hello]))[0];
    const { room, token, name } = this.#options;
    const { sdp, tracks } = prepared.offer;
    let ok;
    try {
      ok = await request('join', { v: 1, room, token, name, sdp, tracks });
    } catch (error) {
      prepared.transport.close();
      if (/** @type {import('./error.js').TernError} */ (error).code !== 'sfu_disabled') throw error;
      // A mesh room, where the server takes no media at all.
      prepared = null;
      ok = await request('join', { v: 1, room, token, name, tracks: this.#media.meshTracks });
    }
    this.#welcome(ok);
    this.#media.joined(ok, prepared).catch((error) => this.emit('error', error));
    this.#tellWishes([...this.#wishes.values()]);
    return ok;
  }

  /** @param {import('./types.js').Welcome} ok */
  #welcome(ok) {
    this.me = ok.me;
    this.info = ok.room;
    this.grants = ok.grants;
    this.apiToken = ok.api_token;
    this.features = ok.features ?? [];
    this.#roster.reset(ok.peers);
    this.emit('room', this.info);
  }

  /** @param {any} frame */
  #apply(frame) {
    const media = this.#media;
    switch (frame.t) {
      case 'peer': return frame.gone ? this.#roster.removePeer(frame.peer.id) : this.#roster.setPeer(frame.peer);
      case 'track': return frame.gone ? this.#roster.removeTrack(frame.track.id) : this.#roster.setTrack(frame.track);
      case 'mute': return frame.peer === this.me ? this.#mutedByServer(frame) : this.#roster.setMuted(frame);
      case 'slots': return media.setSlots(frame.slots);
      case 'speak': return this.emit('speak', frame.peers);
      case 'quality': return this.#quality(frame);
      case 'msg': return this.emit('message', frame);
      case 'sig': return media.signal(frame);
      case 'room': return this.#changed(frame.room);
      case 'need':
        media.transport?.grow(frame.audio, frame.video);
        return void media.negotiate().catch(() => {});
      case 'layers': {
        const source = [...media.locals.values()].find((local) => local.id === frame.track)?.source;
        if (source === 'camera') media.transport?.setWatched(frame.rids);
      }
    }
  }

  /** @param {import('./types.js').RoomInfo} room */
  #changed(room) {
    const switched = room.mode !== this.info.mode;
    this.info = room;
    if (switched) this.#media.setMode(room.mode);
    this.emit('room', room);
  }

  /** @param {{ track: string, muted_by_moderator: boolean }} change */
  #mutedByServer({ track, muted_by_moderator }) {
    const local = [...this.#media.locals.values()].find((local) => local.id === track);
    if (!local) return;
    local.mutedByModerator = muted_by_moderator;
    // Being allowed to speak again does not open our microphone: that is ours to do.
    if (muted_by_moderator && !local.muted) {
      local.setMuted(true);
      // The others must read it so, too, once the moderator allows sound again.
      this.#session.request('mute', { track, muted: true }).catch(() => {});
    }
    this.emit('local', local);
  }

  /** @param {{ peer: string, score: number }} frame */
  #quality({ peer: id, score }) {
    const peer = this.#roster.peers.get(id);
    if (peer) {
      peer.quality = score;
      this.emit('peer', peer);
    } else if (id === this.me) this.emit('quality', score);
  }

  /** @param {{ track: string }[]} tracks */
  #tellWishes(tracks) {
    clearTimeout(this.#wishesTimer);
    this.#wishesTimer = 0;
    const known = tracks.filter(({ track }) => this.#roster.track(track));
    if (known.length) this.#session.request('sub', { tracks: known }).catch(() => {});
  }

  #away() {
    // An offer without an answer: the server may or may not have taken it, only a new join is certain.
    if (this.#media.dirty) this.#session.forget();
    this.emit('state', 'reconnecting');
  }

  /** @param {Error} [error] */
  #over(error) {
    this.#media.close();
    clearTimeout(this.#wishesTimer);
    this.emit('closed', error);
  }
}

/** @param {import('./types.js').Options} options */
function socketUrl({ url, room }) {
  const base = new URL(url ?? location.origin, location.href);
  base.protocol = base.protocol.replace('http', 'ws');
  return new URL(`/v1/rooms/${encodeURIComponent(room)}/ws`, base).href;
}

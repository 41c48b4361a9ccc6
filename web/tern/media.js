// @ts-check
/**
 * How media gets in and out: our connection to the SFU, the mesh legs, our published tracks on them, and which remote
 * track arrives where. What is said on the socket is the room's business.
 */

import { Emitter } from './emitter.js';
import { configuration } from './ice.js';
import { LocalTrack } from './local.js';
import { LINES, MeshLeg } from './mesh.js';
import { Transport } from './transport.js';

/** Events: `state` (of the way to the server), `routed` (some remote track's stream changed), `message` (lossy data). */
export class Media extends Emitter {
  /** @type {Map<import('./types.js').Source, LocalTrack>} */
  locals = new Map();
  /** @type {Map<string, MeshLeg>} by peer */
  legs = new Map();
  /** @type {Transport | null} */
  transport = null;
  /** Whether the server may not know what we publish. */
  dirty = false;

  #options;
  #request;
  #roster;
  /** @type {import('./types.js').Mode} */
  #mode = 'sfu';
  /** @type {RTCConfiguration} */
  #config = {};
  /** @type {Map<string, import('./types.js').Slot>} by mid */
  #slots = new Map();
  #negotiation = Promise.resolve();
  #meshEpoch = 1;

  /**
   * @param {import('./types.js').Options} options
   * @param {import('./session.js').Request} request
   * @param {import('./roster.js').Roster} roster
   */
  constructor(options, request, roster) {
    super();
    this.#options = options;
    this.#request = request;
    this.#roster = roster;
  }

  /** A fresh connection and the offer that rides inside `join`. */
  async prepare() {
    const transport = new Transport(configuration(this.#options));
    return { transport, offer: await transport.offer(this.locals.values()) };
  }

  /** What is published in a mesh room, where no m-line of ours carries it. */
  get meshTracks() {
    return [...this.locals.values()].map(({ source, muted }) => ({ mid: '', src: source, muted }));
  }

  /**
   * We are in: the prepared connection replaces the last one.
   *
   * @param {import('./types.js').Welcome & import('./types.js').Answer} ok
   * @param {{ transport: Transport, offer: import('./transport.js').PendingOffer } | null} prepared  null: mesh only
   */
  async joined(ok, prepared) {
    this.close();
    this.#config = configuration(this.#options, ok);
    this.#slots.clear();
    this.#meshEpoch = 1;
    if (prepared) this.#use(prepared.transport);
    this.#take(prepared?.offer.tracks ?? this.meshTracks, ok);
    await this.setMode(ok.mode);
    // Who came after us offers to us.
    const before = ok.mode === 'sfu' ? [] : ok.peers.filter(({ id }) => this.#roster.peers.has(id) && !this.legs.has(id));
    for (const { id } of before) this.#openLeg(id, true, 1);
    if (prepared && ok.sdp) await prepared.transport.accept(prepared.offer, ok, this.#config);
    this.route();
    this.dirty = false;
  }

  /** @param {import('./types.js').Mode} mode */
  async setMode(mode) {
    this.#mode = mode;
    const toServer = mode !== 'mesh';
    if (toServer && !this.transport) {
      this.#use(new Transport(this.#config));
      this.negotiate().catch(() => {});
    }
    await Promise.all([...this.locals.values()].map((local) => this.#setServerLeg(local, toServer)));
    if (mode === 'sfu') for (const peer of [...this.legs.keys()]) this.closeLeg(peer);
    this.route();
  }

  /** @param {import('./types.js').Slot[]} slots */
  setSlots(slots) {
    for (const slot of slots) this.#slots.set(slot.mid, slot);
    this.route();
  }

  /**
   * @param {import('./types.js').Source} source
   * @param {MediaStreamTrack | null} media
   * @param {boolean} muted
   */
  async publish(source, media, muted) {
    const local = new LocalTrack(source, media, muted);
    this.locals.set(source, local);
    if (this.transport && this.#mode !== 'mesh') await this.#setServerLeg(local, true);
    for (const leg of this.legs.values()) await this.#attach(local, leg);
    return local;
  }

  /**
   * Another device's track for a source, or none.
   *
   * @param {import('./types.js').Source} source
   * @param {MediaStreamTrack | null} media
   */
  async replace(source, media) {
    const local = this.locals.get(source);
    await local?.setMedia(media);
    if (local?.legs.includes('sfu')) await this.transport?.fit(local);
  }

  /** @param {import('./types.js').Source} source */
  async unpublish(source) {
    const local = this.locals.get(source);
    this.locals.delete(source);
    for (const leg of local?.legs ?? []) await local?.dropLeg(leg);
  }

  /**
   * Tells the server what we publish. One offer at a time; what changed while one was under way goes with the next.
   *
   * @param {RTCOfferOptions} [options]
   * @returns {Promise<void>}
   */
  negotiate(options) {
    this.dirty = true;
    const turn = this.#negotiation.then(async () => {
      const transport = this.transport;
      const offer = await transport?.offer(this.locals.values(), options);
      const tracks = offer?.tracks ?? this.meshTracks;
      const ok = await this.#request('offer', { epoch: offer?.epoch ?? ++this.#meshEpoch, sdp: offer?.sdp, tracks });
      if (transport !== this.transport) return;
      this.#take(tracks, ok);
      if (transport && offer) await transport.accept(offer, ok, this.#config);
      this.route();
      this.dirty = false;
    });
    this.#negotiation = turn.catch(() => {});
    return turn;
  }

  /**
   * A mesh leg's signalling from somebody.
   *
   * @param {{ from: string, epoch?: number, desc?: RTCSessionDescriptionInit, cand?: RTCIceCandidateInit | null }} frame
   */
  signal({ from, epoch = 0, desc, cand }) {
    let leg = this.legs.get(from);
    if (desc?.type === 'offer' && (!leg || epoch > leg.epoch)) {
      this.closeLeg(from);
      leg = this.#openLeg(from, false, epoch);
    }
    // What belongs to a connection that is over comes too late.
    if (leg?.epoch === epoch) leg.handle({ desc, cand });
  }

  /** @param {string} peer */
  closeLeg(peer) {
    this.legs.get(peer)?.close();
    this.legs.delete(peer);
    for (const local of this.locals.values()) local.dropLeg(`mesh:${peer}`);
  }

  /** Connects every remote track's stream with what arrives for it now. */
  route() {
    const slots = new Map([...this.#slots.values()].map((slot) => [slot.track, slot]));
    for (const track of this.#roster.tracks) {
      const slot = slots.get(track.id);
      const toSfu = slot && this.#mode !== 'mesh' ? (this.transport?.incoming(slot.mid) ?? null) : null;
      track.setLeg('sfu', toSfu);
      track.setLeg('mesh', this.legs.get(track.peer)?.incoming(track.source) ?? null);
      track.held = slot && !slot.on ? (slot.why ?? 'unsubscribed') : undefined;
    }
    this.emit('routed');
  }

  close() {
    for (const peer of [...this.legs.keys()]) this.closeLeg(peer);
    this.transport?.close();
    this.transport = null;
  }

  /** @param {Transport} transport */
  #use(transport) {
    this.transport = transport;
    transport.on('state', (state) => this.#changed(transport, state));
    transport.on('message', (message) => this.emit('message', message));
  }

  /**
   * What an `ok` says, at once: events that come while its SDP is applied are newer.
   *
   * @param {import('./types.js').Intent[]} tracks
   * @param {{ own?: string[], slots?: import('./types.js').Slot[] }} ok
   */
  #take(tracks, { own = [], slots = [] }) {
    tracks.forEach(({ src }, n) => {
      const local = this.locals.get(src);
      if (local && own[n]) local.id = own[n];
    });
    this.setSlots(slots);
  }

  /**
   * @param {LocalTrack} local
   * @param {boolean} on
   */
  async #setServerLeg(local, on) {
    const sender = this.transport?.sender(local.source);
    if (!on || !sender) return local.dropLeg('sfu');
    await local.addLeg('sfu', sender);
    await this.transport?.fit(local);
  }

  /**
   * @param {string} peer
   * @param {boolean} polite
   * @param {number} epoch
   */
  #openLeg(peer, polite, epoch) {
    const signal = (/** @type {object} */ body) => this.#request('sig', body);
    const leg = new MeshLeg({ peer, polite, epoch, config: this.#config, signal });
    this.legs.set(peer, leg);
    const attach = () => Promise.all([...this.locals.values()].map((local) => this.#attach(local, leg)));
    if (polite) attach();
    leg.on('incoming', () => attach().then(() => this.route()));
    leg.on('state', (state) => this.emit('leg', { peer, state }));
    return leg;
  }

  /**
   * @param {LocalTrack} local
   * @param {MeshLeg} leg
   */
  async #attach(local, leg) {
    const sender = LINES.includes(local.source) ? leg.sender(local.source) : undefined;
    if (sender) await local.addLeg(`mesh:${leg.peer}`, sender);
  }

  /**
   * @param {Transport} transport
   * @param {RTCPeerConnectionState} state
   */
  #changed(transport, state) {
    if (transport !== this.transport) return;
    this.emit('state', state);
    if (state === 'failed') this.negotiate({ iceRestart: true }).catch(() => {});
  }
}

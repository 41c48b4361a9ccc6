// @ts-check
/**
 * A direct connection to one participant of a mesh room.
 *
 * The later joiner offers first and is the polite side of perfect negotiation. The first offer has four m-lines, always
 * in the order of [`LINES`]; who publishes what on them is told by the server's `track` events, so switching a camera
 * on needs no further offer.
 */

import { Emitter } from './emitter.js';

/** @type {import('./types.js').Source[]} */
export const LINES = ['mic', 'camera', 'screen', 'screen_audio'];

/** Events: `incoming` (the receivers are there), `state` (RTCPeerConnectionState). */
export class MeshLeg extends Emitter {
  #pc;
  #signal;
  #polite;
  #offering = false;
  #ignoring = false;
  /** Signals are handled one after the other: a candidate must not overtake its description. */
  #queue = Promise.resolve();

  /**
   * @param {object} parts
   * @param {string} parts.peer
   * @param {boolean} parts.polite  we joined later
   * @param {number} parts.epoch
   * @param {RTCConfiguration} parts.config
   * @param {(body: object) => Promise<any>} parts.signal
   */
  constructor({ peer, polite, epoch, config, signal }) {
    super();
    this.peer = peer;
    this.epoch = epoch;
    this.#polite = polite;
    this.#signal = (/** @type {object} */ body) => signal({ to: peer, epoch, ...body }).catch(() => {});
    this.#pc = new RTCPeerConnection(config);
    this.#pc.onicecandidate = ({ candidate }) => candidate && this.#signal({ cand: candidate.toJSON() });
    this.#pc.onnegotiationneeded = () => this.#offer();
    this.#pc.onconnectionstatechange = () => this.#changed();
    if (polite) for (const source of LINES) this.#pc.addTransceiver(kindOf(source), { direction: 'sendrecv' });
  }

  /** For statistics. */
  get pc() {
    return this.#pc;
  }

  /** @param {import('./types.js').Source} source */
  sender(source) {
    return this.#pc.getTransceivers()[LINES.indexOf(source)]?.sender;
  }

  /** @param {import('./types.js').Source} source */
  incoming(source) {
    return this.#pc.getTransceivers()[LINES.indexOf(source)]?.receiver.track ?? null;
  }

  /** @param {{ desc?: RTCSessionDescriptionInit, cand?: RTCIceCandidateInit | null }} signal */
  handle(signal) {
    this.#queue = this.#queue.then(() => this.#handle(signal)).catch((error) => {
      if (this.#pc.signalingState !== 'closed') console.warn('tern: mesh signal refused', error);
    });
    return this.#queue;
  }

  close() {
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  async #offer() {
    try {
      this.#offering = true;
      await this.#pc.setLocalDescription();
      this.#signal({ desc: this.#pc.localDescription?.toJSON() });
    } finally {
      this.#offering = false;
    }
  }

  /** @param {{ desc?: RTCSessionDescriptionInit, cand?: RTCIceCandidateInit | null }} signal */
  async #handle({ desc, cand }) {
    if (!desc) {
      if (cand && !this.#ignoring) await this.#pc.addIceCandidate(cand);
      return;
    }
    const collision = desc.type === 'offer' && (this.#offering || this.#pc.signalingState !== 'stable');
    this.#ignoring = collision && !this.#polite;
    if (this.#ignoring) return;
    await this.#pc.setRemoteDescription(desc);
    if (desc.type === 'offer') {
      for (const transceiver of this.#pc.getTransceivers()) transceiver.direction = 'sendrecv';
      this.emit('incoming');
      await this.#pc.setLocalDescription();
      this.#signal({ desc: this.#pc.localDescription?.toJSON() });
    } else {
      this.emit('incoming');
    }
  }

  #changed() {
    this.emit('state', this.#pc.connectionState);
    // One side is enough, and with two they would collide for nothing.
    if (this.#pc.connectionState === 'failed' && this.#polite) this.#pc.restartIce();
  }
}

/** @param {import('./types.js').Source} source */
function kindOf(source) {
  return source === 'mic' || source === 'screen_audio' ? 'audio' : 'video';
}

// @ts-check
/** Our one connection to the server's SFU: slots in, published tracks out, a data channel. It always offers. */

import { Emitter } from './emitter.js';
import { AUDIO_SLOTS, VIDEO_SLOTS, addSlots, cameraLayers, midsOf } from './layout.js';

/**
 * @typedef {{ sdp: string, mids: string[], epoch: number, tracks: import('./types.js').Intent[] }} PendingOffer
 *
 * Events: `state` (RTCPeerConnectionState), `message` (an object from the data channel).
 */
export class Transport extends Emitter {
  #pc;
  #channel;
  #epoch = 0;
  /** @type {Map<import('./types.js').Source, RTCRtpTransceiver>} */
  #outgoing = new Map();
  #layers = cameraLayers(1280);
  /** @type {string[] | null} rids that somebody watches; null: nobody told */
  #watched = null;
  #encoding = Promise.resolve();

  /** @param {RTCConfiguration} config */
  constructor(config) {
    super();
    this.#pc = new RTCPeerConnection(config);
    this.grow(AUDIO_SLOTS, VIDEO_SLOTS);
    this.#channel = this.#pc.createDataChannel('tern', { ordered: false, maxRetransmits: 0 });
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#pc.onconnectionstatechange = () => this.emit('state', this.#pc.connectionState);
  }

  /** For statistics. */
  get pc() {
    return this.#pc;
  }

  /**
   * Makes room for so many remote tracks in all; the next offer carries it.
   *
   * @param {number} audio
   * @param {number} video
   */
  grow(audio, video) {
    for (const [source, transceiver] of addSlots(this.#pc, 'audio', audio)) this.#outgoing.set(source, transceiver);
    for (const [source, transceiver] of addSlots(this.#pc, 'video', video)) this.#outgoing.set(source, transceiver);
  }

  /**
   * An offer that is not applied yet: gathering starts with `accept`, when the server's TURN credentials are known,
   * and a refused offer leaves nothing behind.
   *
   * @param {Iterable<import('./local.js').LocalTrack>} published
   * @param {RTCOfferOptions} [options]
   * @returns {Promise<PendingOffer>}
   */
  async offer(published, options) {
    const { sdp = '' } = await this.#pc.createOffer(options);
    const mids = midsOf(sdp);
    const transceivers = this.#pc.getTransceivers();
    const tracks = [...published].map(({ source, muted }) => {
      const line = transceivers.indexOf(/** @type {RTCRtpTransceiver} */ (this.#outgoing.get(source)));
      return { mid: mids[line], src: source, muted };
    });
    return { sdp, mids, epoch: this.#epoch + 1, tracks };
  }

  /**
   * @param {PendingOffer} offer
   * @param {import('./types.js').Answer} answer
   * @param {RTCConfiguration} config  with what the server's welcome adds
   */
  async accept(offer, answer, config) {
    this.#pc.setConfiguration(config);
    await this.#pc.setLocalDescription({ type: 'offer', sdp: offer.sdp });
    await this.#pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    this.#epoch = answer.epoch;
  }

  /** @param {import('./types.js').Source} source */
  sender(source) {
    return this.#outgoing.get(source)?.sender;
  }

  /**
   * What arrives on a slot.
   *
   * @param {string} mid
   * @returns {MediaStreamTrack | null}
   */
  incoming(mid) {
    return this.#pc.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver.track ?? null;
  }

  /**
   * Encodes a track as its size asks for.
   *
   * @param {import('./local.js').LocalTrack} local
   */
  async fit({ source, media }) {
    const { width = 0, height = 0 } = media?.getSettings() ?? {};
    if (source === 'camera' && media) this.#layers = cameraLayers(Math.max(width, height));
    await this.#encode();
  }

  /**
   * Encodes only what somebody watches.
   *
   * @param {string[]} rids  of the camera
   */
  async setWatched(rids) {
    this.#watched = rids;
    await this.#encode();
  }

  /** Brings what the camera's size allows and what is watched into effect, one change after the other. */
  #encode() {
    this.#encoding = this.#encoding.then(async () => {
      const sender = this.sender('camera');
      const parameters = sender?.getParameters();
      if (!sender || !parameters?.encodings) return;
      parameters.encodings.forEach((encoding, n) => {
        const layer = this.#layers[n];
        const watched = !this.#watched || this.#watched.includes(encoding.rid ?? '');
        Object.assign(encoding, layer, { active: layer.active && watched });
      });
      await sender.setParameters(parameters).catch(() => {});
    });
    return this.#encoding;
  }

  /**
   * @param {object} message
   * @returns {boolean} false when the channel is not open: take the socket
   */
  send(message) {
    if (this.#channel.readyState !== 'open') return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  close() {
    this.#pc.onconnectionstatechange = null;
    this.#channel.onmessage = null;
    this.#pc.close();
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    try {
      this.emit('message', JSON.parse(typeof data === 'string' ? data : new TextDecoder().decode(data)));
    } catch {
      // Lossy data of somebody else's making; what cannot be read is as good as lost.
    }
  }
}

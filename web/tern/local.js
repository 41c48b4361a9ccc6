// @ts-check
/** A track that we publish. It has legs, the senders it goes out on; whoever changes the track need not know them. */

export class LocalTrack {
  /** @type {Map<string, RTCRtpSender>} `sfu` or `mesh:<peer>` to the sender */
  #legs = new Map();

  /**
   * @param {import('./types.js').Source} source
   * @param {MediaStreamTrack | null} media
   * @param {boolean} muted
   */
  constructor(source, media, muted) {
    this.source = source;
    this.media = media;
    this.muted = muted;
    this.mutedByModerator = false;
    /** @type {string | null} the server's id, once it gave one */
    this.id = null;
    this.#enable();
  }

  get kind() {
    return this.source === 'mic' || this.source === 'screen_audio' ? 'audio' : 'video';
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted;
    this.#enable();
  }

  /**
   * Another device's track, or none (a camera that is switched off), on all legs.
   *
   * @param {MediaStreamTrack | null} media
   */
  async setMedia(media) {
    this.media = media;
    this.#enable();
    await Promise.all([...this.#legs.values()].map((sender) => sender.replaceTrack(media)));
  }

  /**
   * @param {string} name
   * @param {RTCRtpSender} sender
   */
  async addLeg(name, sender) {
    if (this.#legs.get(name) === sender) return;
    this.#legs.set(name, sender);
    await sender.replaceTrack(this.media);
  }

  /** @param {string} name */
  async dropLeg(name) {
    const sender = this.#legs.get(name);
    this.#legs.delete(name);
    // A closed connection's sender needs no clearing and refuses it.
    if (sender) await sender.replaceTrack(null).catch(() => {});
  }

  get legs() {
    return [...this.#legs.keys()];
  }

  #enable() {
    if (this.media) this.media.enabled = !this.muted;
  }
}

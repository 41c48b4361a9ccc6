// @ts-check
/** Somebody else: participants and their tracks. An element follows a track's `stream`, not the connection it comes over. */

/** A track that somebody else publishes. */
export class RemoteTrack {
  /** @type {Map<string, MediaStreamTrack>} `sfu` or `mesh` to what arrives there */
  #legs = new Map();

  /**
   * @param {import('./types.js').WireTrack} wire
   */
  constructor(wire) {
    this.id = wire.id;
    this.peer = wire.peer;
    this.source = wire.src;
    this.muted = false;
    this.mutedByModerator = false;
    /** @type {string | undefined} why the server sends nothing: muted, unsubscribed, last_n, bandwidth */
    this.held = undefined;
    /** For the `srcObject` of an element, for as long as the track is published. */
    this.stream = new MediaStream();
    this.update(wire);
  }

  get kind() {
    return this.source === 'mic' || this.source === 'screen_audio' ? 'audio' : 'video';
  }

  /** Whether there is something to render now. */
  get live() {
    return this.stream.getTracks().length > 0 && !this.muted && !this.held;
  }

  /** @param {import('./types.js').WireTrack} wire */
  update(wire) {
    this.muted = wire.muted ?? false;
    this.mutedByModerator = wire.muted_by_moderator ?? false;
    this.codec = wire.codec;
  }

  /**
   * What arrives for this track on a leg, or null when nothing does any more. The SFU's leg is preferred.
   *
   * @param {'sfu' | 'mesh'} leg
   * @param {MediaStreamTrack | null} media
   */
  setLeg(leg, media) {
    if (media) this.#legs.set(leg, media);
    else this.#legs.delete(leg);
    const chosen = this.#legs.get('sfu') ?? this.#legs.get('mesh');
    for (const track of this.stream.getTracks()) if (track !== chosen) this.stream.removeTrack(track);
    if (chosen && !this.stream.getTracks().includes(chosen)) this.stream.addTrack(chosen);
  }
}

/** Another participant. */
export class Peer {
  /** @type {Map<string, RemoteTrack>} by track id */
  tracks = new Map();

  /**
   * @param {string} id
   * @param {string} name
   */
  constructor(id, name) {
    this.id = id;
    this.name = name;
    /** 0 to 100, once the server told */
    this.quality = /** @type {number | null} */ (null);
  }

  /** @param {import('./types.js').Source} source */
  track(source) {
    return [...this.tracks.values()].find((track) => track.source === source);
  }
}

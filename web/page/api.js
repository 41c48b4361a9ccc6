// @ts-check
/** The REST API as the page uses it: plain fetches with the room's bearer, errors as the library's. */

import { TernError } from '../tern.js';

/** Recordings that are listed at once. */
export const PAGE = 100;

/**
 * @typedef {object} RecordedFile
 * @property {string} name
 * @property {number} size
 * @property {string[]} codecs
 * @property {import('../tern/types.js').Source[]} sources
 * @property {string} participant
 * @property {string} participant_name
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {string} [url]   good by itself for a while; only of a recording that was asked for by itself
 *
 * @typedef {object} Progress   while a recording is not ready
 * @property {number} bytes
 * @property {number} stored
 * @property {number} [percent]   of it is in storage; absent while it grows
 * @property {number} participants   that are recorded now
 *
 * @typedef {object} Recording
 * @property {string} id
 * @property {string} room
 * @property {string} state    starting recording paused finalising uploading ready failed
 * @property {number} started_ms
 * @property {number} [ended_ms]
 * @property {number} duration_ms
 * @property {number} size
 * @property {{ id: string, name: string }[]} participants
 * @property {Progress} [progress]
 * @property {RecordedFile[]} files
 * @property {string} [error]
 */

export class Api {
  #token;
  #room;

  /**
   * @param {string} room
   * @param {() => string} token  of the room's last `ok`: that of a guest ends with the socket
   */
  constructor(room, token) {
    this.#room = encodeURIComponent(room);
    this.#token = token;
  }

  startRecording() {
    return this.#call('POST', `/v1/rooms/${this.#room}/recording`);
  }

  stopRecording() {
    return this.#call('DELETE', `/v1/rooms/${this.#room}/recording`);
  }

  pauseRecording() {
    return this.#call('POST', `/v1/rooms/${this.#room}/recording/pause`);
  }

  resumeRecording() {
    return this.#call('POST', `/v1/rooms/${this.#room}/recording/resume`);
  }

  /** @param {string} recording */
  deleteRecording(recording) {
    return this.#call('DELETE', `/v1/recordings/${recording}`);
  }

  /**
   * @param {string} [before]  only those that are older than this one
   * @returns {Promise<Recording[]>} newest first, at most `PAGE`
   */
  async recordings(before) {
    const older = before ? `&before=${before}` : '';
    return (await this.#call('GET', `/v1/recordings?room=${this.#room}&limit=${PAGE}${older}`)).recordings;
  }

  /**
   * An URL that a media element can load by itself: elements send no bearer. It is asked for anew each time, as it
   * expires.
   *
   * @param {string} recording
   * @param {string} file
   * @returns {Promise<string>}
   */
  async link(recording, file) {
    /** @type {Recording} */
    const { files } = await this.#call('GET', `/v1/recordings/${recording}`);
    const url = files.find(({ name }) => name === file)?.url;
    if (!url) throw new TernError('recording_not_found');
    return url;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {Promise<any>}
   */
  async #call(method, path) {
    const headers = { authorization: `Bearer ${this.#token()}`, accept: 'application/json' };
    const response = await fetch(path, { method, headers }).catch(() => {
      throw new TernError('unreachable');
    });
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new TernError(body.code ?? 'internal', body.detail ?? body.title ?? `The server said ${response.status}`);
    return body;
  }
}

/**
 * What the server says of itself; nothing when it does not.
 *
 * @returns {Promise<{ https_port?: number | null, guests?: 'off' | 'join' | 'moderate' }>}
 */
export async function serverInfo() {
  try {
    const response = await fetch('/v1/info');
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

// @ts-check
/** One WebSocket of `rooms/1`: requests with one reply each, numbered events. It knows frames, not rooms. */

import { Emitter } from './emitter.js';
import { TernError } from './error.js';

/** A server that says nothing for so long is not there. */
const PATIENCE_MS = 15_000;

/**
 * Events: `event` (a frame) and `close`, once.
 */
export class Socket extends Emitter {
  #ws;
  #next = 1;
  /** @type {Map<number, { resolve: (ok: any) => void, reject: (error: TernError) => void, timer: number }>} */
  #pending = new Map();
  #opened = /** @type {PromiseWithResolvers<any>} */ (withResolvers());

  /** @param {string} url */
  constructor(url) {
    super();
    this.#ws = new WebSocket(url);
    this.#ws.onmessage = (message) => this.#receive(JSON.parse(message.data));
    this.#ws.onclose = () => this.#lost();
    const timer = setTimeout(() => this.close(), PATIENCE_MS);
    this.#opened.promise.then(() => clearTimeout(timer), () => clearTimeout(timer));
  }

  /** The server's `hello`. Rejects with `unreachable`. */
  get hello() {
    return this.#opened.promise;
  }

  /**
   * @param {string} type
   * @param {object} [body]
   * @returns {Promise<any>} the `ok` frame
   */
  request(type, body = {}) {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.reject(new TernError('unreachable'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, { t: 'err', code: 'timeout' }), PATIENCE_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#ws.send(JSON.stringify({ t: type, id, ...body }));
    });
  }

  close() {
    this.#ws.close(1000);
    // A dead link would otherwise keep the closing handshake, and us, waiting.
    this.#lost();
  }

  /** @param {any} frame */
  #receive(frame) {
    if (frame.t === 'ok' || frame.t === 'err') this.#settle(frame.id, frame);
    else if (frame.t === 'hello') this.#opened.resolve(frame);
    else this.emit('event', frame);
  }

  /**
   * @param {number} id
   * @param {any} frame
   */
  #settle(id, frame) {
    const waiting = this.#pending.get(id);
    if (!waiting) return;
    this.#pending.delete(id);
    clearTimeout(waiting.timer);
    if (frame.t === 'ok') waiting.resolve(frame);
    else waiting.reject(new TernError(frame.code, frame.msg, frame.retry_ms));
  }

  #lost() {
    if (this.#ws.onclose === null) return;
    this.#ws.onclose = null;
    this.#ws.onmessage = null;
    this.#opened.reject(new TernError('unreachable'));
    for (const id of [...this.#pending.keys()]) this.#settle(id, { t: 'err', code: 'unreachable' });
    this.emit('close');
  }
}

/** `Promise.withResolvers`, which browsers of 2023 lack. */
function withResolvers() {
  /** @type {any} */
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  parts.promise.catch(() => {});
  return parts;
}

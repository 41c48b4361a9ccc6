// @ts-check
/**
 * A stay in a room across sockets: enter, notice a lost socket, come back (resume, else join again), end for good.
 *
 *     entering --ok--> up --socket lost, leave{rejoin|resume}--> away --ok--> up
 *         \--refused--> over <--leave{stop}, refused, end()--------/
 */

import { Emitter } from './emitter.js';
import { TernError, isPassing } from './error.js';
import { Socket } from './socket.js';

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 8_000;

/** @typedef {(type: string, body?: object) => Promise<any>} Request */

/** Events: `event` (a frame), `resumed` (the ok frame), `away`, `up`, `over` (a TernError, or nothing after `end`). */
export class Session extends Emitter {
  #url;
  #join;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {{ session: string, resume: string } | null} */
  #ticket = null;
  #last = 0;
  #over = false;

  /**
   * @param {string} url
   * @param {(request: Request, hello: Promise<any>) => Promise<any>} join  joins on a socket, resolves to the ok frame
   */
  constructor(url, join) {
    super();
    this.#url = url;
    this.#join = join;
  }

  /** @type {Request} */
  request = (type, body) => this.#socket?.request(type, body) ?? Promise.reject(new TernError('unreachable'));

  /** The first time. Rejects without trying again: the caller decides. */
  async start() {
    try {
      await this.#enter();
    } catch (error) {
      this.#over = true;
      this.#socket?.close();
      throw error;
    }
  }

  /** Leaves for good. */
  end() {
    if (this.#over) return;
    this.#over = true;
    this.request('bye', { reason: 'left' }).catch(() => {});
    this.#socket?.close();
    this.emit('over');
  }

  /** The state here and there may differ: do not resume, join anew next time. */
  forget() {
    this.#ticket = null;
  }

  async #enter() {
    const socket = new Socket(this.#url);
    this.#socket = socket;
    socket.on('event', (frame) => this.#receive(frame));
    const ok = await this.#admit(socket);
    // A server that cannot resume hands out no secret.
    this.#ticket = ok.resume ? { session: ok.session, resume: ok.resume } : null;
    socket.on('close', () => this.#lost(socket));
    this.emit('up');
  }

  /** @param {Socket} socket */
  async #admit(socket) {
    /** @type {Request} */
    const request = (type, body) => socket.request(type, body);
    if (this.#ticket) {
      await socket.hello;
      const ticket = { ...this.#ticket, last: this.#last };
      // A secret works once, whatever comes of it.
      this.#ticket = null;
      try {
        const ok = await request('resume', ticket);
        this.emit('resumed', ok);
        return ok;
      } catch (error) {
        if (error instanceof TernError && error.code === 'unreachable') throw error;
      }
    }
    this.#last = 0;
    return this.#join(request, socket.hello);
  }

  /** @param {any} frame */
  #receive(frame) {
    if (frame.seq) this.#last = frame.seq;
    if (frame.t !== 'leave') return this.emit('event', frame);
    if (frame.action === 'stop') return this.#finish(new TernError(frame.reason, frame.msg));
    if (frame.action === 'rejoin') this.#ticket = null;
    this.#socket?.close();
  }

  /** @param {Socket} socket */
  #lost(socket) {
    if (this.#over || socket !== this.#socket) return;
    this.emit('away');
    this.#comeBack();
  }

  async #comeBack() {
    let wait = FIRST_RETRY_MS;
    while (!this.#over) {
      await backOnline(wait * (0.75 + Math.random() / 2));
      if (this.#over) return;
      try {
        return await this.#enter();
      } catch (error) {
        this.#socket?.close();
        if (!isPassing(error)) return this.#finish(/** @type {TernError} */ (error));
        wait = Math.max(Math.min(wait * 2, LAST_RETRY_MS), /** @type {TernError} */ (error).retryMs);
      }
    }
  }

  /** @param {TernError} error */
  #finish(error) {
    if (this.#over) return;
    this.#over = true;
    this.#socket?.close();
    this.emit('over', error);
  }
}

/**
 * Waits, but not a moment longer than the network is away.
 *
 * @param {number} ms
 */
function backOnline(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
  });
}

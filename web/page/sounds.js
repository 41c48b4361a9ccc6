// @ts-check
/** What is to be heard: one audio element for each remote sound. */

import { choice } from './devices.js';
import { make } from './dom.js';
import { toast } from './toast.js';

export class Sounds {
  /** @type {Map<string, HTMLAudioElement>} */
  #elements = new Map();
  #box;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.#box = box;
  }

  /**
   * @param {string} id
   * @param {MediaStream} stream
   */
  play(id, stream) {
    let element = this.#elements.get(id);
    if (!element) {
      element = /** @type {HTMLAudioElement} */ (make('audio', { autoplay: true }));
      this.#elements.set(id, element);
      this.#box.append(element);
      this.#direct(element);
    }
    if (element.srcObject !== stream) element.srcObject = stream;
    element.play().catch((error) => {
      if (error.name === 'NotAllowedError') {
        toast('Your browser holds the sound back.', { action: { word: 'Turn on sound', run: () => this.#unlock() } });
      }
    });
  }

  /** @param {string} id */
  stop(id) {
    const element = this.#elements.get(id);
    if (!element) return;
    element.srcObject = null;
    element.remove();
    this.#elements.delete(id);
  }

  clear() {
    for (const id of [...this.#elements.keys()]) this.stop(id);
  }

  /** After another speaker was chosen. */
  redirect() {
    for (const element of this.#elements.values()) this.#direct(element);
  }

  /** @param {any} element */
  #direct(element) {
    const { speaker } = choice();
    if (element.setSinkId) element.setSinkId(speaker ?? '').catch(() => {});
  }

  #unlock() {
    for (const element of this.#elements.values()) element.play().catch(() => {});
  }
}

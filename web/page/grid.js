// @ts-check
/** All tiles of the call and where they are. It knows ids and views, not rooms. */

import { pack, spotlight } from './pack.js';
import { Tile } from './tile.js';

export class Grid {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #element;
  #onSize;
  #frame = 0;

  /**
   * @param {HTMLElement} element
   * @param {(id: string, width: number, height: number) => void} onSize  a tile's size in device pixels
   */
  constructor(element, onSize) {
    this.#element = element;
    this.#onSize = onSize;
    new ResizeObserver(() => this.#layOut()).observe(element);
  }

  /**
   * @param {string} id
   * @param {'camera' | 'screen'} kind
   * @param {import('./tile.js').View} view
   * @param {{ own?: boolean, onMenu?: (button: HTMLElement) => void }} [options]
   */
  show(id, kind, view, options) {
    let tile = this.#tiles.get(id);
    if (!tile) {
      tile = new Tile(kind, options);
      this.#tiles.set(id, tile);
      // We are last in our own view: the others are what we came for.
      const own = [...this.#tiles.values()].find((other) => other.element.classList.contains('own'));
      this.#element.insertBefore(tile.element, options?.own ? null : (own?.element ?? null));
      this.#later();
    }
    tile.show(view);
  }

  /** @param {string} id */
  remove(id) {
    this.#tiles.get(id)?.remove();
    if (this.#tiles.delete(id)) this.#later();
  }

  clear() {
    for (const id of [...this.#tiles.keys()]) this.remove(id);
  }

  /** @param {Set<string>} ids */
  setSpeaking(ids) {
    for (const [id, tile] of this.#tiles) tile.setSpeaking(ids.has(id));
  }

  get ids() {
    return [...this.#tiles.keys()];
  }

  /** Several changes, one layout. */
  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#layOut();
    });
  }

  #layOut() {
    const area = { x: 0, y: 0, w: this.#element.clientWidth, h: this.#element.clientHeight };
    if (!area.w || !area.h) return;
    const gap = parseFloat(getComputedStyle(this.#element).getPropertyValue('--gap')) * 16 || 8;
    const order = [...this.#element.children];
    const tiles = [...this.#tiles.entries()].sort(([, a], [, b]) => order.indexOf(a.element) - order.indexOf(b.element));
    const screens = tiles.filter(([, tile]) => tile.kind === 'screen');
    const people = tiles.filter(([, tile]) => tile.kind === 'camera');
    const rects = screens.length
      ? spotlight(screens.length, people.length, area, gap)
      : { large: [], small: pack(people.length, area, gap) };
    screens.forEach(([id, tile], n) => this.#place(id, tile, rects.large[n]));
    people.forEach(([id, tile], n) => this.#place(id, tile, rects.small[n]));
  }

  /**
   * @param {string} id
   * @param {Tile} tile
   * @param {import('./pack.js').Rect} rect
   */
  #place(id, tile, rect) {
    tile.place(rect);
    const ratio = devicePixelRatio || 1;
    this.#onSize(id, Math.round(rect.w * ratio), Math.round(rect.h * ratio));
  }
}

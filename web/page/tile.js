// @ts-check
/** One rectangle of the call: a person with or without a picture, or a shared screen. */

import { avatar, icon, make } from './dom.js';

/** Why the server holds a picture back, for people. @type {Record<string, string>} */
const HELD = {
  bandwidth: 'Video paused: the connection is too slow',
  last_n: 'Video paused: many people are here',
  unsubscribed: 'Video paused',
};

/**
 * @typedef {object} View
 * @property {string} name
 * @property {MediaStream | null} stream   the picture, if there is one to show
 * @property {boolean} muted               nothing is to be heard
 * @property {string} [held]               why the picture is held back
 * @property {boolean} [weak]              the person's connection is poor
 */

export class Tile {
  #video = make('video', { autoplay: true, muted: true, playsInline: true, disablePictureInPicture: true });
  #avatar = make('span', { class: 'avatar', 'aria-hidden': 'true' });
  #name = make('span');
  #icons = make('span', { class: 'icons' });
  #note = make('p', { class: 'note' });
  /** @type {import('./pack.js').Rect | null} */
  rect = null;

  /**
   * @param {'camera' | 'screen'} kind
   * @param {{ own?: boolean, onMenu?: (button: HTMLElement) => void }} [options]
   */
  constructor(kind, { own = false, onMenu } = {}) {
    this.kind = kind;
    this.element = make('section', { class: `tile ${kind}${own ? ' own' : ''}` },
      this.#video, this.#avatar, this.#note, make('div', { class: 'label' }, this.#icons, this.#name));
    if (kind === 'screen') this.#avatar.hidden = true;
    if (onMenu) {
      const button = make('button', { type: 'button', class: 'icon menu-button', 'aria-haspopup': 'menu', 'aria-expanded': 'false' }, icon('more'));
      button.onclick = () => onMenu(button);
      this.element.append(button);
      this.menuButton = button;
    }
  }

  /** @param {View} view */
  show({ name, stream, muted, held, weak }) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    this.element.classList.toggle('showing', stream !== null);
    avatar(this.#avatar, name);
    this.#name.textContent = this.kind === 'screen' ? `${name}: screen` : name;
    this.#note.textContent = (held && HELD[held]) ?? '';
    this.#icons.replaceChildren(
      ...(muted && this.kind === 'camera' ? [icon('mic-off', 'mic-off')] : []),
      ...(weak ? [icon('weak', 'weak')] : []),
    );
    this.#icons.hidden = !this.#icons.childElementCount;
    const facts = [this.#name.textContent, muted && this.kind === 'camera' && 'muted', !stream && 'no video', weak && 'weak connection'];
    this.element.setAttribute('aria-label', facts.filter(Boolean).join(', '));
    this.menuButton?.setAttribute('aria-label', `More about ${name}`);
  }

  /** @param {boolean} speaking */
  setSpeaking(speaking) {
    this.element.classList.toggle('speaking', speaking);
  }

  /** @param {import('./pack.js').Rect} rect */
  place(rect) {
    this.rect = rect;
    Object.assign(this.element.style, {
      transform: `translate(${rect.x}px, ${rect.y}px)`, width: `${rect.w}px`, height: `${rect.h}px`,
    });
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }
}

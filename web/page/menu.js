// @ts-check
/** A small menu at a button: arrows move, Escape and a click elsewhere close it (the browser's own popover does that). */

import { make } from './dom.js';

/**
 * @param {HTMLElement} button
 * @param {{ word: string, danger?: boolean, run: () => void }[]} items
 */
export function openMenu(button, items) {
  const menu = make('div', { class: 'menu', role: 'menu', popover: 'auto' });
  for (const { word, danger, run } of items) {
    const item = make('button', { type: 'button', role: 'menuitem', class: danger ? 'danger' : '', text: word });
    item.onclick = () => {
      menu.hidePopover();
      run();
    };
    menu.append(item);
  }
  menu.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...menu.children];
    /** @type {any} */ (all[(all.indexOf(document.activeElement) + step + all.length) % all.length]).focus();
  };
  menu.ontoggle = (/** @type {any} */ event) => {
    button.setAttribute('aria-expanded', String(event.newState === 'open'));
    if (event.newState === 'closed') {
      menu.remove();
      if (button.isConnected) button.focus();
    }
  };
  document.body.append(menu);
  menu.showPopover();
  const at = button.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(at.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(at.bottom + 6, innerHeight - menu.offsetHeight - 8))}px`;
  menu.firstElementChild?.focus();
}

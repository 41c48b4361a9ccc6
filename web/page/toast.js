// @ts-check
/** Short messages at the bottom, read out by screen readers, gone by themselves. */

import { byId, icon, make } from './dom.js';

const SHOWN_MS = 6_000;
const ERROR_SHOWN_MS = 12_000;

/**
 * @param {string} text
 * @param {{ error?: boolean, action?: { word: string, run: () => void } }} [options]
 */
export function toast(text, { error = false, action } = {}) {
  const box = byId('toasts');
  // The same thing twice is once.
  for (const other of box.children) if (other.firstChild?.textContent === text) other.remove();
  const close = make('button', { type: 'button', 'aria-label': 'Dismiss', onclick: () => leave() }, icon('close'));
  const element = make('div', { class: error ? 'toast error' : 'toast', role: error ? 'alert' : 'status' }, make('span', { text }));
  if (action) {
    const run = () => {
      leave();
      action.run();
    };
    element.append(make('button', { type: 'button', text: action.word, onclick: run }));
  }
  element.append(close);
  // Showing it anew puts it above a dialog that was opened since.
  if (box.matches(':popover-open')) box.hidePopover();
  box.append(element);
  box.showPopover();

  let timer = 0;
  const leave = () => {
    clearTimeout(timer);
    element.remove();
    if (!box.children.length && box.matches(':popover-open')) box.hidePopover();
  };
  const start = () => (timer = setTimeout(leave, error ? ERROR_SHOWN_MS : SHOWN_MS));
  element.onpointerenter = () => clearTimeout(timer);
  element.onpointerleave = start;
  start();
}

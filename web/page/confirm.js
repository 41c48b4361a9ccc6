// @ts-check
/** The question before what cannot be undone. */

import { byId } from './dom.js';

/**
 * Asks, and answers whether it is meant. Escape is no.
 *
 * @param {{ title: string, text: string, action: string }} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, action }) {
  const dialog = byId('confirm');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  byId('confirm-yes').textContent = action;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((done) => {
    const closed = () => {
      // The event of the question before may come only now; this one stands.
      if (dialog.open) return;
      dialog.removeEventListener('close', closed);
      done(dialog.returnValue === 'yes');
    };
    dialog.addEventListener('close', closed);
  });
}

// @ts-check
/** The question before what cannot be undone. */

import { byId } from './dom.js';

/** Answers the question that is open with no. */
let dismiss = () => {};

/**
 * Asks, and answers whether it is meant. Escape is no, and so is another question before the answer.
 *
 * @param {{ title: string, text: string, action: string }} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, action }) {
  dismiss();
  const dialog = byId('confirm');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  byId('confirm-yes').textContent = action;
  dialog.returnValue = '';
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => {
    const answer = (/** @type {boolean} */ yes) => {
      dialog.removeEventListener('close', closed);
      dismiss = () => {};
      done(yes);
    };
    const closed = () => {
      // The event of the question before may come only now; this one stands.
      if (!dialog.open) answer(dialog.returnValue === 'yes');
    };
    dismiss = () => answer(false);
    dialog.addEventListener('close', closed);
  });
}

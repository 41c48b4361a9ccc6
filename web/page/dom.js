// @ts-check
/** Shorthands for the document, and nothing that knows of calls. */

/**
 * The element with an id of index.html.
 *
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/**
 * Makes an element. Text is text: nothing a user wrote is ever parsed as HTML.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties]  `class`, `text`, `aria-*` and `data-*` attributes, else properties
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') element.className = value;
    else if (name === 'text') element.textContent = value;
    else if (name.includes('-') || name === 'role') element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/**
 * An icon of icons.svg.
 *
 * @param {string} name
 * @param {string} [className]
 */
export function icon(name, className = '') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `icons.svg#${name}`);
  svg.setAttribute('aria-hidden', 'true');
  if (className) svg.setAttribute('class', className);
  svg.append(use);
  return svg;
}

/**
 * Dresses a button of a toolbar: icon, the word below it, what it does and its key.
 *
 * @param {HTMLButtonElement} button
 * @param {{ icon: string, word: string, title: string, key?: string, state?: '' | 'off' | 'active' | 'recording-on' }} look
 */
export function dress(button, { icon: name, word, title, key, state = '' }) {
  button.replaceChildren(icon(name), make('span', { text: word }));
  button.title = key ? `${title} (${key})` : title;
  button.setAttribute('aria-label', title);
  button.className = `tool ${state}`.trim();
}

/**
 * The circle that stands for somebody without a picture.
 *
 * @param {HTMLElement} element
 * @param {string} name
 */
export function avatar(element, name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  element.textContent = letters.map((word) => [...word][0].toUpperCase()).join('') || '?';
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  element.style.setProperty('--hue', String(hash));
}

// @ts-check
/**
 * What the address says:
 *
 *     /#demo                                     a room to join
 *     /?room=demo&name=Ada                       the same, with a name
 *     /#room=demo&token=ey...                    with an invitation (behind the #, so that no log ever sees it)
 *     /?relay=1&transport=tcp                    media over our TURN relay only; udp, tcp or tls to it
 */

/** @typedef {{ room: string, name: string, token?: string, relayOnly: boolean, transport?: 'udp' | 'tcp' | 'tls' }} PageOptions */

/**
 * @param {Location | URL} where
 * @returns {PageOptions}
 */
export function optionsOf(where) {
  const search = new URLSearchParams(where.search);
  const hash = decodeURIComponent(where.hash.slice(1));
  const inHash = new URLSearchParams(hash.includes('=') ? hash : { room: hash });
  const read = (/** @type {string} */ key) => inHash.get(key) || search.get(key) || '';
  const transport = read('transport');
  return {
    room: cleanRoom(read('room')),
    name: read('name'),
    token: read('token') || undefined,
    relayOnly: read('relay') === '1',
    transport: transport === 'udp' || transport === 'tcp' || transport === 'tls' ? transport : undefined,
  };
}

/** The link that brings others into a room; it carries no token. */
export function inviteLink(/** @type {string} */ room) {
  const link = new URL(location.pathname, location.origin);
  link.hash = room;
  return link.href;
}

/**
 * A room name as the server takes it, from whatever was typed.
 *
 * @param {string} text
 */
export function cleanRoom(text) {
  return text.trim().replace(/\s+/g, '-').replace(/[^A-Za-z0-9_.-]/g, '').slice(0, 64);
}

const MOODS = ['calm', 'bright', 'swift', 'quiet', 'sunny', 'brave', 'early', 'gentle'];
const PLACES = ['harbour', 'island', 'lagoon', 'shore', 'cliff', 'breeze', 'tide', 'beacon'];

/** A name for a new room that can be said on the phone and is not easily guessed. */
export function newRoom() {
  const [mood, place, number] = crypto.getRandomValues(new Uint32Array(3));
  return `${MOODS[mood % MOODS.length]}-${PLACES[place % PLACES.length]}-${1000 + (number % 9000)}`;
}

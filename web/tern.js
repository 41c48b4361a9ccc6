// @ts-check
/**
 * Tern's client library: rooms over `rooms/1`, for any page that can load an ES module.
 *
 *     import { connect } from './tern.js';
 *     const room = await connect({ url: location.origin, room: 'demo', name: 'Ada', media: { mic, camera } });
 *     room.on('track', (track) => { video.srcObject = track.stream; });
 *
 * What is public is exported here; the modules beside are its parts, one noun each. No DOM beyond WebRTC.
 */

import { Room } from './tern/room.js';

export { Room } from './tern/room.js';
export { TernError, explain } from './tern/error.js';

/**
 * Joins a room. Resolves when the server let us in; media follows by itself.
 *
 * @param {import('./tern/types.js').Options} options
 * @returns {Promise<Room>}
 * @throws {import('./tern/error.js').TernError} with the server's code (`room_full`, `unauthorized`, ...) or `unreachable`.
 */
export async function connect(options) {
  const room = new Room(options);
  await room.join();
  return room;
}

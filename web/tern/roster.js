// @ts-check
/** Who is in the room and what they publish, kept by the server's snapshots and deltas. It knows no connections. */

import { Emitter } from './emitter.js';
import { Peer, RemoteTrack } from './remote.js';

/** Events: `peer`, `peer-gone` (a Peer), `track` (a RemoteTrack came or changed), `track-gone`. */
export class Roster extends Emitter {
  /** @type {Map<string, Peer>} */
  peers = new Map();

  /** @returns {RemoteTrack[]} */
  get tracks() {
    return [...this.peers.values()].flatMap((peer) => [...peer.tracks.values()]);
  }

  /** @param {string} id */
  track(id) {
    return this.tracks.find((track) => track.id === id);
  }

  /**
   * The whole room, after a join or resume.
   *
   * @param {import('./types.js').WirePeer[]} peers
   */
  reset(peers) {
    const present = new Set(peers.map((peer) => peer.id));
    for (const id of [...this.peers.keys()]) if (!present.has(id)) this.removePeer(id);
    for (const peer of peers) this.setPeer(peer);
  }

  /** @param {import('./types.js').WirePeer} wire */
  setPeer(wire) {
    const peer = this.peers.get(wire.id) ?? new Peer(wire.id, wire.name);
    peer.name = wire.name;
    this.peers.set(wire.id, peer);
    this.emit('peer', peer);
    const tracks = new Set((wire.tracks ?? []).map((track) => track.id));
    for (const id of [...peer.tracks.keys()]) if (!tracks.has(id)) this.removeTrack(id);
    for (const track of wire.tracks ?? []) this.setTrack(track);
  }

  /** @param {string} id */
  removePeer(id) {
    const peer = this.peers.get(id);
    if (!peer) return;
    for (const track of [...peer.tracks.keys()]) this.removeTrack(track);
    this.peers.delete(id);
    this.emit('peer-gone', peer);
  }

  /** @param {import('./types.js').WireTrack} wire */
  setTrack(wire) {
    const peer = this.peers.get(wire.peer);
    if (!peer) return;
    const track = peer.tracks.get(wire.id) ?? new RemoteTrack(wire);
    track.update(wire);
    peer.tracks.set(wire.id, track);
    this.emit('track', track);
  }

  /** @param {string} id */
  removeTrack(id) {
    const track = this.track(id);
    if (!track) return;
    this.peers.get(track.peer)?.tracks.delete(id);
    this.emit('track-gone', track);
  }

  /** @param {{ track: string, muted: boolean, muted_by_moderator: boolean }} change */
  setMuted({ track: id, muted, muted_by_moderator }) {
    const track = this.track(id);
    if (!track) return;
    track.muted = muted;
    track.mutedByModerator = muted_by_moderator;
    this.emit('track', track);
  }
}

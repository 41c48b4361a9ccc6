// @ts-check
/**
 * The nouns of `rooms/1` as the wire carries them (docs/signalling.md), and this library's own options. Types only.
 *
 * @typedef {'mic' | 'camera' | 'screen' | 'screen_audio'} Source
 * @typedef {'mesh' | 'sfu' | 'switching'} Mode
 *
 * @typedef {object} WireTrack
 * @property {string} id
 * @property {string} peer
 * @property {Source} src
 * @property {boolean} [muted]
 * @property {boolean} [muted_by_moderator]
 * @property {string} [codec]
 *
 * @typedef {{ id: string, name: string, tracks: WireTrack[] }} WirePeer
 *
 * @typedef {object} Slot
 * @property {string} mid
 * @property {string | null} track   null: blank it now
 * @property {string} [peer]
 * @property {boolean} on            whether packets flow
 * @property {string} [why]          muted, unsubscribed, last_n, bandwidth
 *
 * @typedef {{ id: string, state: string, started_ms: number, age_ms: number }} RoomRecording   `age_ms`: for how long it was on when this was said
 *
 * @typedef {object} RoomInfo
 * @property {string} name
 * @property {Mode} mode
 * @property {boolean} [locked]
 * @property {number} max_participants
 * @property {RoomRecording | null} [recording]   set while the red light is on
 *
 * @typedef {object} Grants
 * @property {string[]} publish
 * @property {boolean} subscribe
 * @property {boolean} moderate
 *
 * @typedef {object} Answer
 * @property {string} sdp
 * @property {string} pc
 * @property {number} epoch
 * @property {Slot[]} slots
 * @property {string[]} [own]   ids of the published tracks, in the order of the offer's `tracks`
 *
 * @typedef {object} Welcome
 * @property {string[]} [features]
 * @property {string} me
 * @property {string} session
 * @property {string} resume
 * @property {number} grace_ms
 * @property {RTCIceServer[]} ice
 * @property {Mode} mode
 * @property {RoomInfo} room
 * @property {Grants} grants
 * @property {WirePeer[]} peers
 * @property {string} api_token
 *
 * @typedef {{ mid: string, src: Source, muted: boolean }} Intent
 *
 * @typedef {object} Options
 * @property {string} [url]     the server's origin, http(s) or ws(s); default: the page's
 * @property {string} room
 * @property {string} [token]   a room token; absent: a guest
 * @property {string} [name]    the name to show
 * @property {Partial<Record<Source, MediaStreamTrack>>} [media]   published from the start
 * @property {boolean} [relayOnly]                  media over TURN only
 * @property {'udp' | 'tcp' | 'tls'} [transport]    the way to TURN; default: all of them
 */

export {};

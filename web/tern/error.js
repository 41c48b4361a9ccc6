// @ts-check
/** Refusals: a stable code for programs (the server's list, docs/signalling.md, plus `unreachable`), a sentence for people. */

export class TernError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {number} [retryMs]  when to try again; 0: that is no matter of time
   */
  constructor(code, message, retryMs = 0) {
    super(message || code.replaceAll('_', ' '));
    this.name = 'TernError';
    this.code = code;
    this.retryMs = retryMs;
  }
}

/** Codes after which trying again by oneself may help. */
const PASSING = new Set(['unreachable', 'timeout', 'rate_limited', 'draining', 'internal', 'session_gone']);

/** @param {unknown} error */
export function isPassing(error) {
  return error instanceof TernError && (PASSING.has(error.code) || error.retryMs > 0);
}

/** @type {Record<string, string>} */
const WORDS = {
  unreachable: 'The server cannot be reached. Check your connection; we keep trying.',
  unauthorized: 'This room needs an invitation: ask for a link with a token.',
  forbidden: 'You are not allowed to do that here.',
  token_expired: 'Your invitation is no longer valid. Ask for a new link.',
  session_gone: 'The connection was lost for a moment. Please try again.',
  token_revoked: 'A moderator removed you from this room.',
  device_mismatch: 'This invitation belongs to another device.',
  rate_limited: 'That was a bit fast. Please try again in a moment.',
  room_not_found: 'This room does not exist, or it was closed.',
  room_full: 'This room is full.',
  room_locked: 'A moderator has locked this room.',
  peer_exists: 'You are already in this room on another device.',
  peer_not_found: 'That person has left.',
  codec_unsupported: 'Your browser and the server have no video or audio format in common.',
  already_recording: 'This room is being recorded already.',
  not_recording: 'The recording has stopped already.',
  recording_failed: 'The recording failed. What was recorded so far is kept.',
  recording_not_found: 'This recording does not exist any more.',
  no_recorder: 'No recorder is available right now.',
  storage_unavailable: 'The recording storage does not answer.',
  superseded: 'You joined this room again somewhere else.',
  draining: 'The server restarts. You will be reconnected in a moment.',
  too_large: 'That was too large to send.',
};

/**
 * A sentence for people about anything that was thrown.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function explain(error) {
  if (error instanceof TernError) return WORDS[error.code] ?? `${sentence(error.message)}`;
  return sentence(error instanceof Error ? error.message : String(error));
}

/** @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? '' : '.');
}

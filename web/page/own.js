// @ts-check
/**
 * Our own camera and microphone, in the lobby and in the call: on or off, from which device. The one place that opens
 * and stops them, so that the camera's light is off whenever the page says that it is.
 */

import { Emitter } from '../tern/emitter.js';
import * as devices from './devices.js';

/** Event: `change`. */
export class OwnMedia extends Emitter {
  /** @type {MediaStreamTrack | null} */
  camera = null;
  /** @type {MediaStreamTrack | null} */
  mic = null;
  micOn = true;
  /** What was last asked for, whether or not there is a camera. */
  wantsCamera = true;

  get cameraOn() {
    return this.camera !== null;
  }

  /** What to publish. */
  get tracks() {
    return { ...(this.mic && { mic: this.mic }), ...(this.camera && { camera: this.camera }) };
  }

  /** @param {boolean} on */
  async setCamera(on) {
    this.wantsCamera = on;
    this.camera?.stop();
    this.camera = null;
    this.emit('change');
    if (on) {
      this.camera = await devices.open('camera');
      this.#watch('camera', this.camera);
      this.emit('change');
    }
  }

  /**
   * A microphone that is off keeps its device open: speaking again must not take a second.
   *
   * @param {boolean} on
   */
  async setMic(on) {
    if (on && !this.mic) {
      this.mic = await devices.open('mic');
      this.#watch('mic', this.mic);
    }
    this.micOn = on;
    if (this.mic) this.mic.enabled = on;
    this.emit('change');
  }

  /**
   * After another device was chosen.
   *
   * @param {'camera' | 'mic'} kind
   */
  async reopen(kind) {
    if (!this[kind]) return;
    if (kind === 'camera') return this.setCamera(true);
    // The new one first: while there is none, nothing is heard of us. Some systems open only one at a time.
    const opened = await devices.open('mic').catch(() => null);
    this.mic?.stop();
    this.mic = opened;
    if (opened) this.#watch('mic', opened);
    await this.setMic(this.micOn);
  }

  close() {
    this.camera?.stop();
    this.mic?.stop();
    this.camera = null;
    this.mic = null;
  }

  /**
   * A device that is unplugged ends its track.
   *
   * @param {'camera' | 'mic'} kind
   * @param {MediaStreamTrack} track
   */
  #watch(kind, track) {
    track.onended = () => {
      if (this[kind] !== track) return;
      this[kind] = null;
      if (kind === 'mic') this.micOn = false;
      this.emit('change');
    };
  }
}

// @ts-check
/** The dialog that chooses devices. */

import * as devices from './devices.js';
import { byId, make } from './dom.js';

/**
 * @typedef {object} Hooks
 * @property {(kind: 'camera' | 'mic') => void} reopen
 * @property {() => void} redirect   the speaker changed
 */

/** @param {Hooks} hooks */
export function settings({ reopen, redirect }) {
  const selects = {
    camera: { element: byId('camera-device'), kind: 'videoinput', word: 'Camera', changed: () => reopen('camera') },
    mic: { element: byId('mic-device'), kind: 'audioinput', word: 'Microphone', changed: () => reopen('mic') },
    speaker: { element: byId('speaker-device'), kind: 'audiooutput', word: 'Speaker', changed: redirect },
  };
  const quality = byId('quality');

  for (const [name, { element, changed }] of Object.entries(selects)) {
    element.onchange = () => {
      devices.choose({ [name]: element.value || undefined });
      changed();
    };
  }
  quality.onchange = () => {
    devices.choose({ quality: quality.value });
    reopen('camera');
  };

  const fill = async () => {
    const found = await devices.list();
    const chosen = devices.choice();
    for (const [name, { element, kind, word }] of Object.entries(selects)) {
      const options = found.filter((device) => device.kind === kind && device.deviceId);
      element.replaceChildren(
        make('option', { value: '', text: options.length ? 'System default' : `No ${word.toLowerCase()} found` }),
        ...options.map((device, n) => make('option', { value: device.deviceId, text: device.label || `${word} ${n + 1}` })));
      element.value = chosen[/** @type {'camera'} */ (name)] ?? '';
      if (element.selectedIndex < 0) element.value = '';
    }
    const canChoose = 'setSinkId' in HTMLMediaElement.prototype;
    selects.speaker.element.hidden = byId('speaker-label').hidden = !canChoose;
    quality.value = chosen.quality ?? 'high';
  };
  navigator.mediaDevices?.addEventListener('devicechange', fill);

  return {
    async open() {
      await fill();
      byId('settings').showModal();
    },
  };
}

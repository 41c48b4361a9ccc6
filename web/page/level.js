// @ts-check
/** Shows on an element how loud a microphone is, as the CSS variable `--level` from 0 to 1: "can they hear me?" */

/** Speech into a usual microphone peaks near this amplitude. */
const LOUD = 0.25;

export class Level {
  #element;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {MediaStreamTrack | null} track */
  follow(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#context?.close();
    this.#context = null;
    this.#element.style.setProperty('--level', '0');
    if (track) this.#listen(track);
  }

  /** @param {MediaStreamTrack} track */
  #listen(track) {
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const draw = () => {
      if (this.#context !== context) return;
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      // Up at once, down slowly, as eyes expect of a meter.
      shown = Math.max(Math.min(1, peak / LOUD), shown * 0.92);
      this.#element.style.setProperty('--level', shown.toFixed(2));
      requestAnimationFrame(draw);
    };
    draw();
  }
}

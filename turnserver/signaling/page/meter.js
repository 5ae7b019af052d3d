/** How loud a track is, as a number; nothing of the sound is kept. */

const SAMPLES = 4096; // 85 ms at 48 kHz: at ten looks a second hardly anything is missed
const GESTURES = ['pointerdown', 'keydown'];

/** Measures one audio track until it is closed. */
export class Meter {
  /** @param {MediaStreamTrack} track */
  constructor(track) {
    this.track = track;
    // No output device, and long steps: nobody hears this. Browsers without `sinkId` ignore it.
    this.context = new AudioContext({latencyHint: 'playback', sinkId: {type: 'none'}});
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = SAMPLES;
    this.samples = new Float32Array(SAMPLES);
    this.context.createMediaStreamSource(new MediaStream([track])).connect(this.analyser);
    // Without a gesture (after a reload) a browser may suspend it, and measures silence until the next one.
    this.wake = () => this.context.resume().catch(() => {});
    for (const type of GESTURES) addEventListener(type, this.wake, true);
  }

  /** RMS of what has just been heard, 0 to 1; speech is between 0.02 and 0.3. */
  level() {
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    return Math.sqrt(sum / SAMPLES);
  }

  /** It is not looked at any more. The track goes on. */
  close() {
    for (const type of GESTURES) removeEventListener(type, this.wake, true);
    this.context.close().catch(() => {});
  }
}

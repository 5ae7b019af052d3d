/**
 * What comes from one participant, as streams: that of camera and microphone stays the same for as long as it is shown, and
 * its tracks change. So an element that plays it does not begin anew when a connection is rebuilt, or the way changes.
 */

export class Received {
  #camera = new MediaStream(); #screen = null;

  /** `camera` (with the microphone) and `screen` (with its sound, if it has one), or null. */
  get streams() { return {camera: this.#camera, screen: this.#screen}; }

  /**
   * What comes now; the picture of a connection that is gone stays until the next one has one.
   * @param {{audio: MediaStreamTrack|null, video: MediaStreamTrack|null, screen: MediaStreamTrack|null, screenAudio: MediaStreamTrack|null}} tracks
   * @returns {boolean} whether anything is different
   */
  show({audio, video, screen, screenAudio}) {
    let changed = false;
    const wanted = [audio, video].filter(Boolean);
    for (const track of this.#camera.getTracks()) {
      if (wanted.includes(track) || !wanted.some(({kind}) => kind === track.kind)) continue;
      this.#camera.removeTrack(track);
      changed = true;
    }
    for (const track of wanted) {
      if (this.#camera.getTracks().includes(track)) continue;
      this.#camera.addTrack(track);
      changed = true;
    }
    const shown = screen === null ? [] : [screen, screenAudio].filter(Boolean);
    const before = this.#screen?.getTracks() ?? [];
    if (before.length !== shown.length || shown.some((track) => !before.includes(track))) {
      this.#screen = screen && new MediaStream(shown);
      changed = true;
    }
    return changed;
  }

  /** Show our tracks in the stream in which another one has shown its own until now. @param {Received} other gets a stream that nobody shows */
  takeOver(other) {
    const ours = this.#camera.getTracks();
    this.#camera = other.#camera;
    other.#camera = new MediaStream(this.#camera.getTracks());
    for (const track of this.#camera.getTracks()) {
      if (ours.some(({kind}) => kind === track.kind)) this.#camera.removeTrack(track);
    }
    for (const track of ours) this.#camera.addTrack(track);
  }
}

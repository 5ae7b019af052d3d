/** What the system around the browser does for a call: the screen stays on, and the keys of a headset or keyboard work. */

/** Each is left out where the browser does not have it, or does not let this page have it. */
export class System {
  /**
   * @param {import('./devices.js').Devices} devices
   * @param {{title: string, does: {togglemicrophone: () => void, togglecamera: () => void, hangup: () => void}}} parts
   */
  constructor(devices, {title, does}) {
    this.devices = devices;
    this.title = title;
    this.does = does;
    this.active = false;
    this.lock = null;
    document.addEventListener('visibilitychange', () => this.#stayOn()); // a hidden page loses it
    devices.addEventListener('change', () => this.#tell());
  }

  /** A call has begun. */
  start() {
    this.active = true;
    this.#stayOn();
    for (const [action, does] of Object.entries(this.does)) this.#handle(action, does);
    const {mediaSession} = navigator;
    if (mediaSession && globalThis.MediaMetadata) mediaSession.metadata = new MediaMetadata({title: this.title});
    this.#tell();
  }

  /** It is over. */
  stop() {
    this.active = false;
    this.lock?.release().catch(() => {});
    this.lock = null;
    for (const action of Object.keys(this.does)) this.#handle(action, null);
    if (navigator.mediaSession) navigator.mediaSession.metadata = null;
  }

  async #stayOn() {
    if (!this.active || document.hidden || this.lock?.released === false) return;
    let lock;
    try {
      lock = await navigator.wakeLock.request('screen');
    } catch {
      return; // not here, or not with so little battery
    }
    if (this.active && this.lock?.released !== false) this.lock = lock;
    else lock.release().catch(() => {});
  }

  #handle(action, does) {
    try {
      navigator.mediaSession?.setActionHandler(action, does);
    } catch { /* an action that this browser does not know */ }
  }

  #tell() {
    if (!this.active) return;
    try {
      navigator.mediaSession?.setMicrophoneActive?.(this.devices.microphoneOn);
      navigator.mediaSession?.setCameraActive?.(this.devices.cameraOn);
    } catch { /* then it shows nothing */ }
  }
}

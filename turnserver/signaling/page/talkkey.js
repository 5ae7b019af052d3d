/** Push to talk: while the space bar is held, a muted microphone is on. */

/** Where the space bar has a meaning of its own. */
const BUSY = 'input, textarea, select, button, a[href], summary, [contenteditable], [tabindex="0"]';

export class TalkKey {
  /** @param {import('./devices.js').Devices} devices @param {HTMLElement} microphone the button that mutes */
  constructor(devices, microphone) {
    this.devices = devices;
    this.microphone = microphone;
    /** Whether it is wanted. */
    this.on = true;
    this.active = false;
    this.held = false;
    this.clicked = false; // whether the button has the focus only because a mouse has pressed it
    microphone.addEventListener('pointerdown', () => { this.clicked = true; });
    microphone.addEventListener('blur', () => { this.clicked = false; });
    addEventListener('keydown', (event) => this.#down(event));
    addEventListener('keyup', (event) => this.#up(event));
    addEventListener('blur', () => this.release());
    document.addEventListener('visibilitychange', () => this.release());
  }

  /** As if the key had been let go. */
  release() {
    if (!this.held) return;
    this.held = false;
    this.devices.setMicrophone(false);
  }

  #down(event) {
    if (event.key !== ' ' || event.isComposing || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) {
      if (event.key === 'Tab') this.clicked = false;
      return;
    }
    if (this.held) event.preventDefault(); // the key repeats
    if (this.held || event.repeat || !this.on || !this.active || this.devices.forgone || this.devices.microphoneOn) return;
    const {target} = event;
    if (target.closest?.(BUSY) && !(target === this.microphone && this.clicked)) return;
    event.preventDefault();
    this.held = true;
    this.devices.setMicrophone(true);
  }

  #up(event) {
    if (event.key !== ' ' || !this.held) return;
    event.preventDefault(); // else a button with the focus would be pressed
    this.release();
  }
}

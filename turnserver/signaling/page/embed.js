/**
 * `<meshturn-call>`: a call in any page. Load this module from the server that has the rooms:
 *
 *     <script type="module" src="https://meet.example.org/call-assets/embed.js"></script>
 *     <meshturn-call src="https://meet.example.org/call/blue#token=…" name="Ann"></meshturn-call>
 *
 * The server has to allow it: `signaling.frame_ancestors` for the frame, `signaling.origins` for this module.
 *
 * A reload of the page goes straight back into the call, as muted as before, whatever the browser lets the frame store.
 *
 * `lang` is the language of a call whose user has not chosen another there: `lang="de"`.
 *
 * Events: `language` (`detail.language`, `detail.title`), `ready` (the lobby is there), `joined`, `people` (`detail.count`), `media` (`detail.microphone`, `detail.camera`, `detail.joined`),
 * `left` (`detail.code`: `left`, or why there is no call).
 */

const VERSION = 1;
const FRESH = 60_000; // ms after which a reload is no reload of the call any more
const MAY = 'camera; microphone; display-capture; fullscreen; autoplay; picture-in-picture; clipboard-write; screen-wake-lock; speaker-selection';

export class MeshturnCall extends HTMLElement {
  static observedAttributes = ['src', 'lang'];

  #frame = null;
  #called = false; // the frame is in the call, or was when it was loaded anew
  #on = {}; // its devices
  #hear = (event) => this.#heard(event);
  #end = () => this.#keep();

  connectedCallback() {
    this.style.display ||= 'block';
    this.#frame = document.createElement('iframe');
    this.#frame.allow = MAY;
    this.#frame.title = this.getAttribute('title') ?? new URL(this.#origin).host; // until it says what it is, in its language
    Object.assign(this.#frame.style, {width: '100%', height: '100%', border: '0'});
    this.#recall();
    this.#load();
    addEventListener('message', this.#hear);
    addEventListener('pagehide', this.#end);
    this.append(this.#frame);
  }

  disconnectedCallback() {
    removeEventListener('message', this.#hear);
    removeEventListener('pagehide', this.#end);
    this.#frame?.remove();
    this.#frame = null;
    queueMicrotask(() => { if (!this.isConnected) this.#forget(); }); // moved to another place, it goes on
  }

  attributeChangedCallback(attribute, before, now) {
    const place = (src) => src?.split('#')[0];
    if (attribute === 'src' && before !== null && place(before) !== place(now)) this.#forget(); // another call: it begins in its lobby
    this.#load();
  }

  /** Go into the call from the lobby. @param {string} [name] otherwise the attribute `name`, or what the user has entered */
  join(name = this.getAttribute('name') ?? undefined) {
    this.#tell({do: 'join', name});
  }

  /** Out of the call. */
  leave() {
    this.#tell({do: 'leave'});
  }

  /** @param {boolean} on */
  setMicrophone(on) {
    this.#tell({do: 'microphone', on});
  }

  /** @param {boolean} on */
  setCamera(on) {
    this.#tell({do: 'camera', on});
  }

  #forget() {
    this.#called = false;
    this.#on = {};
  }

  get #origin() {
    return new URL(this.getAttribute('src') ?? '', document.baseURI).origin;
  }

  get #place() {
    return `meshturn-call ${this.getAttribute('src')?.split('#')[0]}`;
  }

  /** The page ends; a frame that the browser lets store nothing cannot keep this itself. */
  #keep() {
    if (!this.#called) return;
    try {
      sessionStorage.setItem(this.#place, JSON.stringify({...this.#on, at: Date.now()}));
    } catch { /* then it is the lobby */ }
  }

  #recall() {
    try {
      const {name, microphone, camera, at} = JSON.parse(sessionStorage.getItem(this.#place)) ?? {};
      sessionStorage.removeItem(this.#place);
      if (!(Date.now() - at < FRESH)) return;
      this.#called = true;
      this.#on = {name, microphone, camera};
    } catch { /* nothing is kept */ }
  }

  #load() {
    const src = this.getAttribute('src');
    if (!this.#frame || !src) return;
    const url = new URL(src, document.baseURI);
    if (this.lang) url.searchParams.set('lang', this.lang);
    if (this.#frame.src !== url.href) this.#frame.src = url.href;
  }

  #tell(message) {
    this.#frame?.contentWindow?.postMessage({meshturn: VERSION, ...message}, this.#origin);
  }

  #heard({source, origin, data}) {
    if (source !== this.#frame?.contentWindow || origin !== this.#origin || data?.meshturn !== VERSION) return;
    const {meshturn, event, ...detail} = data;
    if (event === 'language' && !this.hasAttribute('title')) this.#frame.title = String(detail.title);
    if (event === 'joined') this.#called = true;
    if (event === 'left') this.#called = false;
    if (event === 'joined') this.#on.name = detail.name;
    if (event === 'joined' || (event === 'media' && detail.joined)) Object.assign(this.#on, {microphone: detail.microphone, camera: detail.camera});
    if (event === 'ready' && this.#called) this.#tell({do: 'join', ...this.#on, name: this.#on.name ?? this.getAttribute('name') ?? undefined});
    else if (event === 'ready' && this.hasAttribute('join')) this.join();
    this.dispatchEvent(new CustomEvent(event, {detail}));
  }
}

if (!customElements.get('meshturn-call')) customElements.define('meshturn-call', MeshturnCall);

/** A recording of the call on this device: the stage as one sees it, and all voices with one's own, in one file. */

import {announce, element, make} from './dom.js';
import {ask} from './ask.js';
import {Keeping, megabytes, MOST_IN_MEMORY} from './keeping.js';
import {Picture} from './picture.js';
import {failure, put, putLabel, text} from './texts.js';

const SIZE = {width: 1280, height: 720};
const PICTURES = 15; // a second
const PIECE = 4000; // ms; what a page that dies may lose of its recording
const TYPES = ['video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4'];
const BITS = {videoBitsPerSecond: 2_000_000, audioBitsPerSecond: 96_000};

/** Seconds as a clock. @param {number} seconds */
function clock(seconds) {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const two = (value) => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** @param {string} room @param {string} type @param {Date} at */
function fileName(room, type, at) {
  const two = (value) => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}-${two(at.getHours())}${two(at.getMinutes())}`;
  return `meshturn-${room}-${date}.${type.startsWith('video/mp4') ? 'mp4' : 'webm'}`;
}

/** All voices and sounds of a call as one track; who comes and goes is followed by `follow`. */
class Mix {
  #context = new AudioContext(); #out = this.#context.createMediaStreamDestination(); #nodes = new Map();

  get track() {
    return this.#out.stream.getAudioTracks()[0];
  }

  /** @param {MediaStreamTrack[]} tracks what is to be heard from now on */
  follow(tracks) {
    for (const [track, node] of this.#nodes) {
      if (tracks.includes(track)) continue;
      node.disconnect();
      this.#nodes.delete(track);
    }
    for (const track of tracks) {
      if (this.#nodes.has(track)) continue;
      const node = this.#context.createMediaStreamSource(new MediaStream([track]));
      node.connect(this.#out);
      this.#nodes.set(track, node);
    }
  }

  close() {
    this.#context.close();
  }
}

export class Recorder {
  #parts; #keeping = null; #recorder = null; #mix = null; #ticker = null; #timer = null; #writing = Promise.resolve(); #done = null; #began = 0;

  /**
   * @param {{mesh: import('./mesh.js').Mesh, devices: import('./devices.js').Devices, room: string, changed: () => void}} parts
   *   `changed` is called when it has begun or ended
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Whether it runs. */
  get running() {
    return this.#recorder !== null;
  }

  /** Ask, tell everybody, and begin. */
  async start() {
    const type = globalThis.MediaRecorder && TYPES.find((each) => MediaRecorder.isTypeSupported(each));
    if (!type || !globalThis.AudioContext || !HTMLCanvasElement.prototype.captureStream) {
      announce(text('record.impossible'));
      return;
    }
    const limit = await Keeping.onDisk() ? ''
      : ` ${text('record.in_memory', {size: megabytes(MOST_IN_MEMORY)})}`;
    const answer = await ask({
      title: text('record.question'),
      text: text('record.question_text') + limit,
      answers: [{value: 'record', label: text('record.start')}],
    });
    if (!answer || this.running) return;
    try {
      this.#begin(await Keeping.begin(fileName(this.#parts.room, type, new Date()), type), type);
    } catch (error) {
      this.#end();
      announce(text('record.failed', {reason: failure(error)}));
    }
  }

  #begin(keeping, type) {
    const picture = new Picture(element('grid'), SIZE);
    this.#keeping = keeping;
    this.#mix = new Mix();
    this.#follow();
    picture.draw();
    const stream = new MediaStream([...picture.canvas.captureStream(PICTURES).getVideoTracks(), this.#mix.track]);
    const recorder = new MediaRecorder(stream, {mimeType: type, ...BITS});
    recorder.addEventListener('dataavailable', ({data}) => this.#keep(data));
    recorder.addEventListener('error', ({error}) => this.#fail(error));
    this.#done = new Promise((resolve) => recorder.addEventListener('stop', resolve, {once: true}));
    this.#recorder = recorder;
    this.#began = performance.now();
    recorder.start(PIECE);
    this.#ticker = new Worker(new URL('./ticker.js', import.meta.url));
    this.#ticker.onmessage = () => picture.draw();
    this.#ticker.postMessage(1000 / PICTURES);
    this.#timer = setInterval(() => {
      this.#follow();
      this.#show();
    }, 1000);
    this.#parts.mesh.patchMeta({rec: 1});
    addEventListener('beforeunload', this.#warn);
    announce(text('record.runs'));
    this.#show();
    this.#parts.changed();
  }

  /** End it, and save it. */
  async stop() {
    const recorder = this.#recorder;
    if (recorder === null) return;
    const keeping = this.#keeping;
    if (recorder.state !== 'inactive') recorder.stop();
    this.#end();
    await this.#done;
    await this.#writing;
    addEventListener('beforeunload', this.#warn); // until it is with the browser, all of it can be lost
    try {
      await keeping.save();
    } finally {
      if (this.#recorder === null) removeEventListener('beforeunload', this.#warn);
    }
    announce(text('record.saved', {file: keeping.entry.file}));
  }

  #end() {
    removeEventListener('beforeunload', this.#warn);
    clearInterval(this.#timer);
    this.#ticker?.terminate();
    this.#mix?.close();
    this.#recorder = this.#ticker = this.#mix = null;
    document.getElementById('recorder')?.remove();
    this.#parts.mesh.patchMeta({rec: null});
    this.#parts.changed();
  }

  #warn = (event) => event.preventDefault();

  #keep(piece) {
    if (piece.size === 0) return;
    const keeping = this.#keeping;
    this.#writing = this.#writing.then(() => keeping.add(piece)).catch((error) => this.#fail(error));
  }

  /** Nothing that has been recorded is lost. */
  #fail(error) {
    if (this.#recorder === null) return;
    const full = error?.name === 'QuotaExceededError';
    announce(full ? text('record.full') : text('record.broken', {reason: error?.message ?? String(error)}), {urgent: true});
    queueMicrotask(() => this.stop());
  }

  #follow() {
    const {mesh, devices} = this.#parts;
    const peers = [...mesh.peers.values()].flatMap(({streams}) => [streams.camera, streams.screen]);
    const streams = [...peers, devices.screenStream].flatMap((stream) => stream?.getAudioTracks() ?? []);
    this.#mix?.follow([devices.audio, ...streams].filter((track) => track?.readyState === 'live'));
  }

  #show() {
    if (!this.running) return;
    let line = document.getElementById('recorder');
    if (line === null) {
      line = make('p', '', {id: 'recorder', class: 'recorder', 'data-testid': 'recorder'});
      const button = make('button', '', {type: 'button', class: 'secondary', 'data-testid': 'recorder-stop'});
      put(button, 'record.stop');
      putLabel(button, 'record.stop_this');
      button.addEventListener('click', () => this.stop());
      const time = make('span', '', {class: 'recorder-time', role: 'timer'});
      putLabel(time, 'record.clock');
      line.append(time, button);
      element('call-count').after(line);
    }
    line.querySelector('.recorder-time').textContent = `${clock((performance.now() - this.#began) / 1000)} · ${megabytes(this.#keeping.size)}`;
  }
}

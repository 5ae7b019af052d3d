/** Camera, microphone, speaker and screen of this browser: opened, switched and lost without a renegotiation. */

import {memory} from './dom.js';
import {Meter} from './meter.js';
import {text} from './texts.js';

const CAMERA_GRACE = 3000; // ms from "camera off" to the light going out; switching on again before costs nothing
// Sound of a tab, or of the whole system where there is that; not what this page itself plays, which the others say.
const SOUND = {echoCancellation: false, noiseSuppression: false, autoGainControl: false, restrictOwnAudio: true};
const SURFACES = {selfBrowserSurface: 'exclude', surfaceSwitching: 'include', systemAudio: 'include'};
const KINDS = {audio: 'audioinput', video: 'videoinput', speaker: 'audiooutput'};
const LOUD = 3; // speech fills half of a meter
/** What browsers do to a voice unless they are told otherwise. */
export const PROCESSING = ['noiseSuppression', 'echoCancellation', 'autoGainControl'];

const PROBLEMS = {
  NotAllowedError: 'not_allowed',
  SecurityError: 'not_secure',
  NotFoundError: 'not_found',
  NotReadableError: 'in_use',
  AbortError: 'not_started',
  OverconstrainedError: 'not_able',
};
const WHAT = {audio: 'microphone', video: 'camera'};

/**
 * What is wrong with the devices, as one or two sentences; empty if nothing is.
 * @param {{audio: string|null, video: string|null}} problems error names of `getUserMedia`, or 'insecure'
 */
export function problemText(problems) {
  const {audio, video} = problems;
  if (audio !== null && audio === video) return sentence(audio, 'both');
  return ['video', 'audio'].filter((kind) => problems[kind] !== null).map((kind) => sentence(problems[kind], WHAT[kind])).join(' ');
}

function sentence(name, what) {
  if (name === 'insecure') return text('device.insecure');
  return text(`device.${PROBLEMS[name] ?? 'other'}_${what}`, {name});
}

/**
 * Events: `track` with `{kind, track, stream}` whenever what is to be sent as 'audio', 'video', 'screen' or 'screenAudio' has
 * changed (`track` null: nothing); `change` whenever anything that can be seen has; `lost` with `{kind}` when a device went away;
 * `renew` with `{kind}` before its track is replaced by another one of the same device, so that copies of it end, too.
 */
export class Devices extends EventTarget {
  /** @param {{mediaDevices?: MediaDevices, width?: number, height?: number, fps?: number}} options */
  constructor({mediaDevices = navigator.mediaDevices, width = 1280, height = 720, fps = 30} = {}) {
    super();
    this.mediaDevices = mediaDevices;
    this.size = {width: {ideal: width}, height: {ideal: height}, frameRate: {ideal: fps}};
    /** The one stream of microphone and camera, for the whole life of the page. */
    this.stream = typeof MediaStream === 'undefined' ? null : new MediaStream();
    this.audio = null;
    this.video = null;
    this.screen = null;
    this.screenStream = null;
    this.wanted = {audio: true, video: true};
    this.problems = {audio: null, video: null};
    this.chosen = {audio: memory.get('audioinput'), video: memory.get('videoinput'), speaker: memory.get('audiooutput')};
    /** What the user has set; what is not named is the browser's choice. @type {Record<string, boolean>} */
    this.set = Object.fromEntries([...PROCESSING, 'backgroundBlur'].map((name) => [name, memory.get(name)])
      .filter(([, value]) => value !== null).map(([name, value]) => [name, value === 'on']));
    this.cameraTimer = null;
    this.meter = null;
    this.closed = false;
    /** Whether nothing may be sent. */
    this.forgone = false;
    mediaDevices?.addEventListener?.('devicechange', () => this.#changed());
  }

  /** There is nothing to be sent, so nothing is asked for: for those who may only listen. */
  forgo() {
    this.forgone = true;
    this.wanted = {audio: false, video: false};
  }

  /** Ask for what is wanted, together and if that fails one by one. Never rejects: `problems` says what could not be had. */
  async open() {
    const {audio, video} = this.wanted;
    if (!audio && !video) {
      this.#changed();
      return;
    }
    if (!this.mediaDevices?.getUserMedia) {
      this.problems = {audio: 'insecure', video: 'insecure'};
      this.#changed();
      return;
    }
    try {
      const stream = await this.#get({audio: audio && this.#audioWish(), video: video && this.#videoWish()});
      this.#take('audio', stream.getAudioTracks()[0] ?? null);
      this.#take('video', stream.getVideoTracks()[0] ?? null);
    } catch {
      if (audio) await this.#reopen('audio');
      if (video) await this.#reopen('video');
    }
    this.#changed();
  }

  /** Whether the microphone is there and on. */
  get microphoneOn() {
    return this.audio !== null && this.wanted.audio;
  }

  /** Whether the camera is there and on. */
  get cameraOn() {
    return this.video !== null && this.wanted.video;
  }

  /** Mute or unmute; the track stays, so nothing is renegotiated. @returns {Promise<boolean>} whether it is on now */
  async setMicrophone(on) {
    if (this.forgone) return false;
    this.wanted.audio = on;
    if (on && this.audio === null) await this.#reopen('audio');
    if (this.audio !== null) this.audio.enabled = this.wanted.audio; // which may have changed while it was opened
    this.#changed();
    return this.microphoneOn;
  }

  /** The camera: dark at once, and stopped (its light goes out) three seconds later. @returns {Promise<boolean>} */
  async setCamera(on) {
    if (this.forgone) return false;
    this.wanted.video = on;
    clearTimeout(this.cameraTimer);
    if (!on) {
      if (this.video !== null) {
        this.video.enabled = false;
        this.cameraTimer = setTimeout(() => this.#take('video', null), CAMERA_GRACE);
      }
    } else if (this.video !== null) {
      this.video.enabled = true;
    } else {
      await this.#reopen('video');
    }
    this.#changed();
    return this.cameraOn;
  }

  /** @returns {Promise<{audioinput: MediaDeviceInfo[], videoinput: MediaDeviceInfo[], audiooutput: MediaDeviceInfo[]}>} */
  async list() {
    const found = {audioinput: [], videoinput: [], audiooutput: []};
    if (this.mediaDevices?.enumerateDevices) {
      for (const device of await this.mediaDevices.enumerateDevices()) found[device.kind]?.push(device);
    }
    return found;
  }

  /** The id of the device in use. @param {'audioinput'|'videoinput'|'audiooutput'} kind */
  current(kind) {
    if (kind === KINDS.audio) return this.audio?.getSettings().deviceId ?? this.chosen.audio ?? '';
    if (kind === KINDS.video) return this.video?.getSettings().deviceId ?? this.chosen.video ?? '';
    return this.chosen.speaker ?? '';
  }

  /** Use another device from now on; rejects, and keeps the one before, if it cannot be had. */
  async choose(kind, deviceId) {
    memory.set(kind, deviceId);
    if (kind === KINDS.speaker) {
      this.chosen.speaker = deviceId;
      this.#changed();
      return;
    }
    const which = kind === KINDS.audio ? 'audio' : 'video';
    const before = this.chosen[which];
    this.chosen[which] = deviceId;
    if (!this.wanted[which]) {
      this.#take(which, null); // it is off: the new one is opened when it is switched on
      return;
    }
    try {
      await this.#open(which, true);
    } catch (error) {
      this.chosen[which] = before;
      throw error;
    } finally {
      this.#changed();
    }
  }

  /** Share a screen, window or tab; the user picks. @returns {Promise<boolean>} false if the user thought better of it */
  async share() {
    let stream;
    try {
      stream = await this.mediaDevices.getDisplayMedia({video: {frameRate: {ideal: 15, max: 30}}, audio: SOUND, ...SURFACES});
    } catch (error) {
      if (error.name === 'NotAllowedError' || error.name === 'AbortError') return false;
      throw error;
    }
    this.stopSharing();
    const [track] = stream.getVideoTracks();
    track.contentHint = 'detail';
    track.addEventListener('ended', () => this.screen === track && this.stopSharing());
    this.screen = track;
    this.screenStream = stream;
    this.#tell('screen', track, stream);
    const [sound] = stream.getAudioTracks();
    if (sound) {
      sound.contentHint = 'music';
      sound.addEventListener('ended', () => this.screenStream === stream && this.#tell('screenAudio', null, null));
      this.#tell('screenAudio', sound, stream);
    }
    this.#changed();
    return true;
  }

  /** Stop sharing the screen; nothing happens if it is not shared. */
  stopSharing() {
    if (this.screen === null) return;
    for (const track of this.screenStream.getTracks()) track.stop();
    this.screen = null;
    this.screenStream = null;
    this.#tell('screenAudio', null, null);
    this.#tell('screen', null, null);
    this.#changed();
  }

  /** Which way the camera looks: 'user', 'environment', or '' where the browser does not say. */
  get facing() {
    return this.video?.getSettings().facingMode ?? '';
  }

  /** Have something done to sound or picture, or not, from now on; the next track is opened so. @param {string} name of a constraint */
  prefer(name, on) {
    this.set[name] = on;
    memory.set(name, on ? 'on' : 'off');
  }

  /**
   * Open the device in use anew, as it is to be now, or another one that `change` asks for. Rejects if that cannot be had, and goes back.
   * The track ends before: telephones open one camera at a time, and Chromium a microphone with one kind of processing.
   * @param {'audio'|'video'} kind @param {MediaTrackConstraints} [change]
   */
  async renew(kind, change = {}) {
    const before = this[kind];
    if (before === null) return;
    const same = {...(kind === 'audio' ? this.#audioWish() : this.#videoWish()), deviceId: {exact: before.getSettings().deviceId}};
    const open = async (wish) => this.#take(kind, (await this.#get({[kind]: wish})).getTracks()[0]);
    this.dispatchEvent(new CustomEvent('renew', {detail: {kind}}));
    before.stop();
    try {
      await open({...same, ...change});
    } catch (error) {
      await open(same).catch(() => this.#reopen(kind));
      throw error;
    }
    if ('deviceId' in change) {
      this.chosen[kind] = this[kind].getSettings().deviceId;
      memory.set(KINDS[kind], this.chosen[kind]);
    }
  }

  /** How loud the microphone is now, 0 to 1: for a meter, so that speech is somewhere in the middle. */
  level() {
    if (this.audio === null || !this.audio.enabled) return 0;
    if (this.meter?.track !== this.audio) {
      this.closeMeter();
      this.meter = new Meter(this.audio);
    }
    return Math.min(1, this.meter.level() * LOUD);
  }

  /** The level is not looked at any more. */
  closeMeter() {
    this.meter?.close();
    this.meter = null;
  }

  /** Let go of everything. */
  close() {
    this.closed = true;
    clearTimeout(this.cameraTimer);
    this.stopSharing();
    this.closeMeter();
    this.#take('audio', null);
    this.#take('video', null);
  }

  async #reopen(kind) {
    if (!this.mediaDevices?.getUserMedia) return;
    try {
      await this.#open(kind, false);
    } catch (error) {
      this.problems[kind] = error.name;
      this.#take(kind, null);
    }
  }

  async #open(kind, exactly) {
    const wish = kind === 'audio' ? {audio: this.#audioWish(exactly)} : {video: this.#videoWish(exactly)};
    const stream = await this.#get(wish);
    this.#take(kind, stream.getTracks()[0] ?? null);
  }

  async #get(constraints) {
    const stream = await this.mediaDevices.getUserMedia(constraints);
    if (this.closed) {
      for (const track of stream.getTracks()) track.stop();
      throw new DOMException('the page let go of its devices', 'AbortError');
    }
    return stream;
  }

  #audioWish(exactly = false) {
    const wish = {};
    // All or none: browsers leave out the others, too, when they are asked to leave out one.
    if (PROCESSING.some((name) => name in this.set)) for (const name of PROCESSING) wish[name] = this.set[name] ?? true;
    if (this.chosen.audio) wish.deviceId = exactly ? {exact: this.chosen.audio} : {ideal: this.chosen.audio};
    return wish;
  }

  #videoWish(exactly = false) {
    const wish = {...this.size};
    if (this.set.backgroundBlur) wish.backgroundBlur = true;
    if (this.chosen.video) wish.deviceId = exactly ? {exact: this.chosen.video} : {ideal: this.chosen.video};
    return wish;
  }

  #take(kind, track) {
    const before = this[kind];
    if (before === track) return;
    if (before !== null) {
      this.stream?.removeTrack(before);
      before.stop();
    }
    this[kind] = track;
    if (track !== null) {
      this.problems[kind] = null;
      track.enabled = this.wanted[kind];
      this.stream.addTrack(track);
      track.addEventListener('ended', () => this.#ended(kind, track));
    }
    this.#tell(kind, track, this.stream);
    this.#changed();
  }

  /** A device that went away (unplugged, permission withdrawn) is replaced by whatever there is, or by nothing. */
  async #ended(kind, track) {
    if (this[kind] !== track || this.closed) return;
    this.chosen[kind] = null;
    this.dispatchEvent(new CustomEvent('lost', {detail: {kind}}));
    await this.#reopen(kind);
    this.#changed();
  }

  #tell(kind, track, stream) {
    this.dispatchEvent(new CustomEvent('track', {detail: {kind, track, stream}}));
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/**
 * Messages to everybody in the call, through the server and kept by nobody but the pages. Who joins later asks one of the
 * others for what was said before. All of it is hostile text: it only ever becomes text, and links of http and https.
 */

import {announce, element, make} from './dom.js';
import {text as say, time as timeOf} from './texts.js';

const LONGEST = 1000; // characters of one message
const KEPT = 200; // messages
const TOLD = 40; // of them, to somebody who has come later
const PART = 3000; // bytes of JSON in one message of the protocol, which takes 4096
const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/gu;

/** @typedef {{id: string, name: string, text: string, at: number}} Entry */

/** Text with its links. @param {string} text @returns {(Node | string)[]} */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const {0: found, index} of text.matchAll(LINK)) {
    if (!URL.canParse?.(found)) continue;
    parts.push(text.slice(end, index), make('a', found, {href: found, target: '_blank', rel: 'noopener noreferrer nofollow'}));
    end = index + found.length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== '');
}

/** An entry as it may have come from anybody; null for what is none. @returns {Entry | null} */
export function entryOf(data) {
  const {id, name, text, at} = data ?? {};
  const strings = [id, name, text].every((each) => typeof each === 'string');
  if (!strings || !Number.isFinite(at) || text.trim() === '' || id.length > 40) return null;
  return {id, name: [...name].slice(0, 64).join(''), text: [...text].slice(0, LONGEST).join(''), at};
}

export class Chat {
  #entries = new Map(); #asked = false; #unread = 0;

  /**
   * @param {import('./mesh.js').Mesh} mesh
   * @param {{name: () => string, nameOf: (id: string) => string, changed: (open: boolean, unread: number) => void}} parts
   */
  constructor(mesh, {name, nameOf, changed}) {
    this.mesh = mesh;
    this.name = name;
    this.nameOf = nameOf;
    this.changed = changed;
    element('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#say();
    });
    element('chat-drawer').addEventListener('keydown', (event) => event.key === 'Escape' && this.toggle(false));
    element('chat-close').addEventListener('click', () => this.toggle(false));
    mesh.addEventListener('message', ({detail}) => this.#heard(detail));
  }

  /** How many messages came while it was closed. */
  get unread() {
    return this.#unread;
  }

  /** Whether it is open. */
  get open() {
    return !element('chat-drawer').hidden;
  }

  /** Open or close; the focus goes with it. */
  toggle(open = !this.open) {
    if (open === this.open) return;
    element('chat-drawer').hidden = !open;
    if (open) this.#unread = 0;
    this.changed(open, this.#unread);
    (open ? element('chat-text') : element('chat')).focus();
    if (open) this.#scroll();
  }

  /** In the call: ask the one who has been there longest for what was said before. */
  begin() {
    const oldest = [...this.mesh.peers.values()].sort((one, other) => one.info.since - other.info.since)[0];
    if (this.#asked || oldest === undefined) return;
    this.#asked = true;
    this.mesh.message({chat: 'history'}, oldest.id);
  }

  /** The call is over, and what was said goes with it. */
  end() {
    this.#entries.clear();
    this.#asked = false;
    this.#unread = 0;
    element('chat-list').replaceChildren();
    this.toggle(false);
  }

  #say() {
    const field = element('chat-text');
    const text = field.value.trim().slice(0, LONGEST);
    if (text === '') return;
    field.value = '';
    const entry = {id: crypto.getRandomValues(new Uint32Array(3)).join('-'), name: this.name(), text, at: Date.now()};
    this.mesh.message({chat: entry});
    this.#add(entry, false);
  }

  #heard({from, data}) {
    const chat = data?.chat;
    if (chat === undefined) return;
    if (chat === 'history') this.#tell(from);
    else if (Array.isArray(chat)) {
      for (const each of chat.slice(0, TOLD)) this.#add(entryOf(each), false);
    } else {
      const entry = entryOf(chat);
      if (entry !== null) this.#add({...entry, name: this.nameOf(from), at: Date.now()}, true); // a name is the server's to say
    }
  }

  /** What was said before, in pieces that the protocol takes. */
  #tell(to) {
    let part = [];
    const send = () => {
      if (part.length > 0) this.mesh.message({chat: part}, to);
      part = [];
    };
    for (const entry of [...this.#entries.values()].slice(-TOLD)) {
      if (new TextEncoder().encode(JSON.stringify([...part, entry])).length > PART) send();
      part.push(entry);
    }
    send();
  }

  #add(entry, isNew) {
    if (entry === null || this.#entries.has(entry.id)) return;
    this.#entries.set(entry.id, entry);
    const list = element('chat-list');
    const line = make('li', '', {'data-testid': 'chat-line', 'data-at': String(entry.at)});
    const time = timeOf(entry.at);
    const head = make('p', '', {class: 'chat-head'});
    head.append(make('bdi', entry.name), make('span', time, {class: 'muted small'}));
    const body = make('p', '', {class: 'chat-body', dir: 'auto'});
    body.append(...linked(entry.text));
    line.append(head, body);
    const later = [...list.children].find((each) => Number(each.dataset.at) > entry.at);
    list.insertBefore(line, later ?? null);
    if (this.#entries.size > KEPT) {
      this.#entries.delete(this.#entries.keys().next().value);
      list.firstElementChild.remove();
    }
    if (isNew && !this.open) {
      this.#unread += 1;
      this.changed(false, this.#unread);
      announce(say('chat.line', {name: entry.name, line: entry.text.slice(0, 200)}));
    } else if (isNew) announce(say('chat.line', {name: entry.name, line: entry.text.slice(0, 200)}), {unseen: true});
    this.#scroll();
  }

  #scroll() {
    const list = element('chat-list');
    list.scrollTop = list.scrollHeight;
  }
}

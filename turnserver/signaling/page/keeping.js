/**
 * Where a recording is kept while it runs: in files of the browser's own (OPFS), one for each piece, so that it needs no
 * memory and is still there when the page, the browser or the machine has died. Where there are none, in memory.
 */

import {memory} from './dom.js';
import {number} from './texts.js';

const FOLDER = 'recordings';
const LIST = 'recordings'; // in `memory`: what is in the folder, and whether it has been saved

/** Bytes that are kept at most where there is only memory. */
export const MOST_IN_MEMORY = 500_000_000;

/** A size for people. @param {number} bytes */
export function megabytes(bytes) {
  return number(bytes / 1e6, {style: 'unit', unit: 'megabyte', maximumFractionDigits: 1});
}

/** @typedef {{id: string, file: string, type: string, saved?: boolean}} Entry */

/** @returns {Entry[]} */
function entries() {
  try {
    const found = JSON.parse(memory.get(LIST) ?? '[]');
    return Array.isArray(found) ? found.filter((each) => typeof each?.id === 'string' && typeof each.file === 'string') : [];
  } catch {
    return [];
  }
}

function remember(list) {
  memory.set(LIST, JSON.stringify(list));
}

async function folder(create) {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(FOLDER, {create});
}

/** Hold on to a name as long as this page lives, so that other pages see that the recording runs. */
function hold(id) {
  navigator.locks?.request(`meshturn.recording.${id}`, () => new Promise(() => {})).catch(() => {});
}

/** Pieces of one recording, in order. */
export class Keeping {
  #directory; #count = 0; #rest = []; #kept = 0;

  /** @param {Entry} entry @param {FileSystemDirectoryHandle | null} directory null: in memory */
  constructor(entry, directory) {
    this.entry = entry;
    this.#directory = directory;
    /** Bytes so far. */
    this.size = 0;
  }

  /** Begin. @param {string} file its name once it is saved @param {string} type */
  static async begin(file, type) {
    const entry = {id: `${Date.now()}-${crypto.getRandomValues(new Uint32Array(1))[0]}`, file, type};
    if (!(await Keeping.onDisk())) return new Keeping(entry, null);
    const directory = await (await folder(true)).getDirectoryHandle(entry.id, {create: true});
    remember([...entries(), entry]);
    hold(entry.id);
    return new Keeping(entry, directory);
  }

  /** Whether there are files for it: not in private windows, nor in browsers that cannot write them from a page. */
  static async onDisk() {
    try {
      await folder(true);
      return 'createWritable' in FileSystemFileHandle.prototype;
    } catch {
      return false;
    }
  }

  /** One more piece. Rejects if it cannot be kept as the others are; it is not lost: it stays in memory. @param {Blob} piece */
  async add(piece) {
    this.size += piece.size;
    if (this.#directory === null || this.#rest.length > 0) {
      this.#rest.push(piece);
      if (this.#directory === null && this.size > MOST_IN_MEMORY) throw new DOMException('more than memory may take', 'QuotaExceededError');
      return;
    }
    try {
      const file = await this.#directory.getFileHandle(String(this.#count), {create: true});
      const stream = await file.createWritable();
      await stream.write(piece);
      await stream.close();
      this.#count += 1;
    } catch (error) {
      this.#rest.push(piece);
      throw error;
    }
  }

  /** All of it; what is on the disk is not read for that. @returns {Promise<Blob>} */
  async whole() {
    const files = this.#directory === null ? [] : await pieces(this.#directory, this.#count);
    return new Blob([...files, ...this.#rest], {type: this.entry.type});
  }

  /** Offer it to the user as a file. */
  async save() {
    download(await playable(await this.whole()), this.entry.file);
    remember(entries().map((each) => (each.id === this.entry.id ? {...each, saved: true} : each)));
  }
}

async function pieces(directory, count) {
  const files = [];
  for (let number = 0; number < count; number += 1) files.push(await (await directory.getFileHandle(String(number))).getFile());
  return files;
}

/** With a length, and places to jump to, which browsers do not write; as it is, where it cannot be read. @param {Blob} blob */
async function playable(blob) {
  if (!blob.type.startsWith('video/webm')) return blob;
  try {
    const {finished} = await import('./webm.js');
    return await finished(blob);
  } catch {
    return blob;
  }
}

function download(blob, name) {
  const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(blob), download: name});
  document.body.append(link);
  link.click();
  link.remove();
}

/**
 * What is left of pages that died while they recorded. What has been saved is deleted here: when it was saved, the browser
 * was still reading it.
 * @returns {Promise<{file: string, size: number, save: () => Promise<void>, discard: () => Promise<void>}[]>}
 */
export async function leftovers() {
  const held = new Set((await navigator.locks?.query())?.held.map(({name}) => name));
  const found = [];
  for (const entry of entries()) {
    if (held.has(`meshturn.recording.${entry.id}`)) continue;
    const discard = () => forget(entry);
    const blob = entry.saved ? null : await read(entry);
    if (blob === null || blob.size === 0) await discard();
    else {
      const save = async () => {
        download(await playable(blob), entry.file);
        remember(entries().map((each) => (each.id === entry.id ? {...each, saved: true} : each)));
      };
      found.push({file: entry.file, size: blob.size, save, discard});
    }
  }
  return found;
}

async function read({id, type}) {
  try {
    const directory = await (await folder(false)).getDirectoryHandle(id);
    let count = 0;
    for await (const name of directory.keys()) if (/^\d+$/.test(name)) count = Math.max(count, Number(name) + 1);
    return new Blob(await pieces(directory, count), {type});
  } catch {
    return null;
  }
}

async function forget({id}) {
  try {
    await (await folder(false)).removeEntry(id, {recursive: true});
  } catch {
    // it is not there
  }
  remember(entries().filter((each) => each.id !== id));
}

/**
 * What browsers leave out of the WebM files that they record, since they write them as they go: how long it is, and where
 * its pictures are. Without these, players show no length, and search through the whole file when somebody jumps.
 *
 * WebM is EBML (RFC 8794), Matroska's elements (RFC 9559): an id, a size, and content. A recording is one Segment with Info
 * and Tracks, and then Clusters of blocks; sizes of Segment and Clusters may be unknown. It is read once, a piece at a
 * time, and only its beginning is written anew: with Duration in Info, and with Cues, one for a picture that needs no other.
 */

const ID = Object.freeze({
  segment: 0x18538067, seekHead: 0x114d9b74, void: 0xec, info: 0x1549a966, duration: 0x4489, tracks: 0x1654ae6b, entry: 0xae, number: 0xd7, type: 0x83,
  cluster: 0x1f43b675, timestamp: 0xe7, group: 0xa0, block: 0xa1, simple: 0xa3, cues: 0x1c53bb6b, point: 0xbb, time: 0xb3, positions: 0xb7, track: 0xf7, position: 0xf1,
});
/** Elements whose content is read as elements that follow, so that it does not matter whether their size is known. */
const OPEN = new Set([ID.segment, ID.tracks, ID.entry, ID.cluster, ID.group]);
const VIDEO = 1;
const KEY = 0x80;
const HEAD = 12; // bytes of an id (4) and a size (8), at most
const LOOK = 16; // bytes of the content of a value, at most: a track (8), a time (2) and flags (1) of a block
const MOST_BEGINNING = 1 << 20; // bytes before the first cluster: some hundreds in a recording
const MOST_CUES = 50_000; // a megabyte of them
const BETWEEN_CUES = 1000; // of the file's units, which are ms in every recording

/** @param {Uint8Array} bytes @param {number} at @returns {{length: number, value: number} | null} */
function readId(bytes, at) {
  const length = Math.clz32(bytes[at]) - 23;
  return length > 4 || at + length > bytes.length ? null : {length, value: readNumber(bytes.subarray(at, at + length))};
}

/** A size, or a track's number. @returns {{length: number, value: number} | null} Infinity: it is not known */
function readSize(bytes, at) {
  const length = Math.clz32(bytes[at]) - 23;
  if (length > 8 || at + length > bytes.length) return null;
  const value = readNumber(bytes.subarray(at + 1, at + length)) + (bytes[at] & (0xff >> length)) * 256 ** (length - 1);
  const most = 2 ** (7 * length) - 1;
  return {length, value: value >= most ? Infinity : value};
}

function readNumber(bytes) {
  return bytes.reduce((number, byte) => number * 256 + byte, 0);
}

/** What a file is made of, as far as it has been read. */
class Reader {
  #rest = new Uint8Array(0); #at = 0; #skip = 0; #track = {}; #video = null; #cluster = {at: 0, time: 0};
  /** Where the first cluster is, in bytes; null as long as there is none. */
  first = null;
  /** The latest time of a block. */
  last = 0;
  /** @type {{time: number, track: number, at: number}[]} */
  cues = [];

  /** Read on. @param {Uint8Array} piece @returns {boolean} false if it is no recording as browsers make them */
  read(piece) {
    const skipped = Math.min(this.#skip, piece.length);
    this.#skip -= skipped;
    this.#at += skipped;
    const bytes = new Uint8Array(this.#rest.length + piece.length - skipped);
    bytes.set(this.#rest);
    bytes.set(piece.subarray(skipped), this.#rest.length);
    return this.#walk(bytes, HEAD + LOOK);
  }

  /** There is no more; it may have been cut off. */
  end() {
    return this.#walk(this.#rest, 1) && this.first !== null;
  }

  /** @param {number} needed bytes for an element to be looked at */
  #walk(bytes, needed) {
    let at = 0;
    while (bytes.length - at >= needed) {
      const id = readId(bytes, at);
      const size = id && readSize(bytes, at + id.length);
      if (!size) return needed === 1;
      const body = at + id.length + size.length;
      const open = OPEN.has(id.value);
      if (!open && size.value === Infinity) return false;
      if (!this.#take(id.value, this.#at + at, bytes.subarray(body, body + Math.min(size.value, LOOK)))) return false;
      at = open ? body : body + size.value;
    }
    const done = Math.min(at, bytes.length);
    this.#skip = at - done;
    this.#rest = bytes.slice(done);
    this.#at += done;
    return true;
  }

  #take(id, at, content) {
    if ((this.first === null && at > MOST_BEGINNING) || id === ID.cues) return false;
    if (id === ID.entry) this.#track = {};
    else if (id === ID.number || id === ID.type) {
      this.#track[id] = readNumber(content);
      if (this.#track[ID.type] === VIDEO) this.#video ??= this.#track[ID.number] ?? null;
    } else if (id === ID.cluster) {
      this.first ??= at;
      this.#cluster = {at, time: 0};
    } else if (id === ID.timestamp) this.#cluster.time = readNumber(content);
    else if (id === ID.block || id === ID.simple) this.#block(content, id === ID.simple);
    return true;
  }

  #block(content, simple) {
    const track = readSize(content, 0);
    if (!track || content.length < track.length + 3) return;
    const time = this.#cluster.time + new DataView(content.buffer, content.byteOffset).getInt16(track.length);
    if (time > this.last) this.last = time;
    if (!simple || track.value !== this.#video || (content[track.length + 2] & KEY) === 0) return;
    const {time: before} = this.cues.at(-1) ?? {time: -Infinity};
    if (time - before >= BETWEEN_CUES && this.cues.length < MOST_CUES) this.cues.push({time, track: track.value, at: this.#cluster.at});
  }
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

/** An id, and a size of eight bytes; Infinity: one that is not known. */
function head(id, size) {
  const made = new DataView(new ArrayBuffer(HEAD));
  const length = Math.ceil((32 - Math.clz32(id)) / 8);
  made.setUint32(0, id << (8 * (4 - length)));
  made.setUint32(length, size === Infinity ? 0x01ffffff : 0x01000000);
  made.setUint32(length + 4, size === Infinity ? 0xffffffff : size);
  return new Uint8Array(made.buffer, 0, length + 8);
}

/** @param {number} id @param {...Uint8Array} content */
function element(id, ...content) {
  const body = joined(content);
  return joined([head(id, body.length), body]);
}

/** @param {'setFloat64' | 'setBigUint64'} kind @param {number | bigint} value */
function value(id, kind, value) {
  const made = new DataView(new ArrayBuffer(8));
  made[kind](0, value);
  return element(id, new Uint8Array(made.buffer));
}

/** The elements that some bytes consist of. @returns {{id: number, body: Uint8Array, whole: Uint8Array}[] | null} */
function elements(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const id = readId(bytes, at);
    const size = id && readSize(bytes, at + id.length);
    if (!size) return null;
    const body = at + id.length + size.length;
    const end = body + size.value;
    if (end > bytes.length) return null;
    found.push({id: id.value, body: bytes.subarray(body, end), whole: bytes.subarray(at, end)});
    at = end;
  }
  return found;
}

/** What stands before the first cluster, with a duration and with cues. @param {Uint8Array} old @param {Reader} reader */
function beginning(old, {first, last, cues}) {
  const mark = readSize(old, 4); // of the EBML header, whose id has four bytes
  const at = mark && 4 + mark.length + mark.value;
  const size = mark && readId(old, at)?.value === ID.segment ? readSize(old, at + 4) : null;
  const parts = size && elements(old.subarray(at + 4 + size.length));
  const info = parts?.find(({id}) => id === ID.info);
  const facts = info && elements(info.body);
  if (!facts) return null;
  const kept = parts.filter(({id}) => id !== ID.info && id !== ID.seekHead && id !== ID.void).map(({whole}) => whole);
  const others = facts.filter(({id}) => id !== ID.duration).map(({whole}) => whole);
  const front = [element(ID.info, ...others, value(ID.duration, 'setFloat64', last)), ...kept];
  const index = (shift) => element(ID.cues, ...cues.map(({time, track, at: cluster}) => element(
    ID.point,
    value(ID.time, 'setBigUint64', BigInt(time)),
    element(ID.positions, value(ID.track, 'setBigUint64', BigInt(track)), value(ID.position, 'setBigUint64', BigInt(cluster - first + shift))),
  )));
  // Where clusters are, counted from the segment's content, depends on how much stands before them.
  const shift = joined(front).length + (cues.length > 0 ? index(0).length : 0);
  return joined([old.subarray(0, at), head(ID.segment, Infinity), ...front, ...(cues.length > 0 ? [index(shift)] : [])]);
}

/**
 * The same recording with a duration, and with cues; as it is, if it is not understood. @param {Blob} blob @returns {Promise<Blob>}
 */
export async function finished(blob) {
  const reader = new Reader();
  const pieces = blob.stream().getReader();
  for (;;) {
    const {done, value: piece} = await pieces.read();
    if (done) break;
    if (!reader.read(piece)) {
      await pieces.cancel();
      return blob;
    }
  }
  if (!reader.end()) return blob;
  const made = beginning(new Uint8Array(await blob.slice(0, reader.first).arrayBuffer()), reader);
  return made === null ? blob : new Blob([made, blob.slice(reader.first)], {type: blob.type});
}

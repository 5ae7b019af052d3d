/** The tables of the page: what each shows, and what can be done from it. */

import {element, make, note, setText} from './dom.js';
import {Table} from './table.js';
import {bits, bytes, date, duration} from './units.js';

const plain = (title, name) => ({title, text: (row) => row[name] ?? '–'});

/** The figures of `/v1/status`. */
export class Figures {
  #cells = new Map();

  show(status) {
    const {limits, participants, pairs, relayed} = status;
    const of = ({used, allowed}) => (allowed === null ? `${used}` : `${used} of ${allowed}`);
    const figures = {
      State: status.draining ? 'draining' : 'serving',
      Uptime: duration(status.uptime),
      Allocations: of(limits.allocations),
      Connections: of(limits.connections),
      Rooms: of(limits.rooms),
      Participants: `${participants.connected + participants.away}`,
      'Pairs direct / relayed': `${pairs.direct} / ${pairs.relay}`,
      'Relayed to peers': bytes(relayed.bytes_to_peers),
      'Relayed to clients': bytes(relayed.bytes_to_client),
      'Relay packets dropped': `${relayed.dropped}`,
      'Allocates refused': `${status.refused}`,
      'Wrong logins': `${status.failed_logins}`,
      'Descriptors': of(limits.descriptors),
      'Faults': `${status.faults}`,
    };
    for (const [name, value] of Object.entries(figures)) {
      if (!this.#cells.has(name)) {
        const box = make('div');
        const cell = make('dd');
        box.append(make('dt', name), cell);
        element('figures').append(box);
        this.#cells.set(name, cell);
      }
      setText(this.#cells.get(name), value);
    }
  }
}

/** Listeners, relay ports, refusals and certificates, all from `/v1/status`. */
export function statusTables() {
  const listeners = new Table(element('listeners'), {
    caption: 'Listeners',
    columns: [plain('Kind', 'kind'), plain('Address', 'address'), {title: 'Transports', text: (row) => row.transports.join(', ')},
      plain('Connections', 'connections'), plain('Dropped', 'dropped')],
    keyOf: (row) => `${row.kind} ${row.address}`,
    empty: 'There is no listener.',
  });
  const ports = new Table(element('ports'), {
    caption: 'Relay ports',
    columns: [plain('Address', 'address'), plain('Protocol', 'protocol'), plain('Taken', 'used'), plain('Of', 'allowed')],
    keyOf: (row) => `${row.protocol} ${row.address}`,
    empty: 'There are no relay ports.',
  });
  const refusals = new Table(element('refusals'), {
    caption: 'Most frequent refusals since the start',
    columns: [plain('Code', 'code'), plain('Reason', 'cause'), plain('Times', 'times')],
    keyOf: (row) => `${row.code} ${row.cause}`,
    empty: 'Nothing was refused.',
  });
  const certificates = new Table(element('certificates-table'), {
    caption: 'Certificates in use',
    columns: [plain('File', 'file'), {title: 'Valid from', text: (row) => date(row.not_before)},
      {title: 'Valid to', text: (row) => date(row.not_after)},
      {title: 'Left', text: (row) => (row.left > 0 ? duration(row.left) : 'expired')}],
    keyOf: (row) => row.file,
    empty: 'No certificate is in use.',
  });
  return (status) => {
    listeners.show(status.listeners);
    ports.show(status.ports);
    refusals.show(status.refusals);
    certificates.show(status.certificates.map((each) => ({...each, left: each.not_after - status.now})));
  };
}

/** The allocations. `may` says whether they may be killed, and `kill` does it. */
export class Sessions {
  #all = [];
  #table;

  constructor(may, kill) {
    const sortable = (title, name, text = (row) => row[name] ?? '–') => ({title, text, order: (row) => row[name] ?? -1});
    const total = (row) => row.bytes_to_peers + row.bytes_to_client;
    const rate = (row) => (row.rate_to_peers === null ? -1 : row.rate_to_peers + row.rate_to_client);
    this.#table = new Table(element('sessions-table'), {
      caption: 'Allocations',
      columns: [
        sortable('User', 'user'),
        sortable('Client', 'client'),
        plain('Over', 'transport'),
        {title: 'Relayed address', text: (row) => row.relayed.join(' ')},
        {title: 'Room', text: (row) => row.room ?? '–', order: (row) => row.room ?? ''},
        sortable('Age', 'age', (row) => duration(row.age)),
        {title: 'Bytes', text: (row) => bytes(total(row)), order: total},
        {title: 'Rate', text: (row) => (rate(row) < 0 ? '–' : bits(rate(row))), order: rate},
        {title: 'Kill', button: 'Kill…', label: (row) => `Kill the session of ${row.user} from ${row.client}`, press: kill, allowed: may},
      ],
      keyOf: (row) => row.id,
      empty: 'There is no such session.',
      sorted: 'Bytes',
    });
    element('search').addEventListener('input', () => this.#filter());
  }

  show({allocations, total}) {
    this.#all = allocations;
    this.#offer(true);
    setText(element('sessions-note'), allocations.length < total ? `${allocations.length} of ${total}, those with the most bytes` : `${total} in all`);
    this.#filter();
  }

  /** The server has no such route. */
  unavailable() {
    setText(element('sessions-note'), 'This server does not list its sessions.');
    this.#offer(false);
  }

  #offer(there) {
    for (const part of [element('search').parentElement, element('sessions-table')]) part.hidden = !there;
  }

  #filter() {
    const wanted = element('search').value.trim().toLowerCase();
    const texts = (row) => [row.user, row.client, row.room, row.participant, ...row.relayed];
    this.#table.show(this.#all.filter((row) => texts(row).some((text) => (text ?? '').toLowerCase().includes(wanted))));
  }
}

/** The rooms, and one of them in detail. */
export class Rooms {
  #table;
  #peers;
  #pairs;
  open = null;

  constructor(may, {look, close, remove}) {
    this.#table = new Table(element('rooms-table'), {
      caption: 'All rooms',
      columns: [
        plain('Room', 'id'),
        {title: 'Participants', text: (row) => `${row.count} of ${row.max}`},
        plain('Mode', 'mode'),
        {title: 'Locked', text: (row) => (row.locked ? 'yes' : 'no')},
        {title: 'Recorded', text: (row) => (row.recorded === null ? 'no' : 'yes')},
        plain('Waiting', 'waiting'),
        {title: 'Show', button: 'Show', label: (row) => `Show the room ${row.id}`, press: look},
        {title: 'Close', button: 'Close…', label: (row) => `Close the room ${row.id}`, press: close, allowed: may},
      ],
      keyOf: (row) => row.id,
      empty: 'There is no room.',
    });
    this.#peers = new Table(element('peers-table'), {
      caption: 'Participants',
      columns: [
        plain('Name', 'name'),
        plain('Role', 'role'),
        {title: 'Connected', text: (row) => (row.connected ? 'yes' : 'no')},
        {title: 'Relays', text: (row) => row.turn.relayed.join(' ') || 'none'},
        {title: 'Sent and received by relays', text: (row) => `${bytes(row.turn.bytes_up)} / ${bytes(row.turn.bytes_down)}`},
        {title: 'Remove', button: 'Remove…', label: (row) => `Remove ${row.name} (${row.id})`, press: remove, allowed: may},
      ],
      keyOf: (row) => row.id,
      empty: 'Nobody is in this room.',
    });
    this.#pairs = new Table(element('pairs-table'), {
      caption: 'Pairs',
      columns: [
        plain('One', 'one'),
        plain('Other', 'other'),
        plain('Path', 'path'),
        plain('Over', 'proto'),
        {title: 'Seen by', text: (row) => row.seen_by ?? '–'},
        {title: 'Relayed', text: (row) => `${bytes(row.bytes.a_to_b)} / ${bytes(row.bytes.b_to_a)}`},
        {title: 'Round trip', text: (row) => (row.rtt === null ? '–' : `${Math.round(row.rtt)} ms`)},
      ],
      keyOf: (row) => `${row.a} ${row.b}`,
      empty: 'There is no pair.',
    });
  }

  show({rooms}) {
    this.#table.show(rooms);
  }

  /** Show one room in detail; null for none. */
  detail(room) {
    const had = element('room').contains(document.activeElement);
    this.open = room === null ? null : room.id;
    element('room').hidden = room === null;
    if (room === null) {
      if (had) element('rooms-title').focus();
      return;
    }
    setText(element('room-title'), `Room ${room.id}`);
    const names = new Map(room.peers.map((peer) => [peer.id, peer.name]));
    this.#peers.show(room.peers);
    this.#pairs.show(room.pairs.map((pair) => ({
      ...pair,
      one: names.get(pair.a),
      other: names.get(pair.b),
      rtt: pair.reports.a?.rtt ?? pair.reports.b?.rtt ?? null,
    })));
  }
}

/** @returns {(config: object) => void} What shows the configuration, one row for each option. */
export function configuration() {
  const table = new Table(element('options-table'), {
    caption: 'Options and their values',
    columns: [plain('Option', 'path'), plain('Value', 'value')],
    keyOf: (row) => row.path,
    empty: 'There is no option.',
    kind: 'options',
  });
  return (config) => table.show([...flat(config, '')]);
}

function* flat(value, path) {
  const inner = value !== null && typeof value === 'object' ? Object.entries(value) : [];
  if (inner.length === 0) {
    yield {path, value: typeof value === 'string' ? value : JSON.stringify(value)};
    return;
  }
  const list = Array.isArray(value);
  for (const [name, each] of inner) yield* flat(each, list ? `${path}[${name}]` : path ? `${path}.${name}` : name);
}

/** Say what the state of the connection is, once for each change. */
export function banner(text) {
  note(element('banner'), text);
}

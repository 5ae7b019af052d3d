/** Graphs of the last hour: lines in SVG, each with a sentence and a table that say the same. */

import {make, setText} from './dom.js';
import {Table} from './table.js';
import {bits, clock, count, milliseconds} from './units.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 100;
const SPAN = 3600; // seconds
const ROWS = 12;

const CHARTS = [
  {title: 'Allocations', lines: [['allocations', 'allocations']], say: count},
  {title: 'Relayed', lines: [['bits_to_peers', 'to peers'], ['bits_to_client', 'to clients (dashed)']], say: bits},
  {title: 'Participants of rooms', lines: [['participants', 'participants']], say: count},
  {title: 'Refused and dropped, in ten seconds', lines: [['refused', 'Allocates refused'], ['dropped', 'packets dropped (dashed)']], say: count},
  {title: 'Event loop lag', lines: [['loop_lag', 'lag']], say: milliseconds},
];

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

class Chart {
  constructor(place, {title, lines, say}) {
    this.lines = lines;
    this.say = say;
    this.title = title;
    const figure = make('figure');
    this.picture = svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title});
    this.drawn = lines.map((_, at) => svg('polyline', {class: at === 0 ? 'first' : 'second', points: ''}));
    this.picture.append(...this.drawn);
    this.caption = make('p', '', {class: 'muted'});
    const details = make('details');
    const inside = make('div');
    details.append(make('summary', `${title} as a table`), inside);
    this.table = new Table(inside, {
      caption: `${title}, every five minutes`,
      columns: [
        {title: 'Time', text: (row) => clock(row.at)},
        ...lines.map(([, name], at) => ({title: name, text: (row) => say(row.values[at])})),
      ],
      keyOf: (row) => row.at,
      empty: 'There is no sample yet.',
    });
    figure.append(make('h3', title), this.picture, this.caption, details);
    place.append(figure);
  }

  show(history) {
    const at = history.at;
    const end = at.at(-1) ?? 0;
    const columns = this.lines.map(([name]) => history[name]);
    const most = Math.max(1e-9, ...columns.flat().filter((value) => value !== null));
    columns.forEach((values, line) => {
      const points = [];
      values.forEach((value, sample) => {
        if (value === null) return;
        const x = WIDTH - ((end - at[sample]) / SPAN) * WIDTH;
        points.push(`${x.toFixed(1)},${(HEIGHT - 3 - (value / most) * (HEIGHT - 8)).toFixed(1)}`);
      });
      this.drawn[line].setAttribute('points', points.join(' '));
    });
    const text = this.lines.map(([, name], line) => {
      const known = columns[line].filter((value) => value !== null);
      return known.length ? `${name}: now ${this.say(known.at(-1))}, at most ${this.say(Math.max(...known))}` : `${name}: not known yet`;
    }).join('; ');
    setText(this.caption, text);
    this.picture.setAttribute('aria-label', `${this.title}. ${text}`);
    const step = Math.max(1, Math.ceil(at.length / ROWS));
    const rows = [];
    for (let sample = at.length - 1; sample >= 0; sample -= step) {
      rows.push({at: at[sample], values: columns.map((values) => values[sample])});
    }
    this.table.show(rows);
  }
}

/** @returns {(history: object) => void} What draws an answer of `/v1/history` into `place`. */
export function charts(place) {
  const all = CHARTS.map((each) => new Chart(place, each));
  return (history) => all.forEach((chart) => chart.show(history));
}

/** Who is in the call, and what a host can do about it. */

import {ask} from './ask.js';
import {element, make, setIcon} from './dom.js';
import {list as listOf, text as say} from './texts.js';
import {code} from './verify.js';

/**
 * @typedef {object} Person
 * @property {string} id
 * @property {string} name
 * @property {boolean} you
 * @property {boolean} host
 * @property {boolean} microphone whether it is on
 * @property {RTCPeerConnection | null} pc the connection with that person
 */

export class People {
  /**
   * @param {(op: string, fields?: object) => Promise<boolean>} moderate does what a host may do, and says whether it was done
   * @param {(id: string) => void} spot puts somebody in the spotlight, or nobody
   */
  constructor(moderate, spot) {
    this.spot = spot;
    this.moderate = moderate;
    this.rows = new Map();
    const {door, muteAll, endAll} = {door: element('door'), muteAll: element('mute-all'), endAll: element('end-all')};
    door.addEventListener('change', () => this.#open(door.value));
    muteAll.addEventListener('click', () => moderate('mute', {value: 'audio'}));
    endAll.addEventListener('click', () => this.#end());
    element('people').addEventListener('click', () => {
      element('people-dialog').showModal();
      this.shown?.();
    });
  }

  /**
   * Show who is there.
   * @param {Person[]} people oneself first
   * @param {{locked?: boolean, knock?: boolean, spotlight?: {id: string}} | null} room
   * @param {boolean} host whether this user may moderate
   */
  show(people, room, host) {
    this.shown = () => this.show(people, room, host);
    const list = element('people-list');
    const ids = new Set(people.map(({id}) => id));
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) {
        row.remove();
        this.rows.delete(id);
      }
    }
    for (const person of people) {
      if (!this.rows.has(person.id)) this.rows.set(person.id, list.appendChild(this.#row(person)));
      this.#update(this.rows.get(person.id), person, host, room?.spotlight?.id);
    }
    element('host-tools').hidden = !host;
    element('mute-all').disabled = people.length < 2;
    const door = element('door');
    if (document.activeElement !== door) door.value = room?.locked ? (room.knock ? 'knock' : 'closed') : 'open';
  }

  /** Ask whether somebody is to go, and see to it. @param {{id: string, name: string}} person */
  async remove({id, name}) {
    const answer = await ask({
      title: say('people.remove_question', {name}),
      text: say('people.remove_how'),
      answers: [{value: 'kick', label: say('people.remove')}, {value: 'ban', label: say('people.ban'), danger: true}],
    });
    if (answer) await this.moderate(answer, {to: id});
  }

  #row(person) {
    const row = make('li', '', {'data-testid': 'person', 'data-peer': person.id});
    const who = make('span', '', {class: 'person'});
    const name = make('span', '', {class: 'person-name', dir: 'auto'});
    who.append(name, make('span', '', {class: 'person-code muted small', 'data-testid': 'person-code'}));
    const buttons = make('span', '', {class: 'person-buttons'});
    row.append(who, buttons);
    const add = (what, icon, does) => {
      const button = make('button', '', {type: 'button', class: 'icon', 'data-do': what});
      button.append(document.querySelector('#leave svg').cloneNode(true));
      setIcon(button, icon);
      button.addEventListener('click', does);
      buttons.append(button);
    };
    add('spot', 'spot', () => this.spot(person.id));
    if (!person.you) {
      add('mute', 'mic-off', () => this.moderate('mute', {to: person.id, value: 'audio'}));
      add('host', 'star', () => this.#appoint(row));
      add('remove', 'remove', () => this.remove({id: person.id, name: row.dataset.name}));
    }
    return row;
  }

  async #showCode(row, pc) {
    if (!element('people-dialog').open) return;
    const shown = pc?.connectionState === 'connected' ? await code(pc) : '';
    const place = row.querySelector('.person-code');
    const text = shown && say('people.code', {code: shown});
    if (place.textContent !== text) place.textContent = text;
  }

  #update(row, {id, name, you, host, microphone, pc}, moderates, lit) {
    row.dataset.name = name;
    row.dataset.host = String(host);
    const facts = listOf([you && say('people.you'), host && say('people.host'), !microphone && say('people.microphone_off')].filter(Boolean));
    const shown = facts ? say('people.with_facts', {name, facts}) : name;
    const label = row.querySelector('.person-name');
    if (label.textContent !== shown) label.textContent = shown;
    row.querySelector('.person-buttons').hidden = !moderates;
    this.#showCode(row, pc);
    const names = {spot: say('spotlight.show', {name}), mute: say('people.ask_to_mute', {name}), host: say(host ? 'people.unhost' : 'people.make_host', {name}), remove: say('people.remove_name', {name})};
    for (const button of row.querySelectorAll('[data-do]')) {
      button.setAttribute('aria-label', names[button.dataset.do]);
      button.title = names[button.dataset.do];
      if (button.dataset.do === 'mute') button.disabled = !microphone;
      if (button.dataset.do === 'spot') button.setAttribute('aria-pressed', String(lit === id));
    }
  }

  #appoint(row) {
    this.moderate(row.dataset.host === 'true' ? 'member' : 'host', {to: row.dataset.peer});
  }

  #open(value) {
    if (value === 'open') this.moderate('unlock');
    else this.moderate('lock', {value});
  }

  async #end() {
    const answer = await ask({title: say('people.end_question'), text: say('people.end_how'), answers: [{value: 'end', label: say('people.end'), danger: true}]});
    if (answer) await this.moderate('close');
  }
}

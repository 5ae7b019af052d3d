/** Tables that refresh in place: rows keep their elements, so the focus, a selection and the scrolling stay. */

import {make, setText} from './dom.js';

/**
 * A column: `title`, `text(row)`, and one of `order(row)`, by which it can be sorted, or `button`, whose text is that of
 * the cell: `label(row)` names what it acts on, `press(row)` does it, and `allowed()` says whether it may.
 */
export class Table {
  #body = make('tbody');
  #rows = new Map();
  #columns;
  #heads = [];
  #sorted = null;
  #descending = true;
  #latest = [];
  #empty;
  #keyOf;

  constructor(place, {caption, columns, keyOf, empty, sorted = null, kind = ''}) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#sorted = sorted;
    const table = make('table', '', kind ? {class: kind} : {});
    const head = make('tr');
    for (const column of columns) {
      const cell = make('th', '', {scope: 'col'});
      if (column.order) {
        const button = make('button', column.title, {type: 'button'});
        button.addEventListener('click', () => this.#sortBy(column));
        cell.append(button);
      } else if (column.button) {
        cell.append(make('span', column.title, {class: 'unseen'}));
      } else {
        cell.textContent = column.title;
      }
      this.#heads.push(cell);
      head.append(cell);
    }
    const top = make('thead');
    top.append(head);
    table.append(make('caption', caption), top, this.#body);
    const scroll = make('div', '', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption});
    scroll.append(table);
    this.#empty = make('p', empty, {class: 'muted'});
    place.append(scroll, this.#empty);
    this.scroll = scroll;
    this.#mark();
  }

  /** Show these rows. */
  show(rows) {
    this.#latest = rows;
    const wanted = this.#ordered(rows);
    const keys = new Set(wanted.map(this.#keyOf));
    const focused = document.activeElement;
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      if (row.contains(focused)) this.scroll.focus(); // what had the focus has gone
      row.remove();
      this.#rows.delete(key);
    }
    let before = null;
    for (const each of wanted) {
      const row = this.#row(each);
      const next = before === null ? this.#body.firstChild : before.nextSibling;
      if (row !== next) this.#body.insertBefore(row, next);
      before = row;
    }
    if (focused !== document.activeElement && this.#body.contains(focused)) focused.focus({preventScroll: true});
    this.scroll.hidden = rows.length === 0;
    this.#empty.hidden = rows.length > 0;
  }

  #row(each) {
    const key = this.#keyOf(each);
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = make('tr');
      for (const column of this.#columns) {
        const cell = make('td', '', column.button ? {} : {dir: 'auto'});
        if (column.button) {
          const button = make('button', column.button, {type: 'button'});
          button.addEventListener('click', () => column.press(row.of));
          cell.append(button);
        }
        row.append(cell);
      }
      this.#rows.set(key, row);
    }
    row.of = each;
    this.#columns.forEach((column, at) => {
      const cell = row.children[at];
      if (column.button) {
        const button = cell.firstChild;
        if (button.getAttribute('aria-label') !== column.label(each)) button.setAttribute('aria-label', column.label(each));
        button.disabled = !(column.allowed?.() ?? true);
      } else {
        setText(cell, column.text(each));
      }
    });
    return row;
  }

  #ordered(rows) {
    const column = this.#columns.find((each) => each.title === this.#sorted);
    if (column === undefined) return rows;
    const sign = this.#descending ? -1 : 1;
    const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : a - b);
    return [...rows].sort((a, b) => sign * compare(column.order(a), column.order(b)));
  }

  #sortBy(column) {
    this.#descending = this.#sorted === column.title ? !this.#descending : true;
    this.#sorted = column.title;
    this.#mark();
    this.show(this.#latest);
  }

  #mark() {
    this.#columns.forEach((column, at) => {
      if (column.title !== this.#sorted) this.#heads[at].removeAttribute('aria-sort');
      else this.#heads[at].setAttribute('aria-sort', this.#descending ? 'descending' : 'ascending');
    });
  }
}

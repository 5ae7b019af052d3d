/**
 * What the page says, in the language of its user. The texts are in `texts/LANGUAGE.json`, by keys. The server puts those that
 * the lobby needs into the page, as data in `#texts`, so that they are there without another request; the others come with the
 * call. `docs/how-to/languages.md` has more.
 */

const ATTRIBUTES = {label: 'aria-label', title: 'title', placeholder: 'placeholder'};
const [ISOLATE, POP] = ['\u2068', '\u2069']; // first strong isolate, and its end (Unicode, UAX #9)
/** Characters of scripts that run from right to left, and those that change the direction of others. */
const TURNS = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** @typedef {string | Record<string, string>} Text a sentence, or one for each plural category of the language */

/** @type {{language: string, direction: 'ltr'|'rtl', languages: Record<string, string>, texts: Record<string, Text>}} */
const current = {language: 'en', direction: 'ltr', languages: {}, texts: {}};
let locale = 'en'; let plurals; let numbers;

function use(found) {
  Object.assign(current, found);
  // Numbers and times as where the user lives: a browser in Austria says de-AT.
  locale = (navigator.languages ?? []).find((each) => each.split('-')[0] === current.language) ?? current.language;
  plurals = new Intl.PluralRules(current.language);
  numbers = new Intl.NumberFormat(locale);
}

use(JSON.parse(document.getElementById('texts')?.textContent ?? '{}'));

/** `change`: the page speaks another language. What says a text with values says it again. */
export const spoken = new EventTarget();

/** The language that the page speaks now. */
export function language() {
  return current.language;
}

/** The languages there are, each with its own name for itself. @returns {Record<string, string>} */
export function choices() {
  return current.languages;
}

async function load(code) {
  const answer = await fetch(`/call-assets/texts/${code}.json`);
  if (!answer.ok) throw new Error(`no texts: ${answer.status}`);
  const texts = await answer.json();
  return {language: code, direction: texts['language.direction'], texts};
}

/** All texts of the language, for the call. */
export async function complete() {
  const found = await load(current.language);
  if (found.language === current.language) use(found);
}

/** Speak another language from now on. Rejects if its texts cannot be had. @param {string} code one of `choices()` */
export async function speak(code) {
  if (code === current.language) return;
  use(await load(code));
  Object.assign(document.documentElement, {lang: code, dir: current.direction});
  putAll();
  spoken.dispatchEvent(new Event('change'));
}

/** Whether there is a text with that key. @param {string} key */
export function hasText(key) {
  return Object.hasOwn(current.texts, key);
}

/**
 * A text, with `values` in place of its `{names}`. Numbers are written as in the language; whatever else is put in is kept from
 * changing the direction of what stands around it. A text with plurals is chosen by `count`.
 * @param {string} key @param {Record<string, string | number>} [values] @returns {string}
 */
export function text(key, values = {}) {
  let found = hasText(key) ? current.texts[key] : key;
  if (typeof found !== 'string') found = found[plurals.select(values.count)] ?? found.other;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? shown(values[name]) : whole));
}

function shown(value) {
  if (typeof value === 'number') return numbers.format(value);
  const plain = String(value);
  if (current.direction === 'ltr' && !TURNS.test(plain)) return plain;
  return ISOLATE + plain.replace(/[\u2066-\u2069]/g, '') + POP;
}

/** Values of the texts of elements, or functions that give them: what they give may be in the language, too. @type {WeakMap<Element, Values>} */
const given = new WeakMap();

/** @typedef {Record<string, string | number> | (() => Record<string, string | number>)} Values */

function textOf(target, key) {
  const values = given.get(target);
  return text(key, typeof values === 'function' ? values() : values);
}

/** An element says a text from now on, in any language that is chosen. @param {HTMLElement} target @param {string} key @param {Values} [values] */
export function put(target, key, values) {
  target.dataset.text = key;
  if (values) given.set(target, values);
  const wanted = textOf(target, key);
  if (target.textContent !== wanted) target.textContent = wanted;
}

/**
 * An element is called so from now on, in any language that is chosen; its `values` are those of its text, too.
 * @param {HTMLElement} target @param {string} key @param {Values} [values] @param {{title?: boolean}} [options] `title`: when pointed at, too
 */
export function putLabel(target, key, values, {title = false} = {}) {
  if (values) given.set(target, values);
  target.dataset.label = key;
  if (title) target.dataset.title = key;
  putAttributes(target);
}

function putAttributes(target) {
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    if (name in target.dataset) target.setAttribute(attribute, textOf(target, target.dataset[name]));
  }
}

/** Put the texts of the language where the marks in the page ask for them. @param {ParentNode} root */
export function putAll(root = document) {
  for (const target of root.querySelectorAll('[data-text]')) put(target, target.dataset.text);
  for (const target of root.querySelectorAll(Object.keys(ATTRIBUTES).map((name) => `[data-${name}]`).join())) putAttributes(target);
  for (const template of root.querySelectorAll('template')) putAll(template.content);
}

/** A time of day. @param {number} at Unix time in ms */
export function time(at) {
  return new Intl.DateTimeFormat(locale, {hour: '2-digit', minute: '2-digit'}).format(at);
}

/** A number as in the language. @param {number} value @param {Intl.NumberFormatOptions} [options] */
export function number(value, options = {}) {
  return new Intl.NumberFormat(locale, options).format(value);
}

/** So many minutes and seconds. @param {number} seconds */
export function duration(seconds) {
  const parts = [[Math.floor(seconds / 60), 'minute'], [seconds % 60, 'second']].filter(([value, unit]) => value > 0 || unit === 'second');
  return parts.map(([value, unit]) => number(value, {style: 'unit', unit, unitDisplay: 'short'})).join(' ');
}

/** Facts in one line. @param {string[]} items */
export function list(items) {
  return new Intl.ListFormat(current.language, {type: 'unit', style: 'short'}).format(items);
}

/** Why something was refused: in the words of the page, or, for codes that it does not know, in those of the server. */
export function failure(error) {
  return hasText(`problem.${error.code}`) ? text(`problem.${error.code}`) : error.message;
}

/** One of several things. @param {string[]} items */
export function anyOf(items) {
  return new Intl.ListFormat(current.language, {type: 'disjunction'}).format(items);
}

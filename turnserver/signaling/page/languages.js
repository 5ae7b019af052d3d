/**
 * Which language the page speaks: what its user has chosen on this server; else what the link says (`?lang=de`); else what the
 * browser prefers. The server decides so, by a cookie. In a frame of another site there may be none: then the page remembers it.
 */

import {element, make, memory} from './dom.js';
import {choices, language, put, speak} from './texts.js';

const COOKIE = 'meshturn-language';
const KEPT = 365 * 86_400; // s
const AUTOMATIC = '';

function cookie() {
  return document.cookie.split('; ').find((each) => each.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1) ?? '';
}

/** What the user has chosen; empty if nothing. */
function chosen() {
  const found = cookie() || (memory.get('language') ?? '');
  return Object.hasOwn(choices(), found) ? found : AUTOMATIC;
}

function remember(code) {
  const secure = location.protocol === 'https:' ? '; Secure' : '';
  document.cookie = `${COOKIE}=${code}; Path=/; Max-Age=${code === AUTOMATIC ? 0 : KEPT}; SameSite=Lax${secure}`;
  memory.set('language', cookie() === code ? '' : code);
}

/** What the link or the browser asks for, of the languages there are. */
function automatic() {
  const wishes = [new URLSearchParams(location.search).get('lang') ?? '', ...navigator.languages ?? []];
  const codes = Object.keys(choices());
  for (const wish of wishes) {
    const parts = wish.toLowerCase().split(/[-_]/);
    for (let length = parts.length; length > 0; length -= 1) {
      const found = codes.find((code) => code.toLowerCase() === parts.slice(0, length).join('-'));
      if (found !== undefined) return found;
    }
  }
  return 'en';
}

async function choose(code) {
  remember(code);
  await speak(code === AUTOMATIC ? automatic() : code);
}

/** The pickers of the language, and what was chosen where the server could not know. @param {string[]} ids of `<select>` */
export function offerLanguages(ids) {
  const selects = ids.map(element);
  for (const select of selects) {
    const first = make('option', '', {value: AUTOMATIC});
    put(first, 'language.automatic');
    select.replaceChildren(first, ...Object.entries(choices()).map(([value, name]) => make('option', name, {value, lang: value, dir: 'auto'})));
    select.value = chosen();
    select.addEventListener('change', () => {
      for (const each of selects) each.value = select.value;
      choose(select.value).catch(() => { select.value = language(); }); // the server is out of reach
    });
  }
  const wanted = chosen();
  if (wanted !== AUTOMATIC && wanted !== language()) speak(wanted).catch(() => {});
}

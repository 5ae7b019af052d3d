/** Small helpers for the elements of call.html. Text from others only ever becomes `textContent`. */

const LINES = 4; // of what has happened, at the same time

/** @param {string} id @returns {HTMLElement} The element of call.html with that id. */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`call.html has no #${id}`);
  return found;
}

/** Show exactly one of the page's views and put the focus on its heading. */
export function showView(id) {
  for (const view of document.querySelectorAll('body > main')) view.hidden = view.id !== id;
  element(id).querySelector('h1')?.focus();
}

/** Set a toggle: its name stays, `aria-pressed` and the icon tell its state. */
export function setPressed(button, pressed, icon) {
  button.setAttribute('aria-pressed', String(pressed));
  if (icon !== undefined) setIcon(button, icon);
}

/** Use another symbol of the sprite inside a button. */
export function setIcon(button, icon) {
  button.querySelector('use').setAttribute('href', `#i-${icon}`);
}

/** @returns {HTMLElement} A new element with text and attributes. */
export function make(tag, text = '', attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Show a text in an element that is hidden when there is none. */
export function note(target, text) {
  delete target.dataset.text; // it says this one from now on, and none of the page's own
  target.textContent = text;
  target.hidden = text === '';
}

/**
 * Tell everybody, once: the line is to be seen for a while, and screen readers read it. `urgent` interrupts them: only for
 * "you are muted" and "the call is lost". `unseen` is for what can be seen elsewhere, such as the state of a button.
 * The text is removed again, so that the next equal one is a change and is read too.
 */
export function announce(text, {urgent = false, unseen = false} = {}) {
  const region = element(urgent ? 'live-alert' : 'live-status');
  const line = make('p', text, {class: unseen ? 'unseen' : 'toast'});
  region.append(line);
  while (region.children.length > LINES) region.firstElementChild.remove();
  setTimeout(() => line.remove(), 8000);
}

/** Put text on the clipboard; where that is not allowed, show it selected in `area`. @returns whether it was copied. */
export async function copyText(text, area = null) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (area !== null) {
      area.value = text;
      area.hidden = false;
      area.focus();
      area.select();
    }
    return false;
  }
}

/** `localStorage` that is never in the way: browsers may forbid it, and then nothing is remembered. */
export const memory = {
  get(key) {
    try {
      return localStorage.getItem(`meshturn.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`meshturn.${key}`, value);
    } catch { /* then not */ }
  },
};

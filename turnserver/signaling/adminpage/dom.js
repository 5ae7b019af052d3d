/** Elements of the page. Text from the server, such as names that users chose, only ever becomes `textContent`. */

/** @param {string} id @returns {HTMLElement} The element of admin.html with that id. */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`admin.html has no #${id}`);
  return found;
}

/** @returns {HTMLElement} A new element with text and attributes. */
export function make(tag, text = '', attributes = {}) {
  const made = document.createElement(tag);
  if (text !== '') made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Set a text only where it differs, so that nothing that is read or selected is disturbed. */
export function setText(target, text) {
  if (target.textContent !== String(text)) target.textContent = String(text);
}

/** Show a text in an element that is hidden when there is none. */
export function note(target, text) {
  setText(target, text);
  target.hidden = text === '';
}

/** Let screen readers say what has been done. What only refreshes is never said. */
export function say(text) {
  setText(element('said'), text);
}

/** Ask for a confirmation. @returns {Promise<boolean>} Whether it was given; the focus goes back to where it was. */
export function confirmed(title, text, action) {
  const dialog = element('confirm');
  setText(element('confirm-title'), title);
  setText(element('confirm-text'), text);
  setText(element('confirm-yes'), action);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), {once: true});
  });
}

export function wireDialog() {
  element('confirm-no').addEventListener('click', () => element('confirm').close('no'));
  element('confirm-yes').addEventListener('click', () => element('confirm').close('yes'));
}

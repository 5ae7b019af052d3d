/** Ways to send somebody the link: copying, the system's share sheet, e-mail, and a QR code drawn in the page. */

import {announce, copyText, make} from './dom.js';
import {generate} from './qr.js';
import {failure, put, putLabel, text} from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const QUIET = 4; // modules of white around a code (ISO/IEC 18004)

/** A QR code as a picture; the link has a token, so it is drawn here and sent nowhere. @param {string} text @returns {SVGSVGElement} */
export function qrCode(text) {
  const code = generate(text);
  const size = code.size + 2 * QUIET;
  let path = '';
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) if (code.get(x, y)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
  }
  const svg = document.createElementNS(SVG, 'svg');
  for (const [name, value] of [['viewBox', `0 0 ${size} ${size}`], ['shape-rendering', 'crispEdges'], ['role', 'img'], ['class', 'qr']]) svg.setAttribute(name, value);
  const drawn = document.createElementNS(SVG, 'path');
  drawn.setAttribute('d', path);
  svg.append(drawn);
  return svg;
}

/** A letter that has the link in it. @param {{subject: string, body: string}} letter */
function mailto({subject, body}) {
  return `mailto:?subject=${encodeURIComponent(subject)}&body=${encodeURIComponent(body)}`;
}

/** An element that says a text in the language of the page. */
function labelled(tag, key, attributes = {}) {
  const made = make(tag, '', attributes);
  put(made, key);
  return made;
}

function build() {
  const dialog = make('dialog', '', {id: 'invite-dialog', 'data-testid': 'invite-dialog', 'aria-labelledby': 'invite-title'});
  const close = document.querySelector('#people-dialog [data-close]').cloneNode(true);
  close.addEventListener('click', () => dialog.close());
  const header = make('header');
  header.append(labelled('h2', 'invite.title', {id: 'invite-title'}), close);
  const link = make('input', '', {type: 'text', readonly: '', 'data-testid': 'invite-link', dir: 'ltr'});
  putLabel(link, 'invite.link');
  link.addEventListener('focus', () => link.select());
  const copy = labelled('button', 'call.copy_link', {type: 'button', class: 'secondary', 'data-testid': 'invite-copy'});
  const share = labelled('button', 'invite.share', {type: 'button', class: 'secondary', 'data-testid': 'invite-share'});
  const mail = labelled('a', 'invite.mail', {class: 'secondary button', 'data-testid': 'invite-mail'});
  const actions = make('p', '', {class: 'actions'});
  actions.append(copy, share, mail);
  dialog.append(header, link, actions, make('p', '', {class: 'qr-place', 'data-testid': 'qr'}), labelled('p', 'invite.whoever', {class: 'muted small'}));
  document.body.append(dialog);
  return {dialog, link, copy, share, mail};
}

let parts = null;

/**
 * Show the ways to invite others.
 * @param {string} room @param {() => Promise<string>} makeLink
 */
export async function invite(room, makeLink) {
  let link;
  try {
    link = await makeLink();
  } catch (error) {
    announce(text('invite.no_link', {reason: failure(error)}));
    return;
  }
  parts ??= build();
  const {dialog, copy, share, mail} = parts;
  parts.link.value = link;
  const letter = {subject: text('invite.subject', {room}), body: `${text('invite.body')}\n\n${link}\n`};
  mail.href = mailto(letter);
  copy.onclick = async () => {
    if (await copyText(link)) announce(text('call.link_copied'));
    else parts.link.focus();
  };
  share.hidden = !navigator.share;
  share.onclick = () => navigator.share({title: letter.subject, url: link}).catch((error) => {
    if (error.name !== 'AbortError') announce(text('invite.not_shared', {reason: failure(error)}));
  });
  const code = qrCode(link);
  putLabel(code, 'invite.qr');
  dialog.querySelector('.qr-place').replaceChildren(code);
  if (!dialog.open) dialog.showModal();
}

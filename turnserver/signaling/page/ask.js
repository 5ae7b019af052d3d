/** A question with two or three answers, before what cannot be taken back. */

import {element, make} from './dom.js';
import {text as say} from './texts.js';

/**
 * Ask, and wait for the answer.
 * @param {{title: string, text: string, answers: {value: string, label: string, danger?: boolean}[]}} question
 * @returns {Promise<string>} the value of an answer; empty if the question was put away
 */
export function ask({title, text, answers}) {
  const dialog = element('ask-dialog');
  element('ask-title').textContent = title;
  element('ask-text').textContent = text;
  const buttons = answers.map(({value, label, danger = false}) => {
    const button = make('button', label, {type: 'button', class: danger ? 'secondary danger' : 'secondary', 'data-answer': value});
    button.addEventListener('click', () => dialog.close(value));
    return button;
  });
  const no = make('button', say('ask.cancel'), {type: 'button', class: 'secondary', 'data-answer': '', autofocus: ''});
  no.addEventListener('click', () => dialog.close(''));
  element('ask-answers').replaceChildren(...buttons, no);
  dialog.returnValue = '';
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue), {once: true});
    dialog.showModal();
  });
}

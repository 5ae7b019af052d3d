/** The HTTP API. The key is in this module's memory only: not in a URL, a cookie or any storage. */

/** An answer that says no: its HTTP status, the code of the API, and its sentence for people. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** There was no answer at all. */
export class Gone extends Error {}

const PATIENCE = 15000; // ms

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** @returns {Promise<any>} The JSON of the answer, null without one. Throws `Refused` and `Gone`. */
  async ask(path, method = 'GET') {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers: {Authorization: `Bearer ${this.#key}`},
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        signal: AbortSignal.timeout(PATIENCE),
      });
    } catch (error) {
      throw new Gone(error.message);
    }
    if (answer.status === 204) return null;
    const body = await answer.json().catch(() => null);
    if (answer.ok) return body;
    throw new Refused(answer.status, body?.error?.code ?? 'unknown', body?.error?.msg ?? `status ${answer.status}`);
  }
}

/** @returns {string} What an error means for whoever uses the page. */
export function meaning(error) {
  if (error instanceof Gone) return 'The server does not answer.';
  if (!(error instanceof Refused)) return `This page has failed: ${error.message}`;
  if (error.code === 'bad_key') return 'The server does not know this key.';
  if (error.code === 'key_expired') return 'This key has expired.';
  if (error.code === 'rate_limited') return 'Too many wrong keys came from this address. Wait, and try again.';
  if (error.code === 'forbidden') return `This key may not do that: ${error.message}.`;
  return `The server refused: ${error.message}.`;
}

/** @returns {boolean} Whether the key is of no use any more. */
export function isOver(error) {
  return error instanceof Refused && (error.status === 401 || error.status === 403);
}

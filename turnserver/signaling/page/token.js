/** What a room token says. Nothing is checked here: the server does that, and the page only shows what follows. */

/**
 * The claims of a token; empty for one that cannot be read.
 * @param {string | undefined} token a JWT
 * @returns {{room?: string, role?: string, name?: string, sub?: string, caps?: string[], once?: boolean, uses?: number}}
 */
export function claimsOf(token) {
  try {
    const encoded = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims !== null && typeof claims === 'object' ? claims : {};
  } catch {
    return {};
  }
}

/** Whether a link with that token is for everybody who has it. One for a host, for one person or one entry is not passed on. */
export function isForAll({room, role = 'member', once = false, uses = 2, name, sub}) {
  return room !== undefined && role === 'member' && !once && uses > 1 && name === undefined && sub === undefined;
}

/** Whether a token is for one person, so that two tabs with it are the same one. */
export function ofOne({sub, once = false, uses}) {
  return sub !== undefined || once || uses === 1;
}

/** Whether that token is for a room. */
export function isFor({room}, wanted) {
  return room === undefined || room === '*' || room === wanted;
}

/** Whether who has that token may send sound and pictures. */
export function mayPublish({caps}) {
  return !Array.isArray(caps) || caps.includes('publish');
}

/**
 * A code that both ends of a connection can compare by voice. Media are encrypted from one browser to the other (DTLS-SRTP,
 * RFC 5764), under certificates whose fingerprints come through the server. If the codes are the same, nobody stands in between:
 * whoever did would show a certificate of its own to each.
 */

const GROUPS = 4;
const FINGERPRINT = /^a=fingerprint:(\S+) ([0-9A-F:]+)\s*$/gim;

/** The fingerprints of a session description, each once. @param {string | undefined} sdp @returns {string[]} */
export function fingerprints(sdp = '') {
  return [...new Set([...sdp.matchAll(FINGERPRINT)].map(([, hash, value]) => `${hash.toLowerCase()} ${value.toUpperCase()}`))].sort();
}

/**
 * The code of a connection: 20 digits in four groups, the same at both ends.
 * @param {RTCPeerConnection} pc @returns {Promise<string>} empty while an end has not told its fingerprint
 */
export async function code(pc) {
  const ends = [pc.currentLocalDescription?.sdp, pc.currentRemoteDescription?.sdp].map((sdp) => fingerprints(sdp).join('\n'));
  if (ends.some((end) => end === '') || !globalThis.crypto?.subtle) return '';
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(ends.sort().join('\n\n')));
  const view = new DataView(digest);
  return Array.from({length: GROUPS}, (_, index) => String(view.getUint32(index * 4) % 100_000).padStart(5, '0')).join(' ');
}

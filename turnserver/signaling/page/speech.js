/** What descriptions say of Opus, without which speech does not hold on a weak connection. SDP is hostile text: what is not understood stays. */

const MEDIA = /^m=(\S+)/;
const OPUS = /^a=rtpmap:(\d{1,3}) opus\/48000/i;
const PARAMETERS = /^a=fmtp:(\d{1,3}) (.*)$/;

/** ms of speech in a packet when nothing else is sent. */
export const ONLY_SOUND = 60;

/** What we would like to be sent: repair of lost packets (RFC 6716 §2.1.7), and next to nothing while nobody speaks (§2.1.9). */
const WANTED = {useinbandfec: '1', usedtx: '1'};

/** Parameters of a codec (RFC 4566 §6, `a=fmtp`) with others in them. */
function merged(parameters, more) {
  const rest = parameters.split(';').map((part) => part.trim()).filter((part) => part && !(part.split('=')[0].trim().toLowerCase() in more));
  return [...rest, ...Object.entries(more).map(([name, value]) => `${name}=${value}`)].join(';');
}

/** Do something with the lines of each section of a kind. @param {string} sdp @param {(lines: string[]) => string[]} change @param {string} [kind] */
function inSections(sdp, change, kind = 'audio') {
  const sections = [[]];
  for (const line of sdp.split('\r\n')) {
    if (MEDIA.test(line)) sections.push([]);
    sections.at(-1).push(line);
  }
  return sections.flatMap((lines) => (MEDIA.exec(lines[0])?.[1] === kind ? change(lines) : lines)).join('\r\n');
}

function withParameters(lines, more) {
  const opus = new Set(lines.map((line) => OPUS.exec(line)?.[1]).filter(Boolean));
  const told = new Set(lines.map((line) => PARAMETERS.exec(line)?.[1]).filter(Boolean));
  return lines.flatMap((line) => {
    const [, type, parameters] = PARAMETERS.exec(line) ?? [];
    if (opus.has(type)) return [`a=fmtp:${type} ${merged(parameters, more)}`];
    const named = OPUS.exec(line)?.[1];
    return named && !told.has(named) ? [line, `a=fmtp:${named} ${merged('', more)}`] : [line];
  });
}

/** A description of ours as the other end gets it (RFC 7587 §6.1: these parameters say what we would like to receive). @param {string} sdp */
export function asWeLikeIt(sdp) {
  return inSections(sdp, (lines) => withParameters(lines, WANTED));
}

/**
 * A description of theirs as our browser gets it, so that it puts more speech in a packet than they ask for. At 20 ms the
 * headers take more than the speech. A browser has no other way to be told: the time is what the other end would like (RFC 7587 §6.1).
 * @param {string} sdp @param {number} packetTime ms; 0: as they ask for
 */
export function inLongerPackets(sdp, packetTime) {
  if (!packetTime) return sdp;
  return inSections(sdp, (lines) => {
    const most = Number(lines.map((line) => /^a=maxptime:(\d{1,4})$/.exec(line)?.[1]).find(Boolean) ?? 120);
    if (most < packetTime || !lines.some((line) => OPUS.test(line))) return lines;
    const at = lines.findLastIndex((line) => line !== '') + 1;
    const without = lines.slice(0, at).filter((line) => !/^a=ptime:/.test(line));
    return [...without, `a=ptime:${packetTime}`, ...lines.slice(at)];
  });
}

/**
 * An answer of theirs as our browser gets it while only sound is to be sent: they take no picture. One that is only paused
 * still takes room: Chromium repeats its last packets for half a minute, and sends some of nothing to see what the way carries.
 * @param {string} sdp
 */
export function withoutPicture(sdp) {
  const refused = {sendrecv: 'sendonly', recvonly: 'inactive'};
  return inSections(sdp, (lines) => lines.map((line) => line.replace(/^a=(sendrecv|recvonly)$/, (all, direction) => `a=${refused[direction]}`)), 'video');
}

/** What a negotiation is about: sections, their directions and streams. @param {string} sdp */
export function outline(sdp) {
  return (sdp.match(/^(?:m=\w+|a=(?:sendrecv|sendonly|recvonly|inactive)\b|a=msid:[^\r\n]*)/gm) ?? []).join('\n');
}

/** Their last description as the answer to ours: whose end of DTLS is whose remains. @param {string} theirs @param {string} ours */
export function asAnswer(theirs, ours) {
  const setup = /^a=setup:active\b/m.test(ours) ? 'passive' : 'active';
  return theirs.replace(/^a=setup:actpass\b/gm, `a=setup:${setup}`);
}

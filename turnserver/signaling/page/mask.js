/** How to show what happened without showing addresses and secrets. Loaded after what the lobby needs. */

const SECRET = /^(?:credential|password|username|token|key|secret|icePwd|iceUfrag|usernameFragment)$/i;
const TOKEN = /[0-9A-Za-z:.%_-]+/g;

/**
 * A copy in which every IPv4, IPv6 and mDNS address is replaced by a name that says what kind it was and is the same for
 * the same address; secrets (credentials, tokens, ICE passwords) are left out. Types of candidates and ports remain.
 * @template T @param {T} object anything that JSON can write @returns {T}
 */
export function maskAddresses(object) {
  const names = new Map();
  const counts = {};
  const nameOf = (address, kind) => {
    const key = address.toLowerCase();
    if (!names.has(key)) {
      counts[kind] = (counts[kind] ?? 0) + 1;
      names.set(key, `${kind}-${counts[kind]}`);
    }
    return names.get(key);
  };
  const text = (value) => maskText(value, nameOf);
  const walk = (value) => {
    if (typeof value === 'string') return text(value);
    if (Array.isArray(value)) return value.map(walk);
    if (value instanceof Map) return walk(Object.fromEntries(value));
    if (value === null || typeof value !== 'object') return value;
    const plain = typeof value.toJSON === 'function' ? value.toJSON() : value;
    if (plain === null || typeof plain !== 'object') return walk(plain);
    return Object.fromEntries(Object.entries(plain).map(([key, inner]) => [
      text(key), SECRET.test(key) && typeof inner === 'string' ? 'hidden' : walk(inner),
    ]));
  };
  return walk(object);
}

function maskText(value, nameOf) {
  return value
    .replace(/^(a=ice-(?:pwd|ufrag):).*$/gm, '$1hidden')
    .replace(/( ufrag )\S+/g, '$1hidden')
    .replace(TOKEN, (token, offset, whole) => maskToken(token, nameOf, isVersion(whole, offset)));
}

/** `Chrome/156.0.0.0` is a program and its version. */
function isVersion(whole, offset) {
  return whole[offset - 1] === '/' && /[A-Za-z]/.test(whole[offset - 2] ?? '');
}

/** An address may have a scheme before it and a port after it: `turn:192.0.2.1:3478`. */
function maskToken(token, nameOf, version) {
  if (token.includes(':')) {
    const bare = token.split('%')[0];
    const trimmed = bare.replace(/^turns?:|^stuns?:/i, '').replace(/\.+$/, '');
    if (isIPv6(trimmed)) return isAny(trimmed) ? token : token.slice(0, bare.indexOf(trimmed)) + nameOf(trimmed, ipv6Kind(trimmed));
    return token.split(':').map((part) => maskToken(part, nameOf, version)).join(':');
  }
  const name = token.replace(/\.+$/, '');
  const rest = token.slice(name.length);
  if (/^[0-9A-Za-z_-]+\.local$/i.test(name)) return nameOf(name, 'mdns') + rest;
  if (version || !isIPv4(name) || isAny(name)) return token;
  return nameOf(name, ipv4Kind(name)) + rest;
}

function isIPv4(text) {
  return /^(?:\d{1,3}\.){3}\d{1,3}$/.test(text) && text.split('.').every((part) => Number(part) < 256);
}

function isIPv6(text) {
  const halves = text.split('::');
  if (!text.includes(':') || halves.length > 2) return false;
  let groups = 0;
  for (const [index, half] of halves.entries()) {
    const parts = half === '' ? [] : half.split(':');
    for (const [at, part] of parts.entries()) {
      const last = index === halves.length - 1 && at === parts.length - 1;
      if (last && isIPv4(part)) groups += 2;
      else if (/^[0-9a-f]{1,4}$/i.test(part)) groups += 1;
      else return false;
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8;
}

/** Addresses that are nobody's. */
function isAny(address) {
  return ['0.0.0.0', '127.0.0.1', '::', '::1'].includes(address);
}

function ipv4Kind(address) {
  const [a, b] = address.split('.').map(Number);
  const isPrivate = a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 169 && b === 254) || (a === 100 && b >= 64 && b < 128);
  return isPrivate ? 'private-ipv4' : 'public-ipv4';
}

function ipv6Kind(address) {
  return /^(?:f[cd]|fe[89ab])/i.test(address) ? 'private-ipv6' : 'public-ipv6';
}

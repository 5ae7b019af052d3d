/** Numbers for people. */

/** @returns {string} A size such as "1.2 MB"; `per` is what stands behind it. */
function scaled(value, unit, steps) {
  let at = 0;
  while (value >= 1000 && at < steps.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at > 0 && value < 100 ? value.toFixed(1) : Math.round(value)} ${steps[at]}${unit}`;
}

const STEPS = ['', 'k', 'M', 'G', 'T', 'P'];

export const bytes = (value) => scaled(value, 'B', STEPS);
export const bits = (value) => (value === null ? '–' : scaled(value, 'bit/s', STEPS));
export const count = (value) => (value === null ? '–' : String(value));
export const milliseconds = (value) => (value === null ? '–' : `${(value * 1000).toFixed(1)} ms`);

/** @returns {string} A duration such as "2 d 3 h" from seconds. */
export function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const found = [];
  let left = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of parts) {
    const many = Math.floor(left / size);
    left -= many * size;
    if (many > 0 && found.length < 2) found.push(`${many} ${unit}`);
  }
  return found.join(' ') || '0 s';
}

/** @returns {string} The time of day, from Unix time. */
export const clock = (at) => new Date(at * 1000).toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'});

/** @returns {string} Date and time, from Unix time. */
export const date = (at) => new Date(at * 1000).toISOString().replace('T', ' ').slice(0, 16) + ' UTC';

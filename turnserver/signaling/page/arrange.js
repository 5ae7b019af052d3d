/** Where the tiles of a call stand: a grid; a stage with a strip beside it; or, for two people, one with the other in front. */

const WIDEST = 16 / 9;
const NARROWEST = 4 / 3;
const NARROWEST_UPRIGHT = 3 / 4; // on a telephone held upright
const STRIP = {share: 0.2, least: 120, most: 240}; // of the width, or upright of the height; px
const FLOAT = {share: 0.32, least: 96, most: 256}; // of the shorter side

/** @typedef {{x: number, y: number, width: number, height: number}} Box in px, from the top left */

/**
 * The best number of columns and size of a tile for `count` tiles in a space: the largest tiles that fit, neither wider
 * than 16:9 nor narrower than 4:3 (3:4 in a space that is higher than wide), so that little of a picture is cut off.
 * @returns {{columns: number, width: number, height: number}}
 */
export function layout(count, width, height, gap) {
  const narrowest = width < height ? NARROWEST_UPRIGHT : NARROWEST;
  let best = {columns: 1, width: 0, height: 0};
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    let tileWidth = (width - (columns - 1) * gap) / columns;
    let tileHeight = (height - (rows - 1) * gap) / rows;
    if (tileWidth > tileHeight * WIDEST) tileWidth = tileHeight * WIDEST;
    if (tileHeight > tileWidth / narrowest) tileHeight = tileWidth / narrowest;
    if (tileWidth > 0 && tileHeight > 0 && tileWidth * tileHeight > best.width * best.height) {
      best = {columns, width: Math.floor(tileWidth), height: Math.floor(tileHeight)};
    }
  }
  return best;
}

/** Boxes for `count` tiles of the best size, in the middle of a space; so is the last row. @returns {Box[]} */
export function grid(count, {x, y, width, height}, gap) {
  const best = layout(count, width, height, gap);
  const rows = Math.ceil(count / best.columns);
  const top = y + (height - rows * best.height - (rows - 1) * gap) / 2;
  return Array.from({length: count}, (_, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = x + (width - inRow * best.width - (inRow - 1) * gap) / 2;
    const box = {width: best.width, height: best.height};
    return {x: Math.floor(left + (index % best.columns) * (best.width + gap)), y: Math.floor(top + row * (best.height + gap)), ...box};
  });
}

/**
 * A stage, and a strip for the others: to the right, or below it in a space that is higher than wide.
 * @param {number} others @param {boolean} whole whether the stage takes all the space it can (a screen), or has the form of a picture
 * @returns {{stage: Box, strip: Box[]}}
 */
export function stage(others, whole, width, height, gap) {
  const upright = width < height;
  const along = upright ? height : width;
  const size = others === 0 ? 0 : Math.round(Math.min(STRIP.most, Math.max(Math.min(STRIP.least, along / 3), along * STRIP.share)));
  const taken = others === 0 ? 0 : size + gap;
  const main = upright ? {x: 0, y: 0, width, height: height - taken} : {x: 0, y: 0, width: width - taken, height};
  const rest = upright ? {x: 0, y: height - size, width, height: size} : {x: width - size, y: 0, width: size, height};
  return {stage: whole ? main : grid(1, main, gap)[0], strip: others === 0 ? [] : row(others, rest, gap, upright)};
}

/** The other one as large as can be, and a small one in front, in a corner. @param {'tl'|'tr'|'bl'|'br'} corner @returns {{stage: Box, small: Box}} */
export function pair(corner, width, height, gap) {
  const upright = width < height;
  const all = {x: 0, y: 0, width, height};
  const main = upright ? all : grid(1, all, gap)[0];
  const ratio = upright ? 3 / 4 : WIDEST;
  const side = Math.round(Math.min(FLOAT.most, Math.max(FLOAT.least, Math.min(width, height) * FLOAT.share), width / 2, (height / 2) * ratio));
  const small = {width: side, height: Math.round(side / ratio)};
  const left = corner.endsWith('l') ? main.x + gap : main.x + main.width - small.width - gap;
  const top = corner.startsWith('t') ? main.y + gap : main.y + main.height - small.height - gap;
  return {stage: main, small: {x: left, y: top, ...small}};
}

/** Tiles of 16:9 in one row or column, as large as fit, in the middle. */
function row(count, {x, y, width, height}, gap, upright) {
  const room = ((upright ? width : height) - (count - 1) * gap) / count;
  const tile = upright
    ? {width: Math.floor(Math.min(room, height * WIDEST)), height: 0}
    : {width: 0, height: Math.floor(Math.min(room, width / WIDEST))};
  if (upright) tile.height = Math.floor(Math.min(height, tile.width / NARROWEST_UPRIGHT));
  else tile.width = Math.floor(Math.min(width, tile.height * WIDEST));
  const used = count * (upright ? tile.width : tile.height) + (count - 1) * gap;
  const begin = ((upright ? width : height) - used) / 2;
  return Array.from({length: count}, (_, index) => {
    const at = Math.floor(begin + index * ((upright ? tile.width : tile.height) + gap));
    return upright ? {x: x + at, y: Math.floor(y + (height - tile.height) / 2), ...tile} : {x, y: y + at, ...tile};
  });
}

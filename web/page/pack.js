// @ts-check
/** Where tiles go: as large as they can be without scrolling. Pure arithmetic. */

/** @typedef {{ x: number, y: number, w: number, h: number }} Rect */

/** Between these shapes a camera's picture may be cropped without losing a face. */
const NARROWEST = 3 / 4;
const WIDEST = 16 / 9;
/** What cameras mostly send. */
const CAMERA = 16 / 10;

/**
 * Packs `count` tiles into an area: the number of columns that shows most of the pictures, last row centred.
 *
 * @param {number} count
 * @param {Rect} area
 * @param {number} gap
 * @returns {Rect[]}
 */
export function pack(count, area, gap) {
  let best = { score: -1, columns: 1, w: 0, h: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { w: (area.w - gap * (columns - 1)) / columns, h: (area.h - gap * (rows - 1)) / rows };
    if (cell.w <= 0 || cell.h <= 0) continue;
    const shape = Math.min(Math.max(cell.w / cell.h, NARROWEST), WIDEST);
    const w = Math.min(cell.w, cell.h * shape);
    const h = w / shape;
    const shown = Math.min(shape / CAMERA, CAMERA / shape);
    const score = w * h * shown;
    if (score > best.score) best = { score, columns, w, h };
  }
  const rows = Math.ceil(count / best.columns);
  const top = area.y + (area.h - rows * best.h - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, n) => {
    const row = Math.floor(n / best.columns);
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = area.x + (area.w - inRow * best.w - (inRow - 1) * gap) / 2;
    return { x: left + (n % best.columns) * (best.w + gap), y: top + row * (best.h + gap), w: best.w, h: best.h };
  });
}

/**
 * One or two large tiles (shared screens) and the people beside them, or below on an upright window.
 *
 * @param {number} large
 * @param {number} small
 * @param {Rect} area
 * @param {number} gap
 * @returns {{ large: Rect[], small: Rect[] }}
 */
export function spotlight(large, small, area, gap) {
  if (small === 0) return { large: pack(large, area, gap), small: [] };
  const upright = area.w < area.h;
  const share = small > 4 ? 0.3 : 0.22;
  const strip = upright ? Math.max(area.h * share, 90) : Math.max(area.w * share, 130);
  const main = upright ? { ...area, h: area.h - strip - gap } : { ...area, w: area.w - strip - gap };
  const side = upright
    ? { ...area, y: area.y + area.h - strip, h: strip }
    : { ...area, x: area.x + area.w - strip, w: strip };
  return { large: fill(large, main, gap), small: pack(small, side, gap) };
}

/**
 * Screens keep their shape inside their tile, so the tile takes all there is.
 *
 * @param {number} count
 * @param {Rect} area
 * @param {number} gap
 * @returns {Rect[]}
 */
function fill(count, area, gap) {
  const beside = area.w > area.h;
  const w = beside ? (area.w - gap * (count - 1)) / count : area.w;
  const h = beside ? area.h : (area.h - gap * (count - 1)) / count;
  return Array.from({ length: count }, (_, n) => ({
    x: area.x + (beside ? n * (w + gap) : 0),
    y: area.y + (beside ? 0 : n * (h + gap)),
    w,
    h,
  }));
}

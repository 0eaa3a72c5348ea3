// What is shown, and how it is moved. The page puts tiles.js and polygons.js behind this into one function, and calls start().

const scene = JSON.parse(document.getElementById('scene').textContent);
const $ = (id) => document.getElementById(id);
const stage = $('stage'), top = scene.levels.length - 1;
const canvases = Object.fromEntries(['before', 'after', 'mask', 'lines'].map((id) => [id, $(id).getContext('2d')]));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// What is shown. x and y: pixel of the scene at the left upper corner of the stage; zoom: CSS pixels of a scene pixel.
const view = { x: 0, y: 0, zoom: 1, width: 0, height: 0, dpr: 1, split: 0.5, threshold: scene.threshold };
let drawing = false;

function notice(text) {
  if (!$('notice').hidden) return; // the first trouble is the cause of others
  $('notice').textContent = text;
  $('notice').hidden = false;
}

// --- Drawing ---

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  const pixels = view.zoom * view.dpr;
  const level = clamp(Math.floor(Math.log2(1 / pixels) + 0.25), 0, top);
  const places = visible(level);
  for (const context of Object.values(canvases)) context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  drawTiles(canvases.before, layers.before, level, places, (tile) => tile.image);
  drawTiles(canvases.after, layers.after, level, places, (tile) => tile.image);
  for (const context of [canvases.before, canvases.after]) {
    context.globalCompositeOperation = 'destination-out'; // what has no value is left out
    drawTiles(context, layers.probs, level, places, (tile) => tile.cover);
    context.globalCompositeOperation = 'source-over';
  }
  if ($('show-mask').checked) drawTiles(canvases.mask, layers.probs, level, places, painted);
  if ($('show-lines').checked) drawLines(canvases.lines);
  for (const tiles of Object.values(layers)) tiles.forget(places.length);
  stage.dataset.level = level;
  stage.dataset.waiting = Object.values(layers).reduce((sum, tiles) => sum + tiles.waiting, 0) + scripts;
  $('after').style.clipPath = `inset(0 0 0 ${100 * view.split}%)`;
  drawScale();
}

function visible(level) {
  const side = scene.tile * 2 ** level, { rows, columns, written } = scene.levels[level], places = [];
  const last = (start, length, count) => Math.min(count - 1, Math.floor((start + length / view.zoom) / side));
  for (let row = Math.max(0, Math.floor(view.y / side)); row <= last(view.y, view.height, rows); row++) {
    for (let column = Math.max(0, Math.floor(view.x / side)); column <= last(view.x, view.width, columns); column++) {
      if (written[row * columns + column] === '1') places.push([row, column]);
    }
  }
  return places;
}

function drawTiles(context, tiles, level, places, picture) {
  const pixels = view.zoom * view.dpr, scale = 2 ** level * pixels;
  context.imageSmoothingEnabled = scale < 1.5;
  context.imageSmoothingQuality = 'medium';
  tiles.get(`${top}/0_0`);
  for (const [row, column] of places) {
    const [width, height] = sizeOf(level, row, column);
    // Whole pixels of the screen, so that no gap shows between neighbours.
    const x0 = Math.round(column * scene.tile * scale - view.x * pixels);
    const y0 = Math.round(row * scene.tile * scale - view.y * pixels);
    const x1 = Math.round((column * scene.tile + width) * scale - view.x * pixels);
    const y1 = Math.round((row * scene.tile + height) * scale - view.y * pixels);
    for (let up = 0; level + up <= top; up++) { // until it is there, a coarser one stands in
      const key = `${level + up}/${row >> up}_${column >> up}`;
      const tile = up && !tiles.tiles.has(key) ? null : tiles.get(key);
      if (!tile || !tile.image) continue;
      const image = picture(tile);
      const part = scene.tile / 2 ** up, left = (column % 2 ** up) * part, above = (row % 2 ** up) * part;
      if (image) context.drawImage(image, left, above, width / 2 ** up, height / 2 ** up, x0, y0, x1 - x0, y1 - y0);
      break;
    }
  }
}

function drawScale() {
  if (!scene.metres) return;
  const most = Math.min(140, view.width / 4) * scene.metres / view.zoom, power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((step) => step * power).find((value) => value <= most);
  $('scale').hidden = false;
  $('scale').firstChild.textContent = length >= 1000 ? `${length / 1000} km` : `${+length.toPrecision(1)} m`;
  $('scale').lastChild.style.width = `${length / scene.metres * view.zoom}px`;
}

// --- Moving ---

function fitting() {
  return 0.96 * Math.min(view.width / scene.width, view.height / scene.height);
}

function fit() {
  view.zoom = fitting();
  view.x = (scene.width - view.width / view.zoom) / 2;
  view.y = (scene.height - view.height / view.zoom) / 2;
  redraw();
}

function move(dx, dy) { // by CSS pixels; the middle of the stage stays within the scene
  const half = [view.width / 2 / view.zoom, view.height / 2 / view.zoom];
  view.x = clamp(view.x - dx / view.zoom, -half[0], scene.width - half[0]);
  view.y = clamp(view.y - dy / view.zoom, -half[1], scene.height - half[1]);
  redraw();
}

function zoomBy(factor, x = view.width / 2, y = view.height / 2) { // what is at (x, y) stays there
  const zoom = clamp(view.zoom * factor, Math.min(fitting() / 2, 1), 32);
  view.x += x / view.zoom - x / zoom;
  view.y += y / view.zoom - y / zoom;
  view.zoom = zoom;
  move(0, 0);
}

function swipeTo(split) {
  view.split = clamp(split, 0, 1);
  const percent = Math.round(100 * view.split);
  $('swipe').style.left = `${100 * view.split}%`;
  $('swipe').setAttribute('aria-valuenow', percent);
  $('swipe').setAttribute('aria-valuetext', `${percent} % before, ${100 - percent} % after`);
  $('name-before').hidden = view.split < 0.08;
  $('name-after').hidden = view.split > 0.92;
  redraw();
}

function resize() {
  const middle = [view.x + view.width / 2 / view.zoom, view.y + view.height / 2 / view.zoom], first = !view.width;
  [view.width, view.height, view.dpr] = [stage.clientWidth, stage.clientHeight, window.devicePixelRatio || 1];
  for (const { canvas } of Object.values(canvases)) {
    canvas.width = Math.round(view.width * view.dpr);
    canvas.height = Math.round(view.height * view.dpr);
  }
  if (first) return fit();
  view.x = middle[0] - view.width / 2 / view.zoom;
  view.y = middle[1] - view.height / 2 / view.zoom;
  draw(); // at once: canvases are empty now
}

function coordinates(x, y) {
  const [a, b, c, d, e, f] = scene.transform;
  return `${(a * x + b * y + c).toFixed(scene.digits)}, ${(d * x + e * y + f).toFixed(scene.digits)} ${scene.crs}`.trim();
}

// --- Pointers, wheel and keys ---

const pointers = new Map();
let travelled = 0;
const at = (event) => {
  const { left, top: above } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - above];
};
const toScene = ([x, y]) => [view.x + x / view.zoom, view.y + y / view.zoom];

stage.addEventListener('pointerdown', (event) => {
  if (event.button || event.target.closest('button, #card, #swipe')) return;
  stage.setPointerCapture(event.pointerId);
  if (!pointers.size) travelled = 0;
  pointers.set(event.pointerId, at(event));
  stage.classList.add('dragged');
});

stage.addEventListener('pointermove', (event) => {
  const spot = at(event), before = pointers.get(event.pointerId);
  if (before) drag(event, spot, before);
  else if (event.pointerType !== 'touch') hover(event.target.closest('button, #card, #swipe') ? null : polygonAt(...toScene(spot)));
  showPlace(spot);
});

function drag(event, spot, before) {
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  travelled += Math.abs(spot[0] - before[0]) + Math.abs(spot[1] - before[1]);
  pointers.set(event.pointerId, spot);
  if (other) { // two fingers: their distance zooms, their middle moves
    const distance = (point) => Math.max(20, Math.hypot(point[0] - other[0], point[1] - other[1]));
    zoomBy(distance(spot) / distance(before), (spot[0] + other[0]) / 2, (spot[1] + other[1]) / 2);
    move((spot[0] - before[0]) / 2, (spot[1] - before[1]) / 2);
  } else if (travelled > 4) {
    move(spot[0] - before[0], spot[1] - before[1]);
  }
}

function release(event) {
  if (!pointers.delete(event.pointerId) || pointers.size) return;
  stage.classList.remove('dragged');
  if (event.type === 'pointerup' && travelled <= 4) choose(polygonAt(...toScene(at(event))));
}
stage.addEventListener('pointerup', release);
stage.addEventListener('pointercancel', release);
stage.addEventListener('pointerleave', () => { hover(null); $('place').hidden = true; });
stage.addEventListener('dblclick', (event) => { if (!event.target.closest('button, #card, #swipe')) zoomBy(2, ...at(event)); });
stage.addEventListener('wheel', (event) => {
  event.preventDefault();
  const lines = event.deltaMode ? 30 : 1;
  zoomBy(2 ** clamp(-event.deltaY * lines / (event.ctrlKey ? 60 : 240), -1, 1), ...at(event));
}, { passive: false });

function hover(polygon) {
  stage.classList.toggle('over', Boolean(polygon));
  if (polygon === hovered) return;
  hovered = polygon;
  if (!chosen) tell();
  redraw();
}

function showPlace(spot) {
  const [x, y] = toScene(spot), inScene = x >= 0 && y >= 0 && x < scene.width && y < scene.height;
  $('place').hidden = !inScene;
  if (inScene) $('place').textContent = coordinates(x, y);
}

const swipe = $('swipe');
swipe.addEventListener('pointerdown', (event) => {
  swipe.setPointerCapture(event.pointerId);
  swipe.focus({ focusVisible: false });
  event.preventDefault();
});
swipe.addEventListener('pointermove', (event) => {
  if (swipe.hasPointerCapture(event.pointerId)) swipeTo(at(event)[0] / view.width);
});
swipe.addEventListener('keydown', (event) => {
  const amount = event.shiftKey ? 0.1 : 0.02;
  const target = { ArrowLeft: view.split - amount, ArrowDown: view.split - amount, ArrowRight: view.split + amount, ArrowUp: view.split + amount, Home: 0, End: 1 }[event.key];
  if (target === undefined) return;
  swipeTo(target);
  event.preventDefault();
  event.stopPropagation();
});

const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
const keys = {
  '+': () => zoomBy(1.5), '=': () => zoomBy(1.5), '-': () => zoomBy(1 / 1.5), 0: fit,
  '[': () => swipeTo(view.split - 0.02), ']': () => swipeTo(view.split + 0.02),
  m: () => $('show-mask').click(), o: () => $('show-lines').click(), n: () => step(1), p: () => step(-1),
  Escape: () => { document.querySelector('details').open = false; choose(null); },
};
document.addEventListener('keydown', (event) => {
  const typed = event.altKey && '[]'.includes(event.key); // many keyboards have brackets behind Alt or AltGr, which is Ctrl+Alt
  if (event.metaKey || ((event.ctrlKey || event.altKey) && !typed)) return;
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const shift = event.target === stage && moves[event.key];
  if (!action && !shift) return;
  if (action) action(); else move(...shift);
  event.preventDefault();
});

$('in').onclick = () => zoomBy(1.5);
$('out').onclick = () => zoomBy(1 / 1.5);
$('fit').onclick = fit;
$('next').onclick = () => step(1);
$('previous').onclick = () => step(-1);
$('threshold').oninput = () => setThreshold(Number($('threshold').value));
$('reset').onclick = () => setThreshold(scene.threshold);
$('show-mask').onchange = redraw;
$('show-lines').onchange = () => { if (!$('show-lines').checked) { hovered = null; choose(null); } redraw(); };
const setOpacity = () => { $('mask').style.opacity = $('opacity').value; };
$('opacity').oninput = setOpacity;

function start() { // when all files have been read
  if (!window.DecompressionStream) notice('This browser is too old to show the changes: use one of 2023 or later.');
  new ResizeObserver(resize).observe(stage);
  resize();
  setOpacity();
  setThreshold(scene.threshold);
  swipeTo(0.5);
  loadPolygons();
}

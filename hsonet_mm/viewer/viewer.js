'use strict';
(() => {
const scene = JSON.parse(document.getElementById('scene').textContent);
const $ = (id) => document.getElementById(id);
const stage = $('stage'), top = scene.levels.length - 1;
const canvases = Object.fromEntries(['before', 'after', 'mask', 'lines'].map((id) => [id, $(id).getContext('2d')]));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// What is shown. x and y: pixel of the scene at the left upper corner of the stage; zoom: CSS pixels of a scene pixel.
const view = { x: 0, y: 0, zoom: 1, width: 0, height: 0, dpr: 1, split: 0.5, threshold: scene.threshold };
let drawing = false;

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = false;
}

// --- Tiles. Each is {image} when it is there; those not used for long are forgotten. ---

const KEPT = 160;

class Tiles {
  constructor(load) {
    this.load = load;
    this.tiles = new Map();
    this.waiting = 0;
  }

  get(key) {
    let tile = this.tiles.get(key);
    if (tile) {
      this.tiles.delete(key);
    } else {
      tile = { image: null };
      this.waiting += 1;
      this.load(key, tile, (image) => {
        tile.image = image;
        this.waiting -= 1;
        if (!image) notice('Some tiles are missing: keep the folder of this page together.');
        redraw();
      });
    }
    this.tiles.set(key, tile); // the last in order was used last
    return tile;
  }

  forget() {
    for (const key of this.tiles.keys()) {
      if (this.tiles.size <= KEPT) break;
      if (!key.startsWith(`${top}/`)) this.tiles.delete(key);
    }
  }
}

function loadPicture(date) {
  return (key, tile, done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = `tiles/${date}/${key}.jpg`;
  };
}

function loadScript(path, failed) {
  const script = document.createElement('script');
  script.onload = () => script.remove();
  script.onerror = failed;
  script.src = path;
  document.head.append(script);
}

const expected = new Map(); // tiles whose scripts are on their way

function loadProbs(key, tile, done) {
  expected.set(key, { tile, done });
  loadScript(`tiles/probs/${key}.js`, () => done(null));
}

window.hsonetTile = async (key, text) => {
  const { tile, done } = expected.get(key);
  expected.delete(key);
  try {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    tile.values = new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    return done(null);
  }
  const [level, row, column] = key.split(/[/_]/).map(Number);
  const image = document.createElement('canvas');
  [image.width, image.height] = sizeOf(level, row, column);
  if (tile.values.includes(scene.nodata)) tile.cover = paint(image.cloneNode(), tile.values, coverColours);
  done(image);
};

function sizeOf(level, row, column) {
  const { width, height } = scene.levels[level];
  return [Math.min(scene.tile, width - column * scene.tile), Math.min(scene.tile, height - row * scene.tile)];
}

const layers = { before: new Tiles(loadPicture('before')), after: new Tiles(loadPicture('after')), probs: new Tiles(loadProbs) };

// --- Colours of stored probabilities: 32-bit values, alpha first, then blue, green, red. ---

const [red, green, blue] = scene.colour;
const CHANGED = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
const coverColours = new Uint32Array(256);
coverColours[scene.nodata] = 0xff000000;
const maskColours = new Uint32Array(256);

function setThreshold(value) {
  view.threshold = value;
  for (let stored = 0; stored <= scene.scale; stored++) maskColours[stored] = stored > value * scene.scale ? CHANGED : 0;
  $('threshold').value = value;
  $('threshold').setAttribute('aria-valuetext', value.toFixed(3));
  $('value').textContent = value.toFixed(3);
  $('reset').disabled = value === scene.threshold;
  redraw();
}

function paint(canvas, values, colours) {
  const context = canvas.getContext('2d'), picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colours[values[i]];
  context.putImageData(picture, 0, 0);
  return canvas;
}

function painted(tile) {
  if (tile.threshold !== view.threshold) {
    paint(tile.image, tile.values, maskColours);
    tile.threshold = view.threshold;
  }
  return tile.image;
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
  for (const tiles of Object.values(layers)) tiles.forget();
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

// --- Polygons: {area, prob, rings, box}, rings as x, y, x, y ... in pixels of the scene. ---

const polygons = [];
let scripts = scene.polygonScripts, bySize = [], hovered = null, chosen = null;

window.hsonetPolygons = (batch) => {
  for (const [area, prob, steps] of batch) {
    const rings = steps.map((values) => Int32Array.from(values));
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const ring of rings) {
      for (let i = 2; i < ring.length; i++) ring[i] += ring[i - 2];
      for (let i = 0; i < ring.length; i += 2) {
        box[0] = Math.min(box[0], ring[i]); box[1] = Math.min(box[1], ring[i + 1]);
        box[2] = Math.max(box[2], ring[i]); box[3] = Math.max(box[3], ring[i + 1]);
      }
    }
    polygons.push({ area, prob, rings, box });
  }
};

function loadPolygons(number = 0) { // one after the other, so that the page stays awake
  if (number === scene.polygonScripts) {
    bySize = polygons.slice().sort((a, b) => b.area - a.area);
    count();
    redraw();
    return;
  }
  const next = () => {
    scripts -= 1;
    if (number % 8 === 0) redraw();
    loadPolygons(number + 1);
  };
  const script = document.createElement('script');
  script.onload = () => { script.remove(); next(); };
  script.onerror = () => { notice('Some polygons are missing: keep the folder of this page together.'); next(); };
  script.src = `polygons/${number}.js`;
  document.head.append(script);
}

function drawLines(context) {
  const pixels = view.zoom * view.dpr, right = view.x + view.width / view.zoom, bottom = view.y + view.height / view.zoom;
  const lineColour = getComputedStyle(stage).getPropertyValue('--line');
  const width = 1.6 * view.dpr, dot = 2 * view.dpr, least = 4 * view.dpr / pixels;
  context.lineJoin = 'round';
  let path = new Path2D(), inPath = 0;
  const stroke = () => {
    context.lineWidth = 2.2 * width; context.strokeStyle = '#000a'; context.stroke(path);
    context.lineWidth = width; context.strokeStyle = lineColour; context.stroke(path);
    path = new Path2D(); inPath = 0;
  };
  context.fillStyle = lineColour;
  for (const polygon of polygons) {
    const [x0, y0, x1, y1] = polygon.box;
    if (x1 < view.x || y1 < view.y || x0 > right || y0 > bottom) continue;
    if (x1 - x0 < least && y1 - y0 < least) {
      context.fillRect(((x0 + x1) / 2 - view.x) * pixels - dot / 2, ((y0 + y1) / 2 - view.y) * pixels - dot / 2, dot, dot);
      continue;
    }
    inPath += trace(path, polygon);
    if (inPath > 4000) stroke(); // long paths are slow
  }
  stroke();
  for (const [polygon, colour] of [[hovered, '#fff8'], [chosen, '#fff']]) {
    if (!polygon) continue;
    trace(path, polygon);
    context.lineWidth = 3 * width; context.strokeStyle = '#000'; context.stroke(path);
    context.lineWidth = 1.8 * width; context.strokeStyle = colour; context.stroke(path);
    path = new Path2D();
  }
}

function trace(path, polygon) {
  const pixels = view.zoom * view.dpr;
  let corners = 0;
  for (const ring of polygon.rings) {
    let lastX = Infinity, lastY = Infinity;
    for (let i = 0; i < ring.length; i += 2) {
      const x = (ring[i] - view.x) * pixels, y = (ring[i + 1] - view.y) * pixels;
      if (Math.abs(x - lastX) + Math.abs(y - lastY) < 1) continue; // too near to be seen
      if (lastX === Infinity) path.moveTo(x, y); else path.lineTo(x, y);
      lastX = x; lastY = y; corners++;
    }
    path.closePath();
  }
  return corners;
}

function polygonAt(x, y) {
  if (!$('show-lines').checked) return null;
  const slack = 5 / view.zoom;
  let near = null;
  for (const polygon of polygons) {
    const [x0, y0, x1, y1] = polygon.box;
    if (x < x0 - slack || y < y0 - slack || x > x1 + slack || y > y1 + slack) continue;
    if (inside(polygon, x, y)) return polygon;
    if (x1 - x0 < 2 * slack && y1 - y0 < 2 * slack) near = polygon; // too small to be hit
  }
  return near;
}

function inside({ rings }, x, y) {
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const above = ring[i + 1] > y;
      if (above !== ring[j + 1] > y && x < ring[i] + (y - ring[i + 1]) / (ring[j + 1] - ring[i + 1]) * (ring[j] - ring[i])) odd = !odd;
    }
  }
  return odd;
}

function words(area) {
  if (area >= 1e6) return `${(area / 1e6).toLocaleString('en', { maximumFractionDigits: 2 })} km²`;
  return `${area.toLocaleString('en', { maximumFractionDigits: area < 100 ? 1 : 0 })} m²`;
}

function choose(polygon) {
  chosen = polygon;
  tell();
  count();
  redraw();
}

function tell() { // the polygon that is chosen, or else the one under the pointer
  const polygon = chosen || hovered, card = $('card');
  card.hidden = !polygon;
  if (!polygon) return;
  const lines = [['b', words(polygon.area)], ['span', `mean probability ${polygon.prob.toFixed(2)}`], ['span', scene.names.join(' → ')]];
  const [x0, y0, x1, y1] = polygon.box;
  lines.push(['span', coordinates((x0 + x1) / 2, (y0 + y1) / 2)]);
  card.replaceChildren(...lines.map(([kind, text]) => Object.assign(document.createElement(kind), { textContent: text })));
  if (chosen) {
    const close = Object.assign(document.createElement('button'), { type: 'button', textContent: '×', onclick: () => choose(null) });
    close.setAttribute('aria-label', 'Close');
    card.append(close);
  }
}

function count() {
  const total = bySize.length.toLocaleString('en');
  $('count').textContent = chosen ? `${(bySize.indexOf(chosen) + 1).toLocaleString('en')} of ${total}` : total;
}

function step(by) {
  if (!bySize.length) return;
  const from = chosen ? bySize.indexOf(chosen) : by > 0 ? -1 : 0;
  const polygon = bySize[(from + by + bySize.length) % bySize.length], [x0, y0, x1, y1] = polygon.box;
  const room = Math.min(view.width / (x1 - x0), view.height / (y1 - y0)) / 3;
  view.zoom = clamp(Math.min(room, Math.max(view.zoom, 1)), fitting(), 32);
  view.x = (x0 + x1) / 2 - view.width / 2 / view.zoom;
  view.y = (y0 + y1) / 2 - view.height / 2 / view.zoom;
  choose(polygon);
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
  showPlace(spot);
  if (!before) {
    if (event.pointerType !== 'touch') hover(event.target.closest('button, #card, #swipe') ? null : polygonAt(...toScene(spot)));
    return;
  }
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
});

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
const toggle = (id) => { $(id).checked = !$(id).checked; redraw(); };
const keys = {
  '+': () => zoomBy(1.5), '=': () => zoomBy(1.5), '-': () => zoomBy(1 / 1.5), 0: fit,
  '[': () => swipeTo(view.split - 0.02), ']': () => swipeTo(view.split + 0.02),
  m: () => toggle('show-mask'), o: () => toggle('show-lines'), n: () => step(1), p: () => step(-1), Escape: () => choose(null),
};
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
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

if (!window.DecompressionStream) notice('This browser is too old to show the changes: use one of 2023 or later.');
new ResizeObserver(resize).observe(stage);
resize();
setOpacity();
setThreshold(scene.threshold);
swipeTo(0.5);
loadPolygons();
})();

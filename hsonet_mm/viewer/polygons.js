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
  loadScript(`polygons/${number}.js`, next, () => {
    notice('Some polygons are missing: keep the folder of this page together.');
    next();
  });
}

function drawLines(context) {
  const pixels = view.zoom * view.dpr, right = view.x + view.width / view.zoom, bottom = view.y + view.height / view.zoom;
  const lineColour = getComputedStyle(stage).getPropertyValue('--line');
  const width = clamp(0.9 + view.zoom / 2, 1.1, 1.8) * view.dpr, least = 5 * view.dpr / pixels;
  context.lineJoin = 'round';
  let path = new Path2D(), inPath = 0;
  const stroke = () => {
    context.lineWidth = 2 * width; context.strokeStyle = '#0009'; context.stroke(path);
    context.lineWidth = width; context.strokeStyle = lineColour; context.stroke(path);
    path = new Path2D(); inPath = 0;
  };
  context.fillStyle = lineColour;
  for (const polygon of polygons) {
    const [x0, y0, x1, y1] = polygon.box;
    if (x1 < view.x || y1 < view.y || x0 > right || y0 > bottom) continue;
    if (x1 - x0 < least && y1 - y0 < least) { // a dot tells as much, faster
      const dot = clamp(Math.max(x1 - x0, y1 - y0) * pixels, view.dpr, 2 * view.dpr);
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
  $('show-lines').checked = true;
  const from = chosen ? bySize.indexOf(chosen) : by > 0 ? -1 : 0;
  const polygon = bySize[(from + by + bySize.length) % bySize.length], [x0, y0, x1, y1] = polygon.box;
  const room = Math.min(view.width / (x1 - x0), view.height / (y1 - y0)) / 3;
  view.zoom = clamp(Math.min(room, Math.max(view.zoom, 1)), fitting(), 32);
  view.x = (x0 + x1) / 2 - view.width / 2 / view.zoom;
  view.y = (y0 + y1) / 2 - view.height / 2 / view.zoom;
  choose(polygon);
}

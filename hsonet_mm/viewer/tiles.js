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

  forget(shown) {
    for (const [key, tile] of this.tiles) {
      if (this.tiles.size <= Math.max(KEPT, 2 * shown)) break;
      if (tile.image && !key.startsWith(`${top}/`)) this.tiles.delete(key);
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

function loadScript(path, loaded, failed) {
  const script = document.createElement('script');
  script.onload = () => { script.remove(); loaded(); };
  script.onerror = () => { script.remove(); failed(); };
  script.src = path;
  document.head.append(script);
}

const expected = new Map(); // tiles whose scripts are on their way

function loadProbs(key, tile, done) {
  expected.set(key, { tile, done });
  loadScript(`tiles/probs/${key}.js`, () => {}, () => done(null));
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

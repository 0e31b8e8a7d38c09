'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const at = id => document.getElementById(id);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;
  const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

  // Charts. Their colours are the page's, by its style sheet, so that light, dark and paper need nothing here.
  const margin = { l: 10, r: 12, t: 12, b: 10 };
  const place = name => at(`chart-${name}`);
  function draw(chart) {
    const layout = { ...chart.layout, margin, autosize: true, dragmode: false, bargap: 0.25,
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      font: { family: css('--sans'), size: 0.8 * rem() } };
    for (const axis of new Set(['xaxis', 'yaxis', ...Object.keys(layout).filter(name => /^[xy]axis/.test(name))])) {
      layout[axis] = { gridcolor: '#ddd', zeroline: false, automargin: true, fixedrange: true, ticklabelstandoff: 4, ...layout[axis] };
    }
    const scale = rem() / 16;
    for (const { line, marker } of chart.data) {
      if (line) line.width *= scale;
      if (marker && marker.size) marker.size *= scale;
    }
    return Plotly.newPlot(place(chart.name), chart.data, layout, { displayModeBar: false, responsive: true });
  }
  data.charts.forEach(draw);

  const curves = data.charts.filter(chart => chart.more.epoch)
    .map(({ name, data: series, more }) => ({ name, epoch: more.epoch, iterations: series.map(line => line.x) }));
  function against(axis) {
    for (const { name, epoch, iterations } of curves) {
      const unit = axis === 'epoch' ? epoch : 1;
      Plotly.update(place(name), { x: iterations.map(line => line.map(x => x / unit)) }, { 'xaxis.title.text': axis });
    }
  }
  if (curves.length) {
    against('epoch');
    at('axis').addEventListener('change', event => against(event.target.value));
  }
  // On paper a chart keeps its height, whatever the print's size of letters makes of its place.
  const resize = size => data.charts.forEach(({ name }) => Plotly.relayout(place(name), size(place(name))));
  addEventListener('beforeprint', () =>
    resize(chart => ({ width: 660, height: Math.min(chart.offsetHeight, 640), 'font.size': 12 })));
  addEventListener('afterprint', () =>
    resize(() => ({ width: null, height: null, autosize: true, 'font.size': 0.8 * rem() })));

  // Maps: grey strips of 8 bits, shown in a perceptually uniform map of colours.
  const gallery = data.gallery;
  if (!gallery) return;
  images();
  if (!gallery.modules.length) return;
  const colours = Uint8Array.from(atob(data.colours), letter => letter.charCodeAt(0));
  const image = Object.fromEntries(gallery.images.map(entry => [entry.index, entry]));
  const module = Object.fromEntries(gallery.modules.map(entry => [entry.name, entry]));
  const loaded = new Map();
  function load(uri) {
    if (!loaded.has(uri)) {
      loaded.set(uri, new Promise((resolve, reject) => {
        const picture = new Image();
        picture.onload = () => resolve(picture);
        picture.onerror = reject;
        picture.src = uri;
      }));
    }
    return loaded.get(uri);
  }

  // Values of one map: numbers from 0 to 255, and what these two ends stand for.
  async function map(index, name, kind, tile) {
    const strip = image[index].maps[name][kind];
    const picture = await load(strip.png);
    const [height, width] = module[name].size;
    const canvas = element('canvas', { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(picture, 0, -height * tile);
    const pixels = context.getImageData(0, 0, width, height).data;
    const [low, high] = strip.ranges[tile];
    return { width, height, low, high, values: Array.from({ length: width * height }, (_, i) => pixels[4 * i]) };
  }

  function paint(canvas, { width, height, values }) {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const pixels = context.createImageData(width, height);
    values.forEach((value, i) => {
      const level = 3 * Math.max(0, Math.min(255, Math.round(value)));
      pixels.data.set([colours[level], colours[level + 1], colours[level + 2], 255], 4 * i);
    });
    context.putImageData(pixels, 0, 0);
  }

  const onScale = ({ low, high, values, ...rest }) => (
    { ...rest, low: 0, high: 1, values: values.map(value => 255 * low + value * (high - low)) });

  // Where a map is highest, in words.
  function where({ width, height, values }) {
    const most = values.indexOf(Math.max(...values));
    const third = (place, length) => Math.min(2, Math.floor(3 * (place + 0.5) / length));
    const row = ['top', 'middle', 'bottom'][third(Math.floor(most / width), height)];
    const column = ['left', 'centre', 'right'][third(most % width, width)];
    return row === 'middle' && column === 'centre' ? 'in the middle' : `at the ${row} ${column}`;
  }

  async function light(canvas, picture, mask) {
    const shown = await load(picture);
    Object.assign(canvas, { width: Math.max(256, shown.width), height: Math.round(Math.max(256, shown.width) * shown.height / shown.width) });
    const context = canvas.getContext('2d');
    context.imageSmoothingEnabled = false;
    context.drawImage(shown, 0, 0, canvas.width, canvas.height);
    const shade = element('canvas', { width: mask.width, height: mask.height });
    const pixels = shade.getContext('2d').createImageData(mask.width, mask.height);
    mask.values.forEach((value, i) => pixels.data.set([0, 0, 0, 0.88 * (255 - value)], 4 * i));
    shade.getContext('2d').putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = 'high';
    context.drawImage(shade, 0, 0, canvas.width, canvas.height);
  }

  const names = { trunk: 'Feature before the mask', mask: 'Mask', product: 'Feature behind the mask' };
  const told = value => String(Number(value.toPrecision(3)));
  let turn = 0;

  async function show() {
    const mine = ++turn;
    const index = chosen('image'), name = chosen('module'), tile = Number(at('tile').value);
    const kinds = Object.keys(names);
    const maps = await Promise.all(kinds.map(kind => map(index, name, kind, tile)));
    if (mine !== turn) return; // another choice was made meanwhile
    kinds.forEach((kind, place) => {
      const found = kind === 'mask' && at('absolute').checked ? onScale(maps[place]) : maps[place];
      const view = at(`view-${kind}`), caption = view.nextElementSibling;
      paint(view, found);
      caption.querySelector('.low').textContent = told(found.low);
      caption.querySelector('.high').textContent = told(found.high);
      view.setAttribute('aria-label', `${names[kind]} of ${name}, ${module[name].tiles[tile]}: `
        + `from ${told(maps[place].low)} to ${told(maps[place].high)}, highest ${where(maps[place])}`);
    });
    const mask = maps[kinds.indexOf('mask')];
    await light(at('overlay'), image[index].picture, mask);
    at('overlay').setAttribute('aria-label', `The image, bright where the mask of ${name} is high: ${where(mask)}`);
    at('view-mask').dataset.map = `${index} ${name} ${tile}`;
  }

  function answer(entry) {
    const [taken, score] = entry.top[0];
    const verdict = entry.right ? `${entry.shows}, and so says the network` : `${entry.shows}, taken for ${taken},`;
    return `${verdict} with ${(100 * score).toFixed(1)} %`;
  }

  function bars(entry) {
    return entry.top.flatMap(([name, score]) => {
      const bar = element('dd', { ariaHidden: 'true' });
      bar.append(element('div', { className: 'bar', style: `width: ${100 * score}%` }));
      return [element('dt', { textContent: name }), bar, element('dd', { textContent: `${(100 * score).toFixed(1)} %` })];
    });
  }

  function images() {
    const entries = Object.fromEntries(data.gallery.images.map(entry => [entry.index, entry]));
    const change = () => {
      const entry = entries[chosen('image')];
      Object.assign(at('picture'), { src: entry.picture, alt: answer(entry) });
      at('said').textContent = answer(entry);
      at('top').replaceChildren(...bars(entry));
    };
    document.querySelector('.thumbs').addEventListener('change', change);
    change();
  }

  function thumbs() {
    document.querySelectorAll('canvas.thumb').forEach(async canvas =>
      paint(canvas, await map(chosen('image'), canvas.dataset.module, 'mask', 0)));
  }

  function fill() {
    const before = at('tile').selectedIndex;
    at('tile').replaceChildren(...module[chosen('module')].tiles.map((text, place) => new Option(text, place)));
    at('tile').selectedIndex = Math.max(0, before);
  }

  const ramp = { width: 256, height: 1, values: Array.from({ length: 256 }, (_, i) => i) };
  document.querySelectorAll('canvas.legend').forEach(canvas => paint(canvas, ramp));
  document.querySelectorAll('.pictures canvas').forEach(async canvas => {
    const { image: index, module: name, kind, tile } = canvas.dataset;
    const found = await map(index, name, kind, Number(tile));
    paint(canvas, found);
    canvas.setAttribute('aria-label', `Mean mask of ${name}: from ${told(found.low)} to ${told(found.high)}, highest ${where(found)}`);
  });
  fill();
  thumbs();
  show();
  document.querySelector('.thumbs').addEventListener('change', () => { thumbs(); show(); });
  document.querySelector('.modules').addEventListener('change', () => { fill(); show(); });
  at('tile').addEventListener('change', show);
  at('absolute').addEventListener('change', show);
  document.querySelectorAll('button[data-show]').forEach(button => button.addEventListener('click', () => {
    const choice = document.querySelector(`input[name=image][value="${button.dataset.show}"]`);
    choice.checked = true;
    choice.dispatchEvent(new Event('change', { bubbles: true }));
    choice.focus();
  }));
})();

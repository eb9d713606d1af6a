'use strict';
(async () => {
  const byId = (id) => document.getElementById(id);
  const info = JSON.parse(byId('video-info').textContent);
  const { width, height, frames } = info;
  const zoom = Math.max(1, Math.round(1280 / width)); // small videos are enlarged, so that names can be read

  // ---- data ----------------------------------------------------------------------------------------------------
  /** Bytes of a script element: two characters are 13 bits, see encoding.py. */
  function decodeBytes(text, size) {
    const table = new Int16Array(128).fill(-1);
    for (let code = 33, k = 0; code < 127; code++) if (!'"<\\'.includes(String.fromCharCode(code))) table[code] = k++;
    const bytes = new Uint8Array(size);
    let held = 0, bits = 0, at = 0;
    for (let i = 0; at < size; i += 2) {
      held = (held << 13) | (table[text.charCodeAt(i)] * 91 + table[text.charCodeAt(i + 1)]);
      bits += 13;
      while (bits >= 8 && at < size) { bits -= 8; bytes[at++] = (held >> bits) & 255; }
      held &= (1 << bits) - 1;
    }
    return bytes;
  }

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** Objects and runs of every frame: {objects: [[number, score], ...], from, count}; runs are read when drawn. */
  function parseFrames(bytes) {
    let at = 0;
    const next = () => {
      let value = 0, scale = 1, byte;
      do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      return value;
    };
    const list = [];
    for (let t = 0; t < frames; t++) {
      const objects = Array.from({ length: next() }, () => { const k = next(), s = next(); return [k, s > 254 ? null : s / 254]; });
      const count = next(), from = at;
      for (let k = 0; k < 2 * count; k++) { while (bytes[at] > 127) at++; at++; }
      list.push({ objects, from, count });
    }
    return list;
  }

  const results = [];
  for (const [k, result] of info.results.entries()) {
    const bytes = await inflate(decodeBytes(byId(`result-${k}`).textContent, result.bytes));
    results.push({ ...result, bytes, frames: parseFrames(bytes), map: new Uint16Array(width * height), shown: -1, middle: [] });
  }

  /** Fills the map of a result with number + 1 of the object of each pixel, and finds the middle of each object. */
  function expand(result, t) {
    if (result.shown === t) return;
    result.shown = t;
    const { objects, from, count } = result.frames[t], { bytes, map } = result;
    const sums = objects.map(() => [0, 0, 0, 0, 0, 0]); // of x, of y, pixels; longest run, its middle and row
    let at = from, pixel = 0;
    const next = () => {
      let value = 0, scale = 1, byte;
      do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      return value;
    };
    for (let k = 0; k < count; k++) {
      const position = next(), length = next();
      map.fill(position ? objects[position - 1][0] + 1 : 0, pixel, pixel + length);
      for (let start = pixel, stop = pixel + length; position && start < stop;) {
        const row = Math.floor(start / width), end = Math.min(stop, (row + 1) * width), n = end - start;
        const sum = sums[position - 1];
        const middle = (start + end - 1) / 2 - row * width;
        sum[0] += n * middle; sum[1] += n * row; sum[2] += n;
        if (n > sum[3]) { sum[3] = n; sum[4] = middle; sum[5] = row; }
        start = end;
      }
      pixel += length;
    }
    result.middle = sums.map(([x, y, n, , middle, row], k) => {
      const isInside = map[Math.round(y / n) * width + Math.round(x / n)] === objects[k][0] + 1; // not of a ring
      const place = isInside ? { x: x / n, y: y / n } : { x: middle, y: row };
      return { number: objects[k][0], score: objects[k][1], area: n, ...place };
    });
  }

  // ---- state ---------------------------------------------------------------------------------------------------
  const state = { t: 0, chosen: null, hover: null, hidden: new Set(), playing: false }; // chosen: {result, number}
  const video = document.createElement('video');
  video.muted = false; video.playsInline = true; video.preload = 'auto';
  video.src = URL.createObjectURL(new Blob([decodeBytes(byId('video-data').textContent, info.videoBytes)], { type: 'video/mp4' }));
  const timeOf = (t) => info.times ? info.times[t] : t / info.fps;
  const frameAt = (seconds) => {
    if (!info.times) return Math.min(frames - 1, Math.max(0, Math.round(seconds * info.fps)));
    let t = info.times.findIndex((value) => value > seconds + 1e-3);
    return t < 0 ? frames - 1 : Math.max(0, t - 1);
  };
  const tell = (object) => object.thing ? `${object.name} ${object.id}` : object.name;

  // ---- pictures ------------------------------------------------------------------------------------------------
  for (const result of results) {
    const figure = document.createElement('figure'), caption = document.createElement('figcaption');
    result.canvas = Object.assign(document.createElement('canvas'), { className: 'picture', width: width * zoom, height: height * zoom });
    result.canvas.tabIndex = 0;
    result.layer = Object.assign(document.createElement('canvas'), { width, height });
    result.pixels = result.layer.getContext('2d').createImageData(width, height);
    caption.textContent = results.length > 1 ? result.title : '';
    figure.append(result.canvas, caption);
    byId('panes').append(figure);
    const hit = (event) => {
      const box = result.canvas.getBoundingClientRect(), scale = Math.min(box.width / width, box.height / height);
      const x = Math.floor((event.clientX - box.left - (box.width - width * scale) / 2) / scale);
      const y = Math.floor((event.clientY - box.top - (box.height - height * scale) / 2) / scale);
      if (x < 0 || y < 0 || x >= width || y >= height) return null;
      const value = result.map[y * width + x];
      return value && !state.hidden.has(result.objects[value - 1].name) ? { result, number: value - 1 } : null;
    };
    result.canvas.addEventListener('pointermove', (event) => { if (event.pointerType === 'mouse') hoverOver(hit(event)); });
    result.canvas.addEventListener('pointerleave', () => hoverOver(null));
    result.canvas.addEventListener('click', (event) => choose(hit(event)));
  }

  const same = (a, b) => a === b || (a && b && a.result === b.result && a.number === b.number);
  function hoverOver(item) { if (!same(state.hover, item)) { state.hover = item; draw(); } }
  function choose(item) { state.chosen = same(state.chosen, item) ? null : item; draw(); markRows(); }

  function colours(result) {
    const opacity = 2.55 * byId('opacity').value, table = new Uint32Array(result.objects.length + 1);
    const focus = [state.chosen, state.hover].filter((item) => item && item.result === result).map((item) => item.number);
    const dims = [state.chosen, state.hover].some(Boolean);
    result.objects.forEach((object, k) => {
      if (state.hidden.has(object.name)) return;
      const alpha = focus.includes(k) ? Math.max(opacity, 190) : dims ? opacity * 0.35 : opacity;
      const [r, g, b] = object.colour;
      table[k + 1] = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    return table;
  }

  function drawResult(result) {
    expand(result, state.t);
    const context = result.canvas.getContext('2d'), out = new Uint32Array(result.pixels.data.buffer), { map } = result;
    const table = colours(result), edge = 0xe0ffffff;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const value = map[i];
        const isEdge = (x + 1 < width && map[i + 1] !== value) || (y + 1 < height && map[i + width] !== value);
        out[i] = isEdge && (table[value] || (x + 1 < width && table[map[i + 1]]) || (y + 1 < height && table[map[i + width]])) ? edge : table[value];
      }
    }
    context.fillStyle = '#222';
    context.fillRect(0, 0, width * zoom, height * zoom);
    context.imageSmoothingEnabled = true;
    if (video.readyState > 1) context.drawImage(video, 0, 0, width * zoom, height * zoom);
    context.imageSmoothingEnabled = false;
    result.layer.getContext('2d').putImageData(result.pixels, 0, 0);
    context.drawImage(result.layer, 0, 0, width * zoom, height * zoom);
    if (byId('names').checked) drawNames(result, context);
  }

  function drawNames(result, context) {
    const size = Math.max(10, Math.round(zoom * Math.min(width, height) / 36));
    context.font = `${size}px system-ui, sans-serif`;
    context.textBaseline = 'top';
    for (const { number, score, x, y, area } of result.middle) {
      const object = result.objects[number];
      if (state.hidden.has(object.name) || area < 0.0005 * width * height) continue;
      const text = tell(object) + (score === null || !object.thing ? '' : ` ${score.toFixed(2)}`);
      const w = context.measureText(text).width + 6, h = size + 4, [r, g, b] = object.colour;
      const left = Math.max(0, Math.min(zoom * width - w, zoom * x - w / 2)), top = Math.max(0, Math.min(zoom * height - h, zoom * y - h / 2));
      context.fillStyle = `rgba(${r}, ${g}, ${b}, .85)`;
      context.fillRect(left, top, w, h);
      context.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? '#000' : '#fff';
      context.fillText(text, left + 3, top + 2);
    }
  }

  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      results.forEach(drawResult);
      byId('scrub').value = state.t;
      byId('position').textContent = `frame ${state.t} / ${frames - 1} · ${timeOf(state.t).toFixed(2)} s`;
      const item = state.chosen || state.hover;
      byId('selected').textContent = item ? describe(item) : '';
      document.querySelectorAll('.cursor').forEach(placeCursor);
    });
  }

  function describe({ result, number }) {
    const object = result.objects[number], present = result.frames[state.t].objects.find(([k]) => k === number);
    const times = result.frames.flatMap((frame, t) => frame.objects.some(([k]) => k === number) ? [t] : []);
    const score = present && present[1] !== null ? `, score ${present[1].toFixed(2)}` : '';
    return `${tell(object)}: ${present ? 'visible' : 'not visible'}${score}; in ${times.length} of ${frames} frames, ` +
      `from ${times[0]} to ${times[times.length - 1]}`;
  }

  // ---- classes and timelines -----------------------------------------------------------------------------------
  for (const name of [...new Set(results.flatMap((result) => result.objects.map((object) => object.name)))].sort()) {
    const button = Object.assign(document.createElement('button'), { textContent: name });
    button.setAttribute('aria-pressed', 'true');
    button.addEventListener('click', () => {
      if (!state.hidden.delete(name)) state.hidden.add(name);
      button.setAttribute('aria-pressed', String(!state.hidden.has(name)));
      document.querySelectorAll('.row').forEach((row) => { row.hidden = state.hidden.has(row.dataset.class); row.style.display = row.hidden ? 'none' : ''; });
      draw();
    });
    byId('classes').append(button);
  }

  const rows = [];
  for (const result of results) {
    const box = Object.assign(document.createElement('div'), { className: 'timeline' });
    if (results.length > 1) box.append(Object.assign(document.createElement('h2'), { textContent: result.title }));
    const order = result.objects.map((object, number) => ({ object, number })).sort((a, b) => b.object.thing - a.object.thing || a.object.id - b.object.id);
    for (const { object, number } of order) {
      const row = Object.assign(document.createElement('div'), { className: 'row' });
      const name = Object.assign(document.createElement('button'), { className: 'name', textContent: tell(object), title: tell(object) });
      const bar = Object.assign(document.createElement('canvas'), { width: Math.min(frames, 4096), height: 1 });
      row.dataset.class = object.name;
      row.style.setProperty('--colour', `rgb(${object.colour.join()})`);
      paintBar(bar, result, number);
      name.addEventListener('click', () => choose({ result, number }));
      bar.addEventListener('click', (event) => {
        const rect = bar.getBoundingClientRect();
        seek(Math.floor((event.clientX - rect.left) / rect.width * frames));
        if (!same(state.chosen, { result, number })) choose({ result, number });
      });
      row.append(name, bar);
      box.append(row);
      rows.push({ row, bar, result, number });
    }
    if (rows.length) box.append(Object.assign(document.createElement('div'), { className: 'cursor' }));
    byId('timelines').append(box);
  }

  function paintBar(bar, result, number) {
    const context = bar.getContext('2d'), [r, g, b] = result.objects[number].colour, scale = bar.width / frames;
    result.frames.forEach((frame, t) => {
      const present = frame.objects.find(([k]) => k === number);
      if (!present) return;
      context.fillStyle = `rgba(${r}, ${g}, ${b}, ${present[1] === null ? 1 : 0.25 + 0.75 * present[1]})`;
      context.fillRect(t * scale, 0, Math.max(1, scale), 1);
    });
    for (const event of (result === results[1] && info.events) || []) {
      if (result.objects[number].id !== event.truth || !result.objects[number].thing) continue;
      context.fillStyle = event.kind === 'miss' ? '#ff3b30' : '#ffd60a';
      context.fillRect(event.frame * scale, 0, Math.max(1, scale), 1);
    }
  }

  function placeCursor(cursor) {
    const { bar } = rows.find(({ row }) => row.parentElement === cursor.parentElement && !row.hidden) || {};
    if (!bar) return;
    cursor.style.left = `${bar.offsetLeft + bar.offsetWidth * (state.t + 0.5) / frames}px`;
    cursor.style.height = `${cursor.parentElement.scrollHeight}px`;
  }

  function markRows() { rows.forEach(({ row, result, number }) => row.classList.toggle('chosen', same(state.chosen, { result, number }) === true)); }

  // ---- playing -------------------------------------------------------------------------------------------------
  function seek(t) {
    state.t = Math.max(0, Math.min(frames - 1, t));
    video.currentTime = timeOf(state.t) + 0.4 / info.fps;
    draw();
  }
  video.addEventListener('seeked', draw);
  video.addEventListener('loadeddata', draw);
  video.addEventListener('ended', () => setPlaying(false));

  function follow() {
    if (!state.playing) return;
    state.t = frameAt(video.currentTime - 0.2 / info.fps);
    draw();
    next();
  }
  const next = () => video.requestVideoFrameCallback
    ? video.requestVideoFrameCallback((now, data) => { if (state.playing) { state.t = frameAt(data.mediaTime); draw(); next(); } })
    : requestAnimationFrame(follow);

  function setPlaying(on) {
    state.playing = on;
    byId('play').innerHTML = on ? '&#10074;&#10074;' : '&#9654;';
    if (!on) { video.pause(); return; }
    if (state.t >= frames - 1) seek(0);
    video.play().then(next, () => setPlaying(false));
  }

  const step = (n) => { setPlaying(false); seek(state.t + n); };
  function nextError() {
    const events = info.events || [], missed = new Set(events.filter(({ kind }) => kind === 'miss').map(({ frame, truth }) => `${frame} ${truth}`));
    const starts = events.filter(({ frame, kind, truth }) => kind === 'switch' || !missed.has(`${frame - 1} ${truth}`));
    const event = starts.find(({ frame }) => frame > state.t) || starts[0];
    if (!event) return;
    step(event.frame - state.t);
    const number = results[1].objects.findIndex((object) => object.thing && object.id === event.truth);
    if (number >= 0) { state.chosen = { result: results[1], number }; markRows(); }
  }

  byId('play').addEventListener('click', () => setPlaying(!state.playing));
  byId('back').addEventListener('click', () => step(-1));
  byId('forward').addEventListener('click', () => step(1));
  byId('scrub').addEventListener('input', (event) => { setPlaying(false); seek(Number(event.target.value)); });
  byId('speed').addEventListener('change', (event) => { video.playbackRate = Number(event.target.value); });
  byId('opacity').addEventListener('input', draw);
  byId('names').addEventListener('change', draw);
  addEventListener('resize', draw);
  const changeOpacity = (n) => { byId('opacity').value = Number(byId('opacity').value) + n; draw(); };
  const keys = {
    ' ': () => setPlaying(!state.playing), ArrowLeft: (event) => step(event.shiftKey ? -10 : -1), ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
    Home: () => step(-frames), End: () => step(frames), Escape: () => choose(state.chosen), e: nextError,
    n: () => { byId('names').checked = !byId('names').checked; draw(); }, '[': () => changeOpacity(-10), ']': () => changeOpacity(10),
  };
  addEventListener('keydown', (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.target.tagName === 'SELECT') return;
    event.preventDefault();
    keys[event.key](event);
  });

  byId('title').textContent = info.name;
  document.title = `${info.name} · mmdvis viewer`;
  byId('scrub').max = frames - 1;
  seek(0);
  document.body.dataset.ready = 'true';
})();

/* SPDX-License-Identifier: Apache-2.0 */
/* One chart: a canvas that is drawn and listened to. */

/* ---- lines: what is drawn of one metric of one run ---- */

function positions(run, metric, axis) {
  if (axis === 'step') return metric.rows.step;
  if (axis === 'time') return metric.rows.time;
  return metric.rows.time.map((t) => t + (run.started || 0));
}

function makeLine(run, metric, axis) {
  const at = positions(run, metric, axis);
  let order = null;
  for (let i = 1; i < at.length && !order; i++) {
    if (!(at[i] >= at[i - 1])) {
      order = [...at.keys()].filter((k) => isFinite(at[k])).sort((a, b) => at[a] - at[b]);
    }
  }
  if (!order && at.length && !isFinite(at[0])) order = [];
  const x = Float64Array.from(order ? order.map((k) => at[k]) : at);
  const y = order ? Float64Array.from(order, (k) => metric.values[k]) : metric.values;
  return { run, x, y, smooth: smoothed(y, view.smoothing) };
}

/* Exponential moving average, corrected for its beginning at zero. */
function smoothed(y, weight) {
  if (weight === 0) return null;
  const result = new Float64Array(y.length);
  let average = 0, total = 0;
  for (let i = 0; i < y.length; i++) {
    if (isFinite(y[i])) {
      average = average * weight + y[i] * (1 - weight);
      total = total * weight + (1 - weight);
    }
    result[i] = isFinite(y[i]) ? average / total : NaN;
  }
  return result;
}

/* The first index whose x is not below. */
function lowerBound(x, value) {
  let low = 0, high = x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nearest(x, value) {
  const i = lowerBound(x, value);
  if (i === 0 || (i < x.length && x[i] - value < value - x[i - 1])) return i;
  return i - 1;
}

/* ---- scales ---- */

function niceStep(span, count) {
  const raw = span / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  const ratio = raw / power;
  return power * (ratio > 5 ? 10 : ratio > 2 ? 5 : ratio > 1 ? 2 : 1);
}

function linearTicks(low, high, count) {
  const step = niceStep(high - low, count), ticks = [];
  if (!(step > 0) || !isFinite(step)) return [low];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && ticks.length < 50; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

function timeTicks(low, high, count) {
  const units = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const raw = (high - low) / Math.max(1, count);
  if (raw <= 1) return linearTicks(low, high, count);
  const step = units.find((u) => u >= raw) || 86400 * Math.ceil(raw / 86400), ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high; t += step) ticks.push(t);
  return ticks;
}

function logTicks(low, high) {
  const ticks = [], decades = high - low;
  const steps = decades > 6 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 3, 5, 7];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    for (const s of steps) {
      const t = e + Math.log10(s);
      if (t >= low && t <= high) ticks.push(t);
    }
  }
  return ticks.length > 1 ? ticks : [low, high];
}

/* ---- a chart ---- */

const charts = [];

class Chart {
  constructor(name, kind) {
    this.name = name;
    this.kind = kind; /* history or system */
    this.zoom = null;
    this.cursor = null;
    this.stale = true;
    this.canvas = make('canvas', { tabindex: 0, role: 'img' });
    this.last = make('span', { class: 'last' });
    this.expand = make('button', { type: 'button', text: '⤢', title: 'Wide or narrow',
      'aria-label': `Wide or narrow: ${name}`, on: { click: () => this.toggleWide() } });
    this.card = make('div', { class: 'card chart' },
      make('div', { class: 'chart-head' }, make('h3', { text: name }), this.last, this.expand), this.canvas);
    this.listen();
    charts.push(this);
  }

  axis() { return this.kind === 'system' && view.axis === 'step' ? 'time' : view.axis; }

  toggleWide() {
    this.card.classList.toggle('wide');
    this.draw();
  }

  lines() {
    if (this.stale) {
      this.stale = false;
      this.made = runs.filter((run) => run.shown && run[this.kind].has(this.name))
        .map((run) => makeLine(run, run[this.kind].get(this.name), this.axis()))
        .filter((line) => line.x.length);
    }
    return this.made;
  }

  invalidate() {
    this.stale = true;
    if (this.drawn) this.draw();
  }

  bounds() {
    let low = Infinity, high = -Infinity;
    for (const line of this.lines()) {
      low = Math.min(low, line.x[0]);
      high = Math.max(high, line.x[line.x.length - 1]);
    }
    if (!(low <= high)) return [0, 1];
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  /* Of what is in view; the smooth lines count where there are some. */
  heights(from, to) {
    let low = Infinity, high = -Infinity;
    const value = this.value;
    for (const line of this.lines()) {
      const y = line.smooth && view.smoothing > 0.5 ? line.smooth : line.y;
      const end = Math.min(y.length, lowerBound(line.x, to) + 1);
      for (let i = Math.max(0, lowerBound(line.x, from) - 1); i < end; i++) {
        const v = value(y[i]);
        if (v < low && v !== -Infinity) low = v;
        if (v > high && v !== Infinity) high = v;
      }
    }
    if (!(low <= high)) return [0, 1];
    const pad = low === high ? Math.abs(low) * 0.1 || 0.5 : (high - low) * 0.06;
    return [low - pad, high + pad];
  }

  draw() {
    const context = this.canvas.getContext('2d'), scale = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    this.drawn = true;
    this.measure(context, width, height);
    this.drawGrid(context);
    context.save();
    context.beginPath();
    context.rect(this.left - 5, this.top - 6, this.right - this.left + 10, this.bottom - this.top + 12);
    context.clip();
    for (const line of this.lines()) this.drawLine(context, line);
    context.restore();
    this.drawCursor(context);
    this.describe();
    countDrawn();
  }

  measure(context, width, height) {
    const style = getComputedStyle(root);
    this.ink = { grid: style.getPropertyValue('--grid'), text: style.getPropertyValue('--faint'),
      line: style.getPropertyValue('--soft'), card: style.getPropertyValue('--card'),
      accent: style.getPropertyValue('--accent'), bad: style.getPropertyValue('--bad') };
    this.value = view.log ? (v) => (v > 0 ? Math.log10(v) : NaN) : (v) => v;
    [this.x0, this.x1] = this.zoom || this.bounds();
    [this.y0, this.y1] = this.heights(this.x0, this.x1);
    context.font = '11px system-ui, sans-serif';
    this.yTicks = view.log ? logTicks(this.y0, this.y1) : linearTicks(this.y0, this.y1, height / 38);
    this.yTexts = this.yTicks.map((t) => formatNumber(view.log ? 10 ** t : t, 4));
    this.left = 10 + Math.ceil(Math.max(12, ...this.yTexts.map((t) => context.measureText(t).width)));
    this.right = width - 10;
    this.top = 12;
    this.bottom = height - 24;
  }

  px(x) { return this.left + (x - this.x0) / (this.x1 - this.x0) * (this.right - this.left); }
  py(v) { return this.bottom - (v - this.y0) / (this.y1 - this.y0) * (this.bottom - this.top); }
  xAt(px) { return this.x0 + (px - this.left) / (this.right - this.left) * (this.x1 - this.x0); }

  xText(x) {
    if (this.axis() === 'step') return formatCount(x);
    return this.axis() === 'time' ? formatSeconds(x) : formatClock(x, this.x1 - this.x0);
  }

  drawGrid(context) {
    context.strokeStyle = this.ink.grid;
    context.fillStyle = this.ink.text;
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    this.yTicks.forEach((t, i) => {
      const y = Math.round(this.py(t)) + 0.5;
      context.beginPath();
      context.moveTo(this.left, y);
      context.lineTo(this.right, y);
      context.stroke();
      context.fillText(this.yTexts[i], this.left - 6, y);
    });
    const count = (this.right - this.left) / 60;
    const ticks = (this.axis() === 'step' ? linearTicks : timeTicks)(this.x0, this.x1, count);
    context.textBaseline = 'top';
    for (const t of ticks) {
      if (this.axis() === 'step' && !Number.isInteger(t)) continue;
      const text = this.xText(t), half = context.measureText(text).width / 2, x = this.px(t);
      context.textAlign = x - half < 0 ? 'left' : x + half > this.right + 10 ? 'right' : 'center';
      context.fillText(text, context.textAlign === 'right' ? this.right + 10 : x, this.bottom + 8);
    }
  }

  drawLine(context, line) {
    context.strokeStyle = context.fillStyle = color(line.run);
    context.setLineDash(dash(line.run));
    context.lineJoin = 'round';
    if (line.smooth) {
      context.globalAlpha = 0.22;
      context.lineWidth = 1;
      this.trace(context, line.x, line.y);
      context.globalAlpha = 1;
    }
    context.lineWidth = 1.75;
    this.trace(context, line.x, line.smooth || line.y);
    context.setLineDash([]);
    this.markOdd(context, line);
  }

  /* Where points are denser than pixels, each column of pixels gets its lowest and highest: the
   * picture is the same. */
  trace(context, x, y) {
    const first = Math.max(0, lowerBound(x, this.x0) - 1);
    const end = Math.min(x.length, lowerBound(x, this.x1) + 1);
    const dense = end - first > 3 * (this.right - this.left);
    let open = false;
    context.beginPath();
    for (let i = first; i < end;) {
      const column = Math.floor(this.px(x[i]));
      let low = this.value(y[i]), high = low, last = low, j = i + 1;
      if (!isFinite(low)) {
        open = false;
        i++;
        continue;
      }
      if (dense) {
        for (; j < end && Math.floor(this.px(x[j])) === column; j++) {
          const v = this.value(y[j]);
          if (!isFinite(v)) break;
          if (v < low) low = v;
          if (v > high) high = v;
          last = v;
        }
      }
      const px = this.px(x[i]), py = this.py(this.value(y[i]));
      if (open) context.lineTo(px, py);
      else context.moveTo(px, py);
      if (low < high) {
        context.lineTo(px, this.py(low));
        context.lineTo(px, this.py(high));
        context.lineTo(px, this.py(last));
      }
      open = true;
      i = j;
    }
    context.stroke();
    if (end - first < 40) this.dots(context, x, y, first, end);
  }

  dots(context, x, y, first, end) {
    for (let i = first; i < end; i++) {
      const v = this.value(y[i]);
      if (!isFinite(v)) continue;
      context.beginPath();
      context.arc(this.px(x[i]), this.py(v), end - first === 1 ? 4 : 2.4, 0, 7);
      context.fill();
    }
  }

  /* Crosses at the upper edge where a value was NaN or infinite. */
  markOdd(context, line) {
    context.strokeStyle = this.ink.bad;
    context.lineWidth = 1.5;
    let before = -Infinity;
    for (let i = 0; i < line.y.length; i++) {
      if (isFinite(line.y[i])) continue;
      const x = this.px(line.x[i]), y = this.top + 3;
      if (x - before < 4) continue;
      before = x;
      context.beginPath();
      context.moveTo(x - 3, y - 3);
      context.lineTo(x + 3, y + 3);
      context.moveTo(x + 3, y - 3);
      context.lineTo(x - 3, y + 3);
      context.stroke();
    }
  }

  /* ---- the cursor ---- */

  drawCursor(context) {
    if (this.drag) {
      const [a, b] = [this.drag.from, this.drag.to].sort((m, n) => m - n);
      context.fillStyle = this.ink.accent;
      context.globalAlpha = 0.16;
      context.fillRect(a, this.top, b - a, this.bottom - this.top);
      context.globalAlpha = 1;
    }
    if (this.cursor == null) return;
    const x = Math.round(this.px(this.cursor)) + 0.5;
    context.strokeStyle = this.ink.line;
    context.globalAlpha = 0.5;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, this.top);
    context.lineTo(x, this.bottom);
    context.stroke();
    context.globalAlpha = 1;
    for (const entry of this.entries()) {
      const v = this.value(entry.drawn);
      if (!isFinite(v)) continue;
      context.beginPath();
      context.arc(this.px(entry.x), this.py(v), 4, 0, 7);
      context.fillStyle = color(entry.run);
      context.strokeStyle = this.ink.card;
      context.lineWidth = 2;
      context.stroke();
      context.fill();
    }
  }

  entries() {
    return this.lines().map((line) => {
      const i = nearest(line.x, this.cursor);
      return { run: line.run, x: line.x[i], value: line.y[i], drawn: (line.smooth || line.y)[i] };
    });
  }

  point(x) {
    let best = null;
    for (const line of this.lines()) {
      const at = line.x[nearest(line.x, x)];
      if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
    }
    if (best === null) return;
    this.cursor = best;
    this.draw();
    this.showTip();
  }

  leave() {
    this.cursor = null;
    this.draw();
    $('tip').hidden = true;
  }

  showTip() {
    const tip = $('tip'), box = this.canvas.getBoundingClientRect();
    const label = this.axis() === 'step' ? 'step ' + formatNumber(this.cursor, 12) : this.xText(this.cursor);
    const entries = this.entries().sort((a, b) => b.drawn - a.drawn).slice(0, 12);
    tip.replaceChildren(make('div', { class: 'at', text: label }), ...entries.map((entry) => {
      const dot = make('span', { class: 'dot' });
      dot.style.background = color(entry.run);
      let text = formatNumber(entry.value, 6);
      if (view.smoothing > 0) text = `${formatNumber(entry.drawn, 5)} (${formatNumber(entry.value, 5)})`;
      if (entry.x !== this.cursor) text += ` at ${this.xText(entry.x)}`;
      return make('div', { class: 'entry' }, dot, make('span', { text: entry.run.label }), make('b', { text }));
    }));
    tip.hidden = false;
    const x = box.left + this.px(this.cursor), wide = tip.offsetWidth;
    tip.style.left = `${Math.max(4, x + 14 + wide > window.innerWidth ? x - 14 - wide : x + 14)}px`;
    tip.style.top = `${Math.max(56, Math.min(box.top + 8, window.innerHeight - tip.offsetHeight - 8))}px`;
  }

  setZoom(zoom) {
    this.zoom = zoom;
    this.draw();
    $('reset').hidden = !charts.some((chart) => chart.zoom);
  }

  zoomBy(factor) {
    const middle = this.cursor ?? (this.x0 + this.x1) / 2, [low, high] = this.bounds();
    const from = Math.max(low, middle - (middle - this.x0) * factor);
    const to = Math.min(high, middle + (this.x1 - middle) * factor);
    this.setZoom(from <= low && to >= high ? null : [from, to]);
  }

  /* The next logged position before or after the cursor. */
  walk(direction) {
    let next = null;
    const from = this.cursor ?? (direction > 0 ? -Infinity : Infinity);
    for (const { x } of this.lines()) {
      let i = direction > 0 ? lowerBound(x, from) : lowerBound(x, from) - 1;
      while (direction > 0 && x[i] <= from) i++;
      if (x[i] === undefined) continue;
      if (next === null || (x[i] - next) * direction < 0) next = x[i];
    }
    if (next !== null) this.point(next);
  }

  listen() {
    const at = (event) => {
      const x = event.clientX - this.canvas.getBoundingClientRect().left;
      return Math.min(this.right, Math.max(this.left, x));
    };
    this.canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      this.drag = { from: at(event), to: at(event) };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (this.drag) this.drag.to = at(event);
      this.point(this.xAt(at(event)));
    });
    this.canvas.addEventListener('pointerup', () => {
      const drag = this.drag;
      this.drag = null;
      if (drag && Math.abs(drag.to - drag.from) > 6) {
        this.setZoom([drag.from, drag.to].sort((a, b) => a - b).map((x) => this.xAt(x)));
      }
    });
    this.canvas.addEventListener('pointercancel', () => { this.drag = null; });
    this.canvas.addEventListener('pointerleave', () => { if (!this.drag) this.leave(); });
    this.canvas.addEventListener('blur', () => this.leave());
    this.canvas.addEventListener('dblclick', () => this.setZoom(null));
    this.canvas.addEventListener('keydown', (event) => {
      const keys = { ArrowRight: () => this.walk(1), ArrowLeft: () => this.walk(-1),
        '+': () => this.zoomBy(0.5), '-': () => this.zoomBy(2), Escape: () => this.setZoom(null) };
      if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  /* The card's figure, and what a screen reader says. */
  describe() {
    const lines = this.lines();
    const final = (line) => { for (let i = line.y.length; i--;) if (isFinite(line.y[i])) return line.y[i]; return NaN; };
    this.last.textContent = lines.length === 1 && isFinite(final(lines[0])) ? formatNumber(final(lines[0]), 5) : '';
    this.canvas.setAttribute('aria-label', `${this.name}: ` + lines.slice(0, 8).map((line) =>
      `${line.run.label} ends at ${formatNumber(final(line), 5)}`).join('; ') +
      '. Arrow keys read values, plus and minus zoom, Escape resets.');
  }
}

/* For those who look at the page by program. */
function countDrawn() {
  root.dataset.drawn = charts.filter((chart) => chart.drawn).length;
}

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const chart = charts.find((c) => c.card === entry.target);
    if (entry.isIntersecting && chart && !chart.drawn) chart.draw();
  }
}, { rootMargin: '500px' });

/* SPDX-License-Identifier: Apache-2.0 */
(function () {
'use strict';

/* ---- small things ---- */

const root = document.documentElement;
const $ = (id) => document.getElementById(id);

/* All text goes in as text: nothing from a run is ever markup. */
function make(tag, options, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(options || {})) {
    if (key === 'text') element.textContent = value;
    else if (key === 'on') for (const [name, f] of Object.entries(value)) element.addEventListener(name, f);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function formatNumber(x, digits) {
  if (typeof x !== 'number') return String(x);
  if (!isFinite(x)) return String(x);
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return x.toExponential((digits || 4) - 1).replace(/\.?0+e/, 'e').replace('e+', 'e');
  }
  return String(Number(x.toPrecision(digits || 5)));
}

function formatCount(x) {
  for (const [unit, letter] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (Math.abs(x) >= unit) return formatNumber(letter === 'k' ? x / 1e3 : x / unit, 4) + letter;
  }
  return formatNumber(x, 6);
}

function formatSeconds(s) {
  const sign = s < 0 ? '-' : '', size = Math.abs(s);
  if (size < 60) return sign + Number(size.toPrecision(3)) + ' s';
  const whole = Math.round(size), two = (n) => String(n).padStart(2, '0');
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  if (whole < 172800) return `${sign}${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)} h`;
  return `${sign}${Number((whole / 86400).toPrecision(3))} days`;
}

function formatBytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${Number(n.toPrecision(3))} ${units[i]}`;
}

function formatDate(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

function formatClock(seconds, span) {
  const date = new Date(seconds * 1000);
  if (span > 2 * 86400) return date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' });
  return date.toLocaleTimeString(undefined, {
    hour: '2-digit', minute: '2-digit', second: span < 600 ? '2-digit' : undefined });
}

/* ---- data ---- */

const COLORS = {
  light: ['#2a78d6', '#eb6834', '#008a5e', '#4a3aa7', '#e34948', '#c98500', '#d55181', '#3f6b2a'],
  dark: ['#4e9bf0', '#f08a4b', '#2fbf8f', '#a79cf5', '#f0736c', '#e0ab3c', '#ee86ad', '#97c47a'],
};
const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];

const asNumber = (x) => (typeof x === 'number' ? x : x === null ? NaN : Number(x));

function readTable(element) {
  const raw = JSON.parse(element.textContent);
  const rows = raw.rows.map((r) => ({ step: r.step.map(asNumber), time: r.time.map(asNumber) }));
  const metrics = new Map();
  for (const [name, m] of Object.entries(raw.metrics)) {
    metrics.set(name, { rows: rows[m.rows], values: Float64Array.from(m.values, asNumber) });
  }
  return metrics;
}

function readRuns() {
  const all = (kind) => [...document.querySelectorAll(`script[type="application/json"].${kind}`)];
  const histories = all('history'), systems = all('system');
  return all('run').map((element, i) => {
    const run = JSON.parse(element.textContent);
    run.index = i;
    run.history = readTable(histories[i]);
    run.system = readTable(systems[i]);
    run.label = run.name || run.id || `run ${i + 1}`;
    run.shown = i < 24;
    run.seconds = run.runtime || lastTime(run.history);
    return run;
  });
}

function lastTime(metrics) {
  let last = 0;
  for (const m of metrics.values()) {
    const t = m.rows.time[m.rows.time.length - 1];
    if (t > last) last = t;
  }
  return last;
}

/* Two runs of one name are told apart by their ids. */
function makeLabelsUnique(list) {
  const count = new Map();
  for (const run of list) count.set(run.label, (count.get(run.label) || 0) + 1);
  for (const run of list) {
    if (count.get(run.label) > 1 && run.id && run.id !== run.label) run.label += ` (${run.id})`;
  }
}

const runs = readRuns();
makeLabelsUnique(runs);
const view = { axis: 'step', smoothing: 0, log: false, filter: '' };
const isDark = () => root.dataset.theme === 'dark';
const color = (run) => COLORS[isDark() ? 'dark' : 'light'][run.index % 8];
const dash = (run) => DASHES[Math.floor(run.index / 8) % DASHES.length];
const shownRuns = () => runs.filter((run) => run.shown);

function stateOf(run) {
  if (run.exit_code === 0) return { word: 'finished', kind: 'good' };
  if (run.exit_code != null) return { word: `failed, exit code ${run.exit_code}`, kind: 'bad' };
  return { word: 'no end: killed, or still running', kind: 'wait', short: 'not ended' };
}

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
    this.yTicks = view.log ? logTicks(this.y0, this.y1) : linearTicks(this.y0, this.y1, height / 45);
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
    const count = (this.right - this.left) / 80;
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

/* ---- sections ---- */

function namesOf(kind) {
  const names = new Set();
  for (const run of runs) for (const name of run[kind].keys()) names.add(name);
  return [...names].sort(new Intl.Collator('en', { numeric: true }).compare);
}

/* train/loss lies in train; nest.a in nest, if it is not alone there. */
function groupsOf(names) {
  const dotted = new Map();
  for (const name of names) {
    const head = name.split('.')[0];
    dotted.set(head, (dotted.get(head) || 0) + 1);
  }
  const groups = new Map();
  for (const name of names) {
    const slash = name.lastIndexOf('/'), head = name.split('.')[0];
    const group = slash > 0 ? name.slice(0, slash) : name.includes('.') && dotted.get(head) > 1 ? head : '';
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(name);
  }
  return [...groups].sort((a, b) => (a[0] === '' ? -1 : b[0] === '' ? 1 : a[0] < b[0] ? -1 : 1));
}

function chartGroup(title, names, kind, open) {
  const grid = make('div', { class: 'grid' });
  for (const name of names) {
    const chart = new Chart(name, kind);
    grid.append(chart.card);
    observer.observe(chart.card);
  }
  const group = make('details', { class: 'group', open },
    make('summary', {}, title, make('span', { class: 'soft', text: String(names.length) })), grid);
  group.addEventListener('toggle', () => {
    for (const chart of charts) if (chart.drawn && grid.contains(chart.card)) chart.draw();
  });
  return group;
}

function buildCharts() {
  const section = $('charts'), names = namesOf('history'), system = namesOf('system');
  if (!names.length) section.append(make('p', { class: 'card empty', text: 'No metrics were logged.' }));
  groupsOf(names).forEach(([title, group], i) =>
    section.append(chartGroup(title || 'Metrics', group, 'history', i < 12)));
  if (system.length) section.append(chartGroup('System', system, 'system', !names.length));
  const media = new Set(runs.flatMap((run) => Object.entries(run.media).map(([k, t]) => `${k} (${t})`)));
  if (media.size) {
    section.append(make('p', { class: 'soft more', text: `Logged too, and not shown here: ${[...media].join(', ')}` }));
  }
}

/* ---- runs ---- */

function legendItem(run) {
  const box = make('input', { type: 'checkbox', on: { change: () => { run.shown = box.checked; refresh(); } } });
  const swatch = make('span', { class: 'swatch' });
  box.checked = run.shown;
  run.paint = () => { swatch.style.background = swatch.style.borderColor = color(run); box.checked = run.shown; };
  const state = stateOf(run);
  return make('li', {}, make('label', { title: run.source }, box, swatch,
    make('span', { class: 'name', text: run.label }),
    make('span', { class: 'note' }, make('span', { class: state.kind, text: state.short || state.word }),
      run.seconds ? ` · ${formatSeconds(run.seconds)}` : '',
      run.started ? ` · ${formatDate(run.started)}` : '')));
}

function buildLegend() {
  const set = (f) => () => { for (const run of runs) run.shown = f(run); refresh(); };
  $('runs').append(
    make('div', { class: 'legend-head' }, make('h2', { text: `${runs.length} runs` }),
      make('button', { type: 'button', text: 'all', on: { click: set(() => true) } }),
      make('button', { type: 'button', text: 'none', on: { click: set(() => false) } })),
    make('ul', { class: 'legend' }, ...runs.map(legendItem)));
  $('layout').classList.toggle('single', runs.length === 1);
}

function tile(label, value, kind) {
  return make('div', { class: 'tile', title: `${label}: ${value}` }, make('div', { class: 'label', text: label }),
    make('div', { class: `value ${kind || ''}`, text: value }));
}

function buildOverview() {
  const section = $('overview');
  if (runs.length === 1) {
    const run = runs[0], state = stateOf(run);
    const facts = [run.project, run.started && formatDate(run.started), run.environment.host, run.id !== run.label && run.id];
    section.append(make('div', { class: 'headline' }, make('h2', { text: run.label }),
      make('div', { class: 'soft', text: facts.filter(Boolean).join(' · ') }),
      make('div', {}, ...(run.tags || []).map((text) => make('span', { class: 'tag', text })))));
    if (run.notes) section.append(make('p', { class: 'notes', text: run.notes }));
    const tiles = make('div', { class: 'tiles' }, tile('state', state.short || state.word, state.kind));
    if (run.seconds) tiles.append(tile('duration', formatSeconds(run.seconds)));
    for (const [key, value] of results(run)) {
      if (typeof value === 'number' && tiles.children.length < 8) tiles.append(tile(key, formatNumber(value, 5)));
    }
    section.append(tiles);
  }
  for (const run of runs) {
    for (const text of run.warnings) {
      section.append(make('p', { class: 'warning', text: runs.length > 1 ? `${run.label}: ${text}` : text }));
    }
  }
}

/* ---- tables ---- */

function flatten(value, name, into) {
  const plain = value !== null && typeof value === 'object' && !Array.isArray(value);
  if (plain && '_type' in value) into.set(name, `[${value._type}] ${value.path || ''}`.trim());
  else if (plain && Object.keys(value).length) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, name ? `${name}.${key}` : key, into);
  } else if (name) into.set(name, value);
  return into;
}

/* The summary; of a run that did not come to writing it, the last value of each metric. */
function results(run) {
  const all = flatten(run.summary, '', new Map());
  for (const [name, metric] of run.history) {
    if (!all.has(name) && metric.values.length) all.set(name, metric.values[metric.values.length - 1]);
  }
  return all;
}

function cellText(value) {
  if (typeof value === 'number') return formatNumber(value, 7);
  if (typeof value === 'string') return value === '' ? '""' : value;
  return JSON.stringify(value);
}

function compareTable(title, id, read) {
  const columns = runs.map(read), names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  if (!names.length) return null;
  const same = (name) => new Set(columns.map((c) => (c.has(name) ? JSON.stringify(c.get(name)) : undefined))).size === 1;
  const body = make('tbody', {}, ...names.map((name) =>
    make('tr', { class: same(name) ? '' : 'differs', 'data-name': name }, make('th', { scope: 'row', text: name }),
      ...columns.map((column, i) => make('td', { 'data-run': i, class: column.has(name) ? 'mono' : 'absent',
        text: column.has(name) ? cellText(column.get(name)) : '–' })))));
  const head = make('tr', {}, make('th', { scope: 'col' }), ...runs.map((run, i) =>
    make('th', { scope: 'col', 'data-run': i, title: run.label }, runDot(run), run.label)));
  const table = make('table', {}, make('thead', {}, head), body);
  const box = make('input', { type: 'checkbox', on: { change: () => table.classList.toggle('only', box.checked) || refresh() } });
  return make('div', { id }, make('div', { class: 'table-head' }, make('h2', { text: title }),
    runs.length > 1 ? make('label', { class: 'check' }, box, 'Differences only') : null),
  make('div', { class: 'card scroll' }, table));
}

function runDot(run) {
  const dot = make('span', { class: 'dot' });
  (run.dots = run.dots || []).push(dot);
  return dot;
}

function buildTables() {
  $('tables').append(...[compareTable('Results', 'results', results),
    compareTable('Configuration', 'config', (run) => flatten(run.config, '', new Map()))].filter(Boolean));
}

/* ---- console, artifacts, how to reproduce ---- */

/* One run's part of a section: its name is a heading if there are several. */
function runCard(run, ...children) {
  const head = runs.length > 1 ? make('div', { class: 'pad' }, runDot(run), make('b', { text: run.label })) : null;
  return make('div', { class: 'card', 'data-card': run.index }, head, ...children);
}

function section(id, title, cards) {
  if (cards.length) $(id).append(make('h2', { text: title }), ...cards);
}

function buildConsole() {
  section('console', 'Console', runs.filter((run) => run.console.head).map((run) => {
    const { head, cut, tail } = run.console;
    const text = cut ? `${head}\n\n… ${formatBytes(cut)} left out …\n\n${tail}` : head;
    return runCard(run, make('details', { class: 'console', open: runs.length === 1 },
      make('summary', { text: `${text.trim().split('\n').length} lines` }), make('pre', { text, tabindex: 0 })));
  }));
}

function artifactDetails(artifact) {
  const head = make('summary', {}, make('b', { text: artifact.name || 'artifact' }), ' ',
    make('span', { class: 'tag', text: artifact.used ? 'used' : artifact.type || '' }),
    ...(artifact.aliases || []).map((text) => make('span', { class: 'tag', text })),
    make('span', { class: 'soft', text: artifact.count == null ? '' :
      ` ${artifact.count} ${artifact.count === 1 ? 'file' : 'files'}, ${formatBytes(artifact.size || 0)}` }));
  const facts = Object.entries({ description: artifact.description, digest: artifact.digest,
    metadata: artifact.metadata && Object.keys(artifact.metadata).length ? JSON.stringify(artifact.metadata) : null });
  const entries = artifact.entries || [];
  const rows = entries.map((entry) => make('tr', {}, make('th', { scope: 'row', class: 'mono', text: entry.path || '' }),
    make('td', { text: entry.reference || (entry.size != null ? formatBytes(entry.size) : '') })));
  return make('details', {}, head, definitions(facts),
    rows.length ? make('div', { class: 'scroll' }, make('table', {}, make('tbody', {}, ...rows))) : null,
    artifact.count > entries.length ? make('p', { class: 'soft', text: `and ${artifact.count - entries.length} more` }) : null);
}

function buildArtifacts() {
  section('artifacts', 'Artifacts', runs.filter((run) => run.artifacts.length)
    .map((run) => runCard(run, ...run.artifacts.map(artifactDetails))));
}

function definitions(pairs) {
  const items = pairs.filter(([, value]) => value != null && value !== '')
    .flatMap(([key, value]) => [make('dt', { text: key }), make('dd', { text: value })]);
  return items.length ? make('dl', {}, ...items) : null;
}

const quote = (word) => (/^[\w@%+=:,.\/-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

/* What to type. An interpreter's program comes after it. */
function commandLines(run) {
  const e = run.environment, lines = [];
  if (e.git_remote) lines.push(`git clone ${quote(e.git_remote)}`);
  if (e.git_commit) lines.push(`git checkout ${quote(e.git_commit)}`);
  if (e.directory) lines.push(`cd ${quote(e.directory)}`);
  const words = e.python && e.executable && e.executable !== e.program ? [e.executable, e.program] : [e.program || e.executable];
  if (words[0]) lines.push([...words, ...(e.args || [])].filter((w) => w != null).map(quote).join(' '));
  return lines;
}

function copyButton(text) {
  const button = make('button', { type: 'button', text: 'Copy' });
  button.addEventListener('click', () => {
    const say = (word) => { button.textContent = word; };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => say('Copied'), () => say('Not allowed'));
    else say('Not allowed');
  });
  return button;
}

function reproduceCard(run) {
  const e = run.environment, text = commandLines(run).join('\n'), pad = make('div', { class: 'pad' });
  if (text) pad.append(make('div', { class: 'with-copy' }, make('pre', { text, tabindex: 0 }), copyButton(text)));
  const cpu = [e.cpu, e.cpu_count && `${e.cpu_count} cores`].filter(Boolean).join(', ');
  pad.append(definitions([['state', stateOf(run).word], ['started', run.started ? formatDate(run.started) : null],
    ['duration', run.seconds ? formatSeconds(run.seconds) : null], ['host', e.host], ['user', e.user], ['system', e.os],
    ['CPU', cpu], ['memory', e.memory ? formatBytes(e.memory) : null],
    ['GPU', e.gpu && `${e.gpu}${e.gpu_count > 1 ? ` × ${e.gpu_count}` : ''}`], ['Python', e.python], ['Docker', e.docker],
    ['project', [run.entity, run.project].filter(Boolean).join('/')], ['group', run.group], ['job type', run.job_type],
    ['sweep', run.sweep], ['run id', run.id], ['read from', run.source]]));
  return runCard(run, pad);
}

/* ---- controls ---- */

function refresh() {
  for (const run of runs) {
    if (run.paint) run.paint();
    for (const dot of run.dots || []) dot.style.background = color(run);
  }
  const filter = view.filter.toLowerCase(), fits = (name) => name.toLowerCase().includes(filter);
  for (const row of document.querySelectorAll('tr[data-name]')) {
    const only = row.closest('table').classList.contains('only');
    row.hidden = !fits(row.dataset.name) || (only && !row.classList.contains('differs'));
  }
  for (const cell of document.querySelectorAll('[data-run]')) cell.hidden = !runs[cell.dataset.run].shown;
  for (const card of document.querySelectorAll('[data-card]')) card.hidden = !runs[card.dataset.card].shown;
  for (const chart of charts) {
    chart.card.hidden = !fits(chart.name) || !shownRuns().some((run) => run[chart.kind].has(chart.name));
    chart.invalidate();
  }
  for (const group of document.querySelectorAll('details.group')) {
    group.hidden = ![...group.querySelectorAll('.chart')].some((card) => !card.hidden);
  }
}

function redraw() {
  for (const chart of charts) chart.invalidate();
}

function buildAxis() {
  const timed = runs.some((run) => lastTime(run.history) > 0 || lastTime(run.system) > 0);
  const choices = [['step', 'Step']];
  if (timed) choices.push(['time', 'Time']);
  if (timed && runs.some((run) => run.started)) choices.push(['clock', 'Clock']);
  for (const [value, text] of choices) {
    const input = make('input', { type: 'radio', name: 'axis', value, on: { change: () => {
      view.axis = value;
      for (const chart of charts) chart.zoom = null;
      $('reset').hidden = true;
      redraw();
    } } });
    input.checked = value === view.axis;
    $('axis').append(make('label', {}, input, text));
  }
}

function buildControls() {
  buildAxis();
  $('smoothing').addEventListener('input', (event) => {
    view.smoothing = Number(event.target.value);
    $('smoothing-value').textContent = view.smoothing ? view.smoothing.toFixed(2) : '0';
    requestRedraw();
  });
  $('log').addEventListener('change', (event) => { view.log = event.target.checked; redraw(); });
  $('filter').addEventListener('input', (event) => { view.filter = event.target.value; refresh(); });
  $('reset').addEventListener('click', () => { for (const chart of charts) if (chart.zoom) chart.setZoom(null); });
  $('theme').addEventListener('click', () => setTheme(isDark() ? 'light' : 'dark'));
}

let waiting = false;
function requestRedraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; redraw(); });
}

function setTheme(theme) {
  root.dataset.theme = theme;
  $('theme').textContent = theme === 'dark' ? '☀' : '☾';
  refresh();
}

/* As the system has it; `#dark` and `#light` at the end of the address win. */
function startTheme() {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const wanted = /^#(dark|light)$/.exec(location.hash);
  system.addEventListener('change', () => setTheme(system.matches ? 'dark' : 'light'));
  setTheme(wanted ? wanted[1] : system.matches ? 'dark' : 'light');
}

function buildNavigation() {
  const places = [['charts', 'Charts'], ['results', 'Results'], ['config', 'Configuration'], ['console', 'Console'],
    ['artifacts', 'Artifacts'], ['reproduce', 'Reproduce']];
  for (const [id, text] of places) {
    if ($(id) && $(id).children.length) $('nav').append(make('a', { href: `#${id}`, text }));
  }
  const projects = [...new Set(runs.map((run) => run.project).filter(Boolean))];
  const title = runs.length === 1 ? runs[0].label : projects.length === 1 ? projects[0] : `${runs.length} runs`;
  document.title = `${title} – accel report`;
  $('title').textContent = title;
}

function start() {
  buildLegend();
  buildOverview();
  buildControls();
  buildCharts();
  buildTables();
  buildConsole();
  buildArtifacts();
  section('reproduce', 'Reproduce', runs.map(reproduceCard));
  buildNavigation();
  startTheme();
  root.dataset.charts = charts.length;
  /* those in sight at once, without waiting for the observer */
  for (const chart of charts.slice(0, 24)) chart.draw();
  new ResizeObserver(requestRedraw).observe($('charts'));
  addEventListener('beforeprint', () => { for (const chart of charts) chart.draw(); });
  root.dataset.ready = 'yes';
}

addEventListener('error', (event) => { root.dataset.error = event.message; });
start();
})();

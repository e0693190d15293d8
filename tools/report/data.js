/* SPDX-License-Identifier: Apache-2.0 */
/* What came from the runs, and how numbers are written. */

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

/* SPDX-License-Identifier: Apache-2.0 */
/* The page: sections, tables, controls. */

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
  buildMedia(section);
  const media = new Set(runs.flatMap((run) => Object.entries(run.media)
    .filter(([key]) => !run.figures[key]).map(([k, t]) => `${k} (${t})`)));
  if (media.size) {
    section.append(make('p', { class: 'soft more', text: `Logged too, and not shown here: ${[...media].join(', ')}` }));
  }
}

/* ---- media ---- */

/* Counts over edges that need not be evenly spaced. */
function histogramFigure({ counts, edges }) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const low = edges[0], width = edges[edges.length - 1] - low, top = Math.max(...counts, 0);
  svg.setAttribute('viewBox', '0 0 400 120');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `${counts.length} bins from ${formatNumber(low)} to ${formatNumber(low + width)}`);
  counts.forEach((count, i) => {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const height = top > 0 ? 118 * count / top : 0, size = width > 0 ? (edges[i + 1] - edges[i]) / width : 0;
    for (const [key, value] of Object.entries({ x: 400 * (edges[i] - low) / (width || 1), y: 120 - height,
      width: Math.max(400 * size - 0.5, 0.5), height })) bar.setAttribute(key, String(value));
    svg.append(bar);
  });
  return make('div', { class: 'histogram' }, svg, make('div', { class: 'ends soft' },
    make('span', { text: formatNumber(low) }), make('span', { text: `${formatNumber(top)} at most` }),
    make('span', { text: formatNumber(low + width) })));
}

function tableFigure({ columns, rows }) {
  return make('div', { class: 'scroll' }, make('table', {},
    make('thead', {}, make('tr', {}, ...columns.map((text) => make('th', { text: String(text) })))),
    make('tbody', {}, ...rows.map((row) => make('tr', {}, ...row.map((value) => make('td', { text: cellText(value) })))))));
}

function fileFigure({ src, caption }) {
  const sound = src.startsWith('data:audio/');
  return make('figure', {}, sound ? make('audio', { controls: true, src }) : make('img', { src, alt: caption || '' }),
    caption ? make('figcaption', { text: caption }) : null);
}

function mediaFigure(run, name, figure) {
  const body = figure.counts ? histogramFigure(figure) : figure.columns ? tableFigure(figure)
    : make('div', { class: 'files' }, ...figure.files.map(fileFigure));
  const notes = [figure.step != null && `step ${formatNumber(figure.step)}`, figure.more && `${formatCount(figure.more)} more`];
  return make('div', { class: `card media ${figure.columns ? 'wide' : ''}`, 'data-card': run.index },
    make('div', { class: 'chart-head' }, runs.length > 1 ? runDot(run) : null, make('h3', { text: name }),
      make('span', { class: 'soft', text: notes.filter(Boolean).join(', ') })), body);
}

/* The last of each key; runs beside each other. */
function buildMedia(section) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.figures)))].sort();
  if (!names.length) return;
  const cards = names.flatMap((name) => runs.filter((run) => run.figures[name])
    .map((run) => mediaFigure(run, name, run.figures[name])));
  section.append(make('details', { class: 'group', id: 'media', open: true },
    make('summary', {}, 'Media', make('span', { class: 'soft', text: String(cards.length) })),
    make('div', { class: 'grid' }, ...cards)));
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
  for (const group of document.querySelectorAll('details.group:not(#media)')) {
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

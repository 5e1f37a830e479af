'use strict';
const PERIOD_MS = 2000;
const byId = id => document.getElementById(id);
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const makeSvg = (tag, attributes) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

// Each returns [number, unit]; null is a quantity that has no value now.
const count = v => v < 1e4 ? [Math.round(v).toLocaleString('en'), ''] :
  v < 1e6 ? [(v / 1e3).toFixed(v < 1e5 ? 1 : 0), 'k'] : [(v / 1e6).toFixed(2), 'M'];
const rate = v => v > 0 && v < 10 ? [v.toFixed(1), '/s'] : [count(v)[0], count(v)[1] + '/s'];
const bytes = v => v < 2 ** 20 ? [(v / 2 ** 10).toFixed(0), 'KiB'] :
  v < 2 ** 30 ? [(v / 2 ** 20).toFixed(1), 'MiB'] : [(v / 2 ** 30).toFixed(2), 'GiB'];
const seconds = v => v < 1e-3 ? [(v * 1e6).toFixed(0), 'µs'] :
  v < 1 ? [(v * 1e3).toFixed(v < 0.1 ? 1 : 0), 'ms'] : [v.toFixed(2), 's'];
const percent = v => [(v * 100).toFixed(v < 0.1 ? 1 : 0), '%'];
const shown = (format, v) => v === null || v === undefined ? ['–', ''] : format(v);
const words = (format, v) => { const [n, u] = shown(format, v); return /^[a-zµ]/i.test(u) ? n + ' ' + u : n + u; };

const QUANTITIES = [
  ['connections_open', 'Connections open', count],
  ['messages_in_per_second', 'Messages in', rate],
  ['messages_out_per_second', 'Messages out', rate],
  ['p95_seconds', 'Processing time, 95 %', seconds],
  ['errors_per_second', 'Errors', rate],
  ['sessions', 'Sessions', count],
  ['memory_bytes', 'Memory', bytes],
  ['cpu_ratio', 'CPU of one core', percent],
];
const WIDTH = 300, HEIGHT = 46, TOP = 6;

class Card {
  constructor(key, title, format) {
    this.key = key;
    this.format = format;
    this.times = [];
    this.values = [];
    this.node = make('article', 'card');
    this.value = make('div', 'value', '–');
    this.note = make('div', 'note');
    this.svg = makeSvg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'});
    this.area = makeSvg('path', {class: 'area'});
    this.trace = makeSvg('path', {class: 'trace'});
    this.cursor = makeSvg('line', {class: 'cursor', y1: 0, y2: HEIGHT, visibility: 'hidden'});
    this.svg.append(this.area, this.trace, this.cursor);
    this.node.append(make('h3', '', title), this.value, this.note, this.svg);
    this.title = title;
    this.svg.addEventListener('pointermove', event => this.point(event));
    this.svg.addEventListener('pointerleave', () => this.rest());
  }
  show(now, times, values) {
    const [number, unit] = shown(this.format, now);
    this.value.replaceChildren(number, unit ? make('small', '', unit) : '');
    this.times = times;
    this.values = values;
    this.node.classList.toggle('alarm', this.key === 'errors_per_second' && now > 0);
    this.draw();
    if (!this.pointed) this.rest();
  }
  // The time axis grows with what there is, from one minute to five, the same for all cards.
  x(time) {
    const end = this.times[this.times.length - 1];
    return WIDTH * (1 - (end - time) / Math.max(end - this.times[0], 60e3));
  }
  draw() {
    const peak = Math.max(...this.values.map(v => v ?? 0), 1e-9);
    const y = v => HEIGHT - 1 - (HEIGHT - 1 - TOP) * v / peak;
    let trace = '', area = '', start = 0, open = false;
    const close = x => { if (open) area += `L${x} ${HEIGHT}L${start} ${HEIGHT}Z`; open = false; };
    let last = 0;
    this.values.forEach((v, i) => {
      const x = this.x(this.times[i]).toFixed(1);
      if (v === null) return close(last);
      const step = `${open ? 'L' : 'M'}${x} ${y(v).toFixed(1)}`;
      if (!open) start = x;
      trace += step;
      area += step;
      open = true;
      last = x;
    });
    close(last);
    this.trace.setAttribute('d', trace);
    this.area.setAttribute('d', area);
    this.svg.setAttribute('aria-label', `${this.title} of the last minutes, highest ${words(this.format, peak)}`);
  }
  point(event) {
    if (!this.times.length) return;
    const box = this.svg.getBoundingClientRect();
    const x = WIDTH * (event.clientX - box.left) / box.width;
    let best = 0;
    this.times.forEach((t, i) => { if (Math.abs(this.x(t) - x) < Math.abs(this.x(this.times[best]) - x)) best = i; });
    this.pointed = true;
    this.cursor.setAttribute('x1', this.x(this.times[best]));
    this.cursor.setAttribute('x2', this.x(this.times[best]));
    this.cursor.setAttribute('visibility', 'visible');
    this.note.textContent = `${words(this.format, this.values[best])} at ${new Date(this.times[best]).toLocaleTimeString()}`;
  }
  rest() {
    this.pointed = false;
    this.cursor.setAttribute('visibility', 'hidden');
    const known = this.values.filter(v => v !== null);
    this.note.textContent = known.length > 1 ? `highest ${words(this.format, Math.max(...known))}` : '';
  }
}

const cards = QUANTITIES.map(([key, title, format]) => new Card(key, title, format));
byId('cards').append(...cards.map(card => card.node));

const duration = s => {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min']].filter(([size]) => s >= size);
  if (!parts.length) return `${Math.floor(s)} s`;
  const [size, unit] = parts[0], next = parts[1];
  const rest = next ? ` ${Math.floor(s % size / next[0])} ${next[1]}` : '';
  return `${Math.floor(s / size)} ${unit}${rest}`;
};

function state(text, kind) {
  byId('state').textContent = text;
  byId('state').className = `state ${kind}`;
  document.body.classList.toggle('stale', kind === 'bad');
}

let placesFor = '';
function showPlaces(data) {
  const key = data.edge + data.upstream;
  if (key === placesFor) return;
  placesFor = key;
  const sockets = data.edge.replace(/^http/, 'ws');
  const rows = data.upstream ?
    [[data.edge, `everything, relayed to ${data.upstream}`]] :
    [[`${sockets}/ws/{room}`, 'rooms: each message goes to all members'], [`${sockets}/echo`, 'echo: each message comes back']];
  const links = [
    ['/metrics', 'metrics for Prometheus, in three formats'],
    ['/healthz', 'alive: 200'],
    ['/readyz', 'takes connections: 200, else 503 and why'],
    ['/api/v1/status', 'the numbers of this page'],
    ['/api/v1/sessions', 'sessions and what they sent'],
    ['/api/v1/loggers', 'log levels; PUT {"level":"DEBUG"} to one changes it'],
    ['/api/v1/status/config', 'the configuration in force'],
  ];
  const nodes = rows.flatMap(([place, what]) => [make('dt', '', place), make('dd', '', what)]);
  for (const [path, what] of links) {
    const link = make('a', '', path), term = make('dt');
    link.href = path;
    term.append(link);
    nodes.push(term, make('dd', '', what));
  }
  byId('places').replaceChildren(...nodes);
  byId('where').hidden = false;
  byId('scrape').textContent = byId('scrape').textContent.replace(/'[^']*'/, `'${location.host}'`);
}

function show(data) {
  data.ready ? state('ready', 'good') : state(data.reasons.join(', ') || 'not ready', 'warn');
  byId('facts').textContent = `${data.version} · up ${duration(data.uptime_seconds)} · ` +
    `${data.loops} ${data.loops === 1 ? 'loop' : 'loops'}`;
  for (const card of cards) card.show(data[card.key], data.history.unix_ms, data.history[card.key]);
  const lost = Object.entries(data.dropped).filter(([, n]) => n > 0).map(([what, n]) => `${n.toLocaleString('en')} ${what}`);
  byId('totals').textContent = `Since the start: ${words(count, data.connections_total)} connections, ` +
    `${words(count, data.messages_in)} messages in (${words(bytes, data.bytes_in)}), ` +
    `${words(count, data.messages_out)} out (${words(bytes, data.bytes_out)}), ` +
    `${words(count, data.errors)} errors; ${lost.length ? 'dropped: ' + lost.join(', ') : 'nothing dropped'}.`;
  showPlaces(data);
}

let token = sessionStorage.getItem('token') || '';
async function refresh() {
  if (document.hidden || (!token && !byId('ask').hidden)) return;
  try {
    const reply = await fetch('/api/v1/status', {
      cache: 'no-store', signal: AbortSignal.timeout(5000),
      headers: token ? {Authorization: `Bearer ${token}`} : {},
    });
    if (reply.status === 401) {
      if (token) byId('wrong').textContent = 'That token was not accepted.';
      token = '';
      sessionStorage.removeItem('token');
      byId('ask').hidden = false;
      byId('live').hidden = true;
      return state('token needed', 'warn');
    }
    if (!reply.ok) throw new Error(reply.status);
    if (token) sessionStorage.setItem('token', token);
    byId('ask').hidden = true;
    byId('live').hidden = false;
    show((await reply.json()).data);
  } catch (error) {
    state('not reachable', 'bad');
  }
}
byId('ask').addEventListener('submit', event => {
  event.preventDefault();
  token = byId('token').value.trim();
  byId('token').value = '';
  byId('wrong').textContent = '';
  refresh();
});
document.addEventListener('visibilitychange', refresh);
async function run() {
  await refresh();
  setTimeout(run, PERIOD_MS);
}
run();

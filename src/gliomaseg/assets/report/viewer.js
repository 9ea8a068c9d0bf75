"use strict";
// The slice viewer of a report: three planes on 2D canvases, no library, no network.
// Voxels are 8-bit, x fastest, axes towards right, anterior, superior; planes are drawn by radiological
// convention: the patient's right on the viewer's left, the face to the left on sagittal planes.
const SWITCHES = ["outlines", "lines", "crosshair", "smooth", "brain"];
const report = JSON.parse(document.getElementById("report").textContent).slices;
const PLANES = [
  {name: "axial", axis: 2, across: 0, up: 1, letters: "APRL"},
  {name: "coronal", axis: 1, across: 0, up: 2, letters: "SIRL"},
  {name: "sagittal", axis: 0, across: 1, up: 2, letters: "SIAP"},
];
const RIM = 18, CSS = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const element = (id) => document.getElementById(id);
const [NX, NY, NZ] = report.crop.shape;
const volumes = {};
const state = {
  cursor: report.start.slice(), channel: (report.channels.find((c) => c.name === "t1c") || report.channels[0] || {name: null}).name,
  windows: Object.fromEntries(report.channels.map((c) => [c.name, c.window.slice()])),
  opacity: 0.15, outlines: true, crosshair: true, smooth: true, lines: true, drag: "crosshair",
  shown: new Set(report.outlines.map((outline) => outline.name)), maps: report.maps[0], region: "wt", brain: Boolean(report.brain),
};

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const unpacked = (block) => atob(block.textContent.slice(block.textContent.indexOf(",") + 1).trim());
async function load(name) {
  const block = element("volume-" + name);
  if (block) {
    const text = unpacked(block), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    block.remove();
    return inflate(bytes);
  }
  const answer = await fetch("volume/" + encodeURIComponent(name));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return inflate(new Uint8Array(await answer.arrayBuffer()));
}
const at = (name, x, y, z) => volumes[name][x + NX * (y + NY * z)];

// ---- one plane ----------------------------------------------------------------------------------------
// A plane's picture has columns that run against its first axis and rows that run down its second.
const views = PLANES.map((plane) => ({
  ...plane, canvas: element("canvas-" + plane.name), slider: element("slice-" + plane.name),
  label: element("label-" + plane.name), width: report.crop.shape[plane.across], height: report.crop.shape[plane.up],
  sx: report.crop.spacing[plane.across], sy: report.crop.spacing[plane.up],
}));
const widest = Math.max(...views.map((v) => Math.max(v.width * v.sx, v.height * v.sy)));

function slice(view, name) {
  const data = volumes[name], {width, height, axis} = view, out = new Uint8Array(width * height);
  const steps = [1, NX, NX * NY], start = steps[axis] * state.cursor[axis];
  const across = steps[view.across], up = steps[view.up];
  for (let row = 0, k = 0; row < height; row++) {
    let i = start + up * (height - 1 - row) + across * (width - 1);
    for (let column = 0; column < width; column++, k++, i -= across) out[k] = data[i];
  }
  return out;
}
function layout(view) {
  const size = view.canvas.width, scale = (size - 2 * RIM * devicePixelRatio) / widest;
  const w = view.width * view.sx * scale, h = view.height * view.sy * scale;
  return {scale, w, h, left: (size - w) / 2, top: (size - h) / 2, px: view.sx * scale, py: view.sy * scale};
}
const toCanvas = (view, voxel) => {
  const l = layout(view);
  return [l.left + (view.width - 0.5 - voxel[view.across]) * l.px, l.top + (view.height - 0.5 - voxel[view.up]) * l.py];
};
const toVoxel = (view, x, y) => {
  const l = layout(view), voxel = state.cursor.slice(), clamp = (v, n) => Math.min(Math.max(Math.round(v), 0), n - 1);
  voxel[view.across] = clamp(view.width - 0.5 - (x - l.left) / l.px, view.width);
  voxel[view.up] = clamp(view.height - 0.5 - (y - l.top) / l.py, view.height);
  return voxel;
};
const DIMMED = 0.5; // brightness of the head outside the brain mask, as in overview.png
const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

function bitmap(width, height, fill) {
  const canvas = document.createElement("canvas");
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  fill(image.data);
  context.putImageData(image, 0, 0);
  return canvas;
}
function greyPicture(view) {
  const grey = state.channel && volumes[state.channel] ? slice(view, state.channel) : null;
  const brain = volumes.brain ? slice(view, "brain") : null;
  const [low, high] = state.channel ? state.windows[state.channel] : [0, 255];
  return bitmap(view.width, view.height, (data) => {
    for (let k = 0; k < view.width * view.height; k++) {
      const value = grey && grey[k] ? Math.round(Math.min(Math.max((grey[k] - low) / (high - low), 0), 1) * 255) : 0;
      data[4 * k] = data[4 * k + 1] = data[4 * k + 2] = brain && !brain[k] ? DIMMED * value : value;
      data[4 * k + 3] = 255;
    }
  });
}
// The layers that are filled and outlined: regions of one label map, or the agreement of two.
function layers(view) {
  if (state.maps !== "compare") {
    const labels = slice(view, state.maps);
    return report.outlines.filter((outline) => state.shown.has(outline.name)).map((outline) =>
      ({...outline, edge: true, fill: true, mask: Uint8Array.from(labels, (v) => outline.numbers.includes(v) ? 1 : 0)}));
  }
  const region = report.outlines.find((r) => r.name === state.region);
  const one = slice(view, "seg"), other = slice(view, "reference"), has = (v) => region.numbers.includes(v);
  const kinds = {tp: (a, b) => a && b, fp: (a, b) => a && !b, fn: (a, b) => !a && b};
  const fills = report.kinds.map((kind) =>
    ({...kind, fill: true, mask: Uint8Array.from(one, (v, k) => kinds[kind.name](has(v), has(other[k])) ? 1 : 0)}));
  const edge = (labels, name, dash) => ({...report.kinds.find((k) => k.name === name), dash, edge: true,
    mask: Uint8Array.from(labels, (v) => has(v) ? 1 : 0)});
  return [...fills, edge(one, "fp", []), edge(other, "fn", [4, 3])];
}
function tint(view, found) {
  return bitmap(view.width, view.height, (data) => {
    for (const layer of found.slice().reverse()) { // inner regions cover outer ones
      const colour = rgb(layer.colour);
      for (let k = 0; k < layer.mask.length; k++) {
        if (!layer.mask[k]) continue;
        const hatched = layer.hatched && (Math.floor(k / view.width) + k % view.width) % 3 === 0;
        data.set([...colour, hatched ? 0 : 255], 4 * k);
      }
    }
  });
}
// Follow the edges between inside and outside as closed loops, so that dashes run along them.
function trace(mask, width, height) {
  const next = new Map(), key = (x, y) => y * (width + 1) + x, on = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  const add = (a, b) => next.has(a) ? next.get(a).push(b) : next.set(a, [b]);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!mask[y * width + x]) continue;
    if (!on(x, y - 1)) add(key(x, y), key(x + 1, y));
    if (!on(x + 1, y)) add(key(x + 1, y), key(x + 1, y + 1));
    if (!on(x, y + 1)) add(key(x + 1, y + 1), key(x, y + 1));
    if (!on(x - 1, y)) add(key(x, y + 1), key(x, y));
  }
  const loops = [];
  for (const start of next.keys()) {
    while (next.get(start).length) {
      const loop = [start];
      for (let here = next.get(start).pop(); here !== start; here = next.get(here).pop()) loop.push(here);
      loops.push(loop.map((k) => [k % (width + 1), Math.floor(k / (width + 1))]));
    }
  }
  return loops;
}
function outline(context, view, layer, l, width = 1.4) {
  const ratio = devicePixelRatio;
  context.beginPath();
  for (const loop of trace(layer.mask, view.width, view.height)) {
    loop.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](l.left + x * l.px, l.top + y * l.py));
    context.closePath();
  }
  context.setLineDash([]);
  context.lineWidth = (width + 1.2) * ratio; context.strokeStyle = "rgba(0,0,0,0.55)"; context.stroke();
  context.setLineDash(layer.dash.map((d) => d * ratio));
  context.lineWidth = width * ratio; context.strokeStyle = layer.colour; context.stroke();
  context.setLineDash([]);
}
function draw(view) {
  const ratio = devicePixelRatio, size = Math.max(Math.round(view.canvas.clientWidth * ratio), 64);
  if (view.canvas.width !== size) view.canvas.width = view.canvas.height = size;
  const context = view.canvas.getContext("2d"), l = layout(view);
  context.fillStyle = "#000"; context.fillRect(0, 0, size, size);
  context.imageSmoothingEnabled = state.smooth; context.imageSmoothingQuality = "high";
  context.drawImage(greyPicture(view), l.left, l.top, l.w, l.h);
  const found = volumes[report.maps[0]] ? layers(view) : [];
  context.imageSmoothingEnabled = false;
  if (state.opacity > 0) {
    context.globalAlpha = state.maps === "compare" ? Math.min(3 * state.opacity, 1) : state.opacity;
    context.drawImage(tint(view, found.filter((layer) => layer.fill)), l.left, l.top, l.w, l.h);
    context.globalAlpha = 1;
  }
  if (state.brain && volumes.brain) outline(context, view, {...report.brain, mask: slice(view, "brain")}, l, 1);
  if (state.outlines) for (const layer of found.filter((layer) => layer.edge)) outline(context, view, layer, l);
  if (state.lines && view.axis === 2 && state.maps === "seg") rano(context, view);
  if (state.crosshair) crosshair(context, view, l);
  annotate(context, view, l, size);
  const index = state.cursor[view.axis], {first, step, whole} = report.crop;
  const number = `${first[view.axis] + step * index + 1} of ${whole[view.axis]}`; // as in the whole image, turned to RAS
  view.slider.value = index;
  const native = nativeSlice(view.axis, index);
  view.label.textContent = `${view.name} ${number}${native && "\n" + native}`;
  view.canvas.setAttribute("aria-label", `${view.name} slice ${number}${native && ", " + native}`);
}
// The nearest slice of the file that the label map lies on, counted from 1 in the order of the file.
function nativeSlice(axis, index) {
  if (!report.native) return "";
  const {sequence, first, steps, counts} = report.native, place = Math.floor(first[axis] + steps[axis] * index + 0.5);
  return place < 0 || place >= counts[axis] ? `beyond ${sequence}` : `slice ${place + 1} of ${counts[axis]} in ${sequence}`;
}
function crosshair(context, view, l) {
  const [x, y] = toCanvas(view, state.cursor), gap = 9 * devicePixelRatio;
  context.strokeStyle = "rgba(140,220,255,0.75)"; context.lineWidth = devicePixelRatio;
  context.beginPath();
  for (const [a, b] of [[l.left, x - gap], [x + gap, l.left + l.w]]) if (b > a) { context.moveTo(a, y); context.lineTo(b, y); }
  for (const [a, b] of [[l.top, y - gap], [y + gap, l.top + l.h]]) if (b > a) { context.moveTo(x, a); context.lineTo(x, b); }
  context.stroke();
}
// Where the lengths of two lines are written, by their ends: the first above its upper end, the second beyond that
// of its ends which is farther from there, as axial.py places them.
function labelSpots([one, other], gap) {
  const first = one[0][1] < one[1][1] ? one[0] : one[1];
  const distance = ([x, y]) => Math.round(Math.hypot(x - first[0], y - first[1]));
  const [a, b] = other, difference = distance(a) - distance(b) || a[1] - b[1], second = difference > 0 ? a : b;
  return [[first[0], first[1] - gap], [second[0], second[1] + (second[1] > first[1] ? gap : -gap)]];
}
function rano(context, view) {
  const ratio = devicePixelRatio;
  for (const lesion of report.lines.filter((lesion) => lesion.slice === state.cursor[2])) {
    const lines = lesion.ends.map((ends) => ends.map((end) => toCanvas(view, end)));
    for (const [a, b] of lines) for (const [colour, width] of [["rgba(0,0,0,0.7)", 4], ["#ffffff", 1.8]]) {
      context.strokeStyle = colour; context.lineWidth = width * ratio;
      context.beginPath(); context.moveTo(...a); context.lineTo(...b); context.stroke();
    }
    labelSpots(lines, 9 * ratio).forEach(([x, y], i) =>
      letters(context, `${lesion.mm[i].toFixed(1)} mm`, x, y, "center", "#ffffff"));
  }
}
function letters(context, text, x, y, align, colour) {
  context.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`;
  context.textAlign = align; context.textBaseline = "middle";
  context.lineWidth = 3 * devicePixelRatio; context.strokeStyle = "rgba(0,0,0,0.8)";
  context.strokeText(text, x, y); context.fillStyle = colour; context.fillText(text, x, y);
}
function annotate(context, view, l, size) {
  const half = RIM * devicePixelRatio / 2, [top, bottom, left, right] = view.letters, grey = "#dfe3e8";
  letters(context, top, size / 2, half, "center", grey); letters(context, bottom, size / 2, size - half, "center", grey);
  letters(context, left, half, size / 2, "center", grey); letters(context, right, size - half, size / 2, "center", grey);
  const mm = [50, 20, 10, 5, 2, 1].find((length) => length * l.scale + 70 * devicePixelRatio <= size / 2) || 1;
  const y = size - half, start = half;
  context.strokeStyle = grey; context.lineWidth = 2 * devicePixelRatio;
  context.beginPath(); context.moveTo(start, y); context.lineTo(start + mm * l.scale, y); context.stroke();
  letters(context, `${mm} mm`, start + mm * l.scale + half, y, "left", grey);
}

// ---- text beside the pictures ------------------------------------------------------------------------
const place = (voxel) => [0, 1, 2].map((row) => report.crop.affine[row].reduce((sum, v, i) => sum + v * (i < 3 ? voxel[i] : 1), 0));
function readout() {
  const [x, y, z] = state.cursor, parts = [];
  const mm = place(state.cursor).map((v, i) => `${"xyz"[i]} ${v >= 0 ? "+" : "−"}${Math.abs(v).toFixed(0)}`).join(", ");
  parts.push(`${mm} mm`);
  const channel = report.channels.find((c) => c.name === state.channel);
  if (channel && volumes[channel.name]) {
    const value = at(channel.name, x, y, z);
    parts.push(value ? `${channel.title} ≈ ${Number((channel.low + (value - 1) / 254 * (channel.high - channel.low)).toPrecision(3))}` : "background");
  }
  if (volumes.brain && !at("brain", x, y, z)) parts.push("outside the brain mask");
  for (const map of report.maps.filter((m) => volumes[m])) {
    const tissue = report.tissues[at(map, x, y, z)]?.title;
    parts.push((report.maps.length > 1 ? `${map === "seg" ? "prediction" : "reference"}: ` : "") + (tissue || "no tumour"));
  }
  element("readout").textContent = parts.join(" · ");
}
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; views.forEach(draw); readout(); controls(); });
}
function controls() {
  for (const input of document.querySelectorAll("[name=channel]")) input.checked = input.value === state.channel;
  for (const input of document.querySelectorAll("[name=part]")) input.checked = state.shown.has(input.value);
  for (const input of document.querySelectorAll("[name=map]")) input.checked = input.value === state.maps;
  for (const name of SWITCHES) if (element(name)) element(name).checked = state[name];
  for (const input of document.querySelectorAll("[name=drag]")) input.checked = input.value === state.drag;
  element("opacity").value = Math.round(100 * state.opacity);
  if (element("region")) { element("region").value = state.region; element("region").disabled = state.maps !== "compare"; }
  document.querySelectorAll("#parts input").forEach((input) => { input.disabled = state.maps === "compare"; });
  if (element("kinds")) element("kinds").hidden = state.maps !== "compare";
  const channel = report.channels.find((c) => c.name === state.channel);
  const intensity = (level) => Number((channel.low + (level - 1) * (channel.high - channel.low) / 254).toPrecision(3));
  element("window").textContent = channel ? `window ${state.windows[channel.name].map(intensity).join(" to ")}` : "";
}
function move(axis, step) {
  state.cursor[axis] = Math.min(Math.max(state.cursor[axis] + step, 0), report.crop.shape[axis] - 1);
  redraw();
}
function rewindow(width, level) {
  if (!state.channel) return;
  const [low, high] = state.windows[state.channel];
  const half = Math.max((high - low) / 2 + width, 1), middle = Math.min(Math.max((low + high) / 2 + level, 0), 255);
  state.windows[state.channel] = [middle - half, middle + half];
  redraw();
}
function resetWindow() {
  const channel = report.channels.find((c) => c.name === state.channel);
  if (channel) state.windows[channel.name] = channel.window.slice();
  redraw();
}
function go(voxel) { state.cursor = voxel.map((v, i) => Math.min(Math.max(Math.round(v), 0), report.crop.shape[i] - 1)); redraw(); }
function mostDisagreement() {
  const numbers = report.outlines.find((r) => r.name === state.region).numbers, counts = report.crop.shape.map((n) => new Int32Array(n));
  const one = volumes.seg, other = volumes.reference, table = new Uint8Array(256);
  numbers.forEach((n) => { table[n] = 1; });
  for (let z = 0, i = 0; z < NZ; z++) for (let y = 0; y < NY; y++) for (let x = 0; x < NX; x++, i++)
    if (table[one[i]] !== table[other[i]]) { counts[0][x]++; counts[1][y]++; counts[2][z]++; }
  return counts.map((list) => list.indexOf(Math.max(...list)));
}

// ---- input --------------------------------------------------------------------------------------------
for (const view of views) {
  view.slider.addEventListener("input", () => { state.cursor[view.axis] = Number(view.slider.value); redraw(); });
  let wheel = 0, last = null;
  view.canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    wheel += event.deltaMode ? event.deltaY * 40 : event.deltaY;
    const steps = Math.trunc(wheel / 40);
    if (steps) { wheel -= 40 * steps; move(view.axis, -steps); }
  }, {passive: false});
  const follow = (event) => {
    const box = view.canvas.getBoundingClientRect(), ratio = view.canvas.width / box.width;
    if (last.windowing) rewindow((event.clientX - last.x) / 2, (last.y - event.clientY) / 2);
    else go(toVoxel(view, (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio));
    last.x = event.clientX; last.y = event.clientY;
  };
  view.canvas.addEventListener("pointerdown", (event) => {
    last = {x: event.clientX, y: event.clientY, windowing: event.button === 2 || event.shiftKey || state.drag === "window"};
    view.canvas.setPointerCapture(event.pointerId);
    if (!last.windowing) follow(event);
  });
  view.canvas.addEventListener("pointermove", (event) => { if (last) follow(event); });
  for (const end of ["pointerup", "pointercancel"]) view.canvas.addEventListener(end, () => { last = null; });
  view.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  view.canvas.addEventListener("dblclick", resetWindow);
  view.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      ArrowUp: () => move(view.axis, 1), ArrowDown: () => move(view.axis, -1),
      ArrowRight: () => move(view.axis, 1), ArrowLeft: () => move(view.axis, -1),
      PageUp: () => move(view.axis, 10), PageDown: () => move(view.axis, -10),
      Home: () => move(view.axis, -1e6), End: () => move(view.axis, 1e6),
      "[": () => rewindow(-4, 0), "]": () => rewindow(4, 0), ",": () => rewindow(0, -4), ".": () => rewindow(0, 4),
      w: resetWindow, o: () => { state.opacity = state.opacity ? 0 : 0.15; redraw(); },
      l: () => { state.outlines = !state.outlines; redraw(); }, t: () => go(report.start),
      b: () => { state.brain = Boolean(report.brain) && !state.brain; redraw(); },
      x: () => { state.crosshair = !state.crosshair; redraw(); },
    };
    if (report.maps.length > 1) keys.d = () => go(mostDisagreement());
    const number = Number(event.key);
    if (number >= 1 && number <= report.channels.length) keys[event.key] = () => choose(report.channels[number - 1].name);
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}
async function choose(name) { state.channel = name; if (!volumes[name]) volumes[name] = await load(name); redraw(); }
const on = (selector, action) => document.querySelectorAll(selector).forEach((input) => input.addEventListener("change", () => action(input)));
on("[name=channel]", (input) => choose(input.value));
on("[name=part]", (input) => { state.shown[input.checked ? "add" : "delete"](input.value); redraw(); });
on("[name=map]", (input) => { state.maps = input.value; redraw(); });
on("[name=drag]", (input) => { state.drag = input.value; redraw(); });
for (const name of SWITCHES) on("#" + name, (input) => { state[name] = input.checked; redraw(); });
on("#region", (input) => { state.region = input.value; redraw(); });
element("opacity").addEventListener("input", (event) => { state.opacity = event.target.value / 100; redraw(); });
element("reset").addEventListener("click", () => { resetWindow(); go(report.start); });
if (element("worst")) element("worst").addEventListener("click", () => { state.maps = "compare"; go(mostDisagreement()); });
document.querySelectorAll("[data-go]").forEach((button) => button.addEventListener("click", () => {
  go(JSON.parse(button.dataset.go)); element("viewer").scrollIntoView({block: "start"}); }));

// ---- start --------------------------------------------------------------------------------------------
async function start() {
  element("viewer").hidden = false;
  for (const map of report.maps) volumes[map] = await load(map);
  if (report.brain) volumes.brain = await load("brain");
  if (report.maps.length > 1) state.maps = "compare";
  if (state.channel) await choose(state.channel);
  redraw();
  for (const channel of report.channels) if (!volumes[channel.name]) volumes[channel.name] = await load(channel.name);
  new ResizeObserver(redraw).observe(element("viewer"));
  document.documentElement.dataset.ready = "yes";
}
globalThis.gliomaseg = {report, state, volumes, views, at, toCanvas, toVoxel, redraw, labelSpots};
requestAnimationFrame(() => setTimeout(() => start().catch((error) => {
  element("readout").textContent = `The slices can't be shown: ${error.message}. The pictures below are complete.`; }), 0));

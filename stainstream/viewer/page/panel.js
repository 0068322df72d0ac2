// Readings: overlay, histograms, focus, drift, counters.

const $ = (id) => document.getElementById(id);
const GREEN_MS = 100;
const YELLOW_MS = 200;
const RATE_MS = 2000;
const FOCUS_S = 60;
const CLIPPED = 0.01; // the share of clipped pixels from which on it is said in color
const grouped = new Intl.NumberFormat("en-US");

export function level(ms) {
  return ms < GREEN_MS ? "good" : ms < YELLOW_MS ? "fair" : "bad";
}

/** Frames shown in the last two seconds, a second. */
export class Rate {
  constructor() {
    this.times = [];
  }

  count(now) {
    this.times.push(now);
  }

  value(now) {
    while (this.times.length && this.times[0] < now - RATE_MS) this.times.shift();
    const spans = this.times.length - 1;
    return spans > 0 ? (1000 * spans) / (Math.max(this.times[spans], now - 500) - this.times[0]) : 0;
  }
}

export function showAge(ms) {
  const known = Number.isFinite(ms);
  $("age-box").dataset.level = known ? level(ms) : "none";
  $("age").textContent = known ? (ms < 10_000 ? Math.max(0, Math.round(ms)) : "> 9999") : "\u2013";
}

export function showModel(model) {
  const name = model?.name ?? "none";
  const digest = model?.sha256 ?? "";
  $("overlay-model").textContent = name;
  $("overlay-digest").textContent = digest.slice(0, 12);
  $("digest").textContent = digest ? `sha256 ${digest.slice(0, 8)}\u2026${digest.slice(-4)}` : "\u2013";
  $("digest").dataset.digest = digest;
  $("digest").disabled = !digest;
}

export function showFrame(header, skipped) {
  $("c-frame").textContent = grouped.format(header.seq);
  $("c-size").textContent = `${header.width} \u00d7 ${header.height}`;
  $("c-skipped").textContent = grouped.format(skipped);
  showDrift(header.drift);
}

export function showStatus(message) {
  $("c-viewers").textContent = message.viewers;
  const stream = message.stream;
  if (!stream) return;
  const { report } = stream;
  const sum = (causes) => Object.values(causes).reduce((a, b) => a + b, 0);
  const dropped = Math.max(0, ...Object.values(report.sinks).map((each) => sum(each.dropped)));
  const rejected = sum(report.rejected);
  $("source").textContent = stream.source;
  $("c-captured").textContent = grouped.format(report.captured);
  $("c-dropped").textContent = grouped.format(dropped);
  $("c-rejected").textContent = grouped.format(rejected);
  $("c-lost").textContent = grouped.format(report.lost);
  $("c-p50").textContent = report.latency_ms ? `${report.latency_ms[0].toFixed(1)} ms` : "\u2013";
  $("c-p99").textContent = report.latency_ms ? `${report.latency_ms[1].toFixed(1)} ms` : "\u2013";
  $("c-engine").textContent = stream.engine;
  const gone = dropped + rejected + report.lost;
  $("drops").textContent = grouped.format(gone);
  $("drops-box").dataset.level = gone ? "fair" : "good";
}

function showDrift(drift) {
  const known = typeof drift?.distance === "number";
  const state = !known ? "none" : drift.out_of_range ? "bad" : "good";
  const limit = known && drift.limit > 0 ? drift.limit : null;
  $("drift").textContent = known ? `${drift.distance.toFixed(1)} \u0394E` : "\u2013";
  $("drift-meter").dataset.level = state;
  const share = limit ? Math.min(1, drift.distance / (2 * limit)) : 0;
  $("drift-meter").firstElementChild.style.width = `${(100 * share).toFixed(1)}%`;
  const range = limit ? ` (limit ${limit.toFixed(1)})` : "";
  const note = {
    none: "Not known of this frame.",
    good: `Within the colors that the model was made for${range}.`,
    bad: `Outside the colors that the model was made for${range}.`,
  }[state];
  if ($("drift-note").textContent !== note) $("drift-note").textContent = note;
  const warning = state === "bad" ? `Colors out of the model's range: ${drift.distance.toFixed(1)} \u0394E${range}` : "";
  if ($("warning").textContent !== warning) $("warning").textContent = warning;
  $("warning").hidden = !warning;
}

const focus = [];

export function showVitals(vitals) {
  histogram($("histogram-raw"), vitals.raw);
  histogram($("histogram-normalized"), vitals.normalized);
  for (const side of ["dark", "bright"]) {
    $(side).textContent = `${(100 * vitals[side]).toFixed(1)} %`;
    $(side).dataset.level = vitals[side] > CLIPPED ? "fair" : "good";
  }
  $("focus").textContent = `${Math.round(100 * vitals.focus)} %`;
  const now = performance.now() / 1000;
  focus.push([now, vitals.focus]);
  while (focus[0][0] < now - FOCUS_S) focus.shift();
  trace($("focus-plot"), now);
}

function colors(canvas) {
  const style = getComputedStyle(canvas);
  return (name) => style.getPropertyValue(name).trim();
}

function histogram(canvas, channels) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const color = colors(canvas);
  context.clearRect(0, 0, width, height);
  context.fillStyle = color("--line");
  for (const quarter of [1, 2, 3]) context.fillRect((quarter * width) / 4, 0, 1, height);
  channels.forEach((bins, channel) => {
    const step = width / bins.length;
    const y = (bin) => height - 2 - Math.sqrt(bin / 255) * (height - 6);
    const path = new Path2D();
    bins.forEach((bin, index) => path.lineTo((index + 0.5) * step, y(bin)));
    context.strokeStyle = color(["--red", "--green", "--blue"][channel]);
    context.lineWidth = 2.5;
    context.lineJoin = "round";
    context.stroke(path);
    path.lineTo(width - step / 2, height);
    path.lineTo(step / 2, height);
    context.globalAlpha = 0.13;
    context.fillStyle = context.strokeStyle;
    context.fill(path);
    context.globalAlpha = 1;
  });
}

function trace(canvas, now) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.strokeStyle = colors(canvas)("--ink");
  context.lineWidth = 2.5;
  context.beginPath();
  for (const [at, value] of focus) context.lineTo(width * (1 - (now - at) / FOCUS_S), height - 4 - value * (height - 8));
  context.stroke();
}

/** What lies under the pointer, before and after. */
export function showProbe(colors) {
  $("probe").hidden = !colors;
  if (!colors) return;
  const text = (rgb) => rgb.map((each) => String(each).padStart(3)).join(" ");
  const lines = [`x ${colors.x}  y ${colors.y}`, `raw        ${text(colors.raw)}`, `normalized ${text(colors.normalized)}`];
  $("probe").textContent = lines.join("\n");
}

/** A bar of a round length in the specimen. */
export function showScalebar(pixelUm, factor) {
  $("scalebar").hidden = !pixelUm;
  if (!pixelUm) return;
  const longest = (120 * pixelUm) / factor;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length = [5, 2, 1].map((each) => each * power).find((each) => each <= longest) ?? power;
  $("scalebar").firstElementChild.style.width = `${((length * factor) / pixelUm).toFixed(1)}px`;
  $("scalebar").lastElementChild.textContent =
    length >= 1000 ? `${length / 1000} mm` : length < 1 ? `${Math.round(length * 1000)} nm` : `${length} \u00b5m`;
}

// Puts the parts together: what comes over the link is shown on the stage and the panel; buttons and keys steer.

import { divider, gestures } from "./gestures.js";
import { Link } from "./link.js";
import { Rate, showAge, showFrame, showModel, showProbe, showScalebar, showStatus, showVitals } from "./panel.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const BLINK_MS = 600;
const ASK_MS = 80;
const STALLED_MS = 1500;
const PROBE_MS = 60;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const rate = new Rate();
let frozen = false;
let blinking = null;
let asked = "";
let asking = null;
let shownAt = 0;
let age = NaN;
let hover = null;
let probing = null;
let recording = false;

const link = new Link({
  frame(frame, again) {
    stage.show(frame);
    const now = performance.now();
    if (!again) {
      rate.count(now);
      shownAt = now;
      age = link.age(frame.header);
    }
    $("banner").hidden = true;
    probe();
  },
  told(op, message) {
    if (op === "hello") greet(message);
    if (op === "status") status(message);
    if (op === "vitals") showVitals(message);
    if (op === "colors" && hover) showProbe(message);
    if (op === "problem") toast(message.text);
  },
  opened() {
    asked = "";
    look();
    banner("Waiting for frames");
    state();
  },
  closed(reason) {
    banner(reason ? `${reason}. Trying again.` : "No connection to stainstream. Trying again.");
    state();
    if (link.tries === 1) explain();
  },
});

const stage = new Stage($("view"), () => {
  place();
  look();
});

/** Ask for what is in sight, not more often than the server should hear it. */
function look() {
  if (asking) return;
  asking = setTimeout(() => {
    asking = null;
    const wanted = stage.look;
    const key = JSON.stringify(wanted);
    if (key === asked) return;
    asked = key;
    link.ask(wanted, frozen && stage.frame ? stage.frame.header.seq : null);
  }, asked ? ASK_MS : 0);
}

/** Put what lies over the picture in its place. */
function place() {
  const split = stage.wanted === "split";
  $("divider").hidden = !split || !stage.frame;
  $("divider").style.left = `${100 * stage.split}%`;
  $("divider").setAttribute("aria-valuenow", Math.round(100 * stage.split));
  $("divider").setAttribute("aria-valuetext", `${Math.round(100 * stage.split)} % raw`);
  $("tag-raw").hidden = !stage.frame || stage.wanted === "normalized" || (split && stage.split < 0.06);
  $("tag-normalized").hidden = !stage.frame || stage.wanted === "raw" || (split && stage.split > 0.94);
  $("fit").setAttribute("aria-pressed", stage.zoom === null);
  $("one").setAttribute("aria-pressed", stage.zoom === 1);
  $("zoom").textContent = stage.frame ? `${percent(stage.factor)} %` : "\u2013";
  for (const button of document.querySelectorAll("button[data-mode]")) {
    button.setAttribute("aria-pressed", !blinking && button.dataset.mode === stage.wanted);
  }
  const halves = { split: "raw on the left, normalized on the right", raw: "raw", normalized: "normalized" };
  $("view").setAttribute("aria-label", `Live frame, ${halves[stage.wanted]}`);
  $("view").classList.toggle("grab", stage.zoom !== null);
  const ratio = stage.canvas.width / Math.max(stage.canvas.clientWidth, 1);
  showScalebar(stage.frame?.header.pixel_um, stage.factor / ratio);
  map();
}

function percent(factor) {
  const value = 100 * factor;
  return value < 10 ? value.toFixed(1) : Math.round(value);
}

/** Where in the frame we are, while not all of it is in sight. */
function map() {
  const canvas = $("map");
  const sight = stage.sight;
  const partly = sight && (sight[2] < stage.size[0] - 1 || sight[3] < stage.size[1] - 1);
  canvas.hidden = !partly;
  if (!partly) return;
  const context = canvas.getContext("2d");
  const scale = Math.min((canvas.width - 2) / stage.size[0], (canvas.height - 2) / stage.size[1]);
  const [width, height] = stage.size.map((each) => each * scale);
  const left = canvas.width - width - 1;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgb(16 16 16 / 60%)";
  context.fillRect(left, 1, width, height);
  context.strokeStyle = "rgb(255 255 255 / 55%)";
  context.strokeRect(left + 0.5, 1.5, width - 1, height - 1);
  context.fillStyle = "rgb(255 255 255 / 80%)";
  const [x, y, w, h] = sight.map((each) => each * scale);
  context.fillRect(left + x, 1 + y, Math.max(w, 2), Math.max(h, 2));
}

function setMode(mode) {
  stopBlinking();
  wish(mode);
}

function wish(mode) {
  stage.wanted = mode;
  const sides = mode === "split" ? ["raw", "normalized"] : [mode];
  if (stage.frame && sides.every((side) => stage.frame[side])) stage.mode = mode;
  stage.redraw();
  place();
  look();
}

function blink() {
  if (blinking && !calm.matches) return setMode("split");
  const flip = () => wish(stage.wanted === "raw" ? "normalized" : "raw");
  stage.whole = true;
  if (calm.matches) blinking = true; // by hand: each press shows the other side
  else blinking = setInterval(flip, BLINK_MS);
  $("blink").setAttribute("aria-pressed", true);
  flip();
}

function stopBlinking() {
  clearInterval(blinking);
  blinking = null;
  stage.whole = false;
  $("blink").setAttribute("aria-pressed", false);
}

function freeze() {
  frozen = !frozen;
  link.pause(frozen);
  $("freeze").setAttribute("aria-pressed", frozen);
  state();
}

function greet(message) {
  const chosen = new URLSearchParams(location.search).get("quality");
  stage.quality = Math.min(Math.max(Number(chosen) || message.quality, 1), 100);
  const list = $("model");
  list.replaceChildren(...message.models.map((name) => new Option(name, name)));
  list.disabled = !message.models.length;
  $("record").disabled = !message.steered;
  look();
}

function status(message) {
  showStatus(message);
  const stream = message.stream;
  if (!stream) return;
  showModel({ name: stream.model, sha256: stream.digest });
  const list = $("model");
  if (![...list.options].some((each) => each.value === stream.model)) list.add(new Option(stream.model, stream.model));
  if (document.activeElement !== list) list.value = stream.model;
  if (stream.recording !== recording) toast(stream.recording ? "Recording" : "Recording stopped");
  recording = stream.recording;
  $("record").setAttribute("aria-pressed", recording);
  $("record").querySelector("span").textContent = recording ? "Stop" : "Record";
  document.title = `${recording ? "\u25cf " : ""}${stream.model} \u2013 stainstream`;
}

async function snapshot() {
  const header = stage.frame?.header;
  if (!header || !link.seat) return toast("No frame to take a snapshot of");
  const answer = await fetch(`/snapshot.zip?seat=${link.seat}&frame=${header.seq}`).catch(() => null);
  if (!answer?.ok) return toast(answer ? await answer.text() : "No connection to stainstream");
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"))?.[1] ?? "snapshot.zip";
  const url = URL.createObjectURL(await answer.blob());
  const anchor = Object.assign(document.createElement("a"), { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  toast(`Saved ${name}`);
}

/** After a first failure: say so if it is the token that is missing. */
async function explain() {
  const answer = await fetch("/metrics").catch(() => null);
  if (answer?.status === 401) banner("A token is needed. Open the address that stainstream printed when it started.");
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = false;
}

let toasting = null;
function toast(text) {
  clearTimeout(toasting);
  $("toast").textContent = text;
  $("toast").classList.add("on");
  toasting = setTimeout(() => $("toast").classList.remove("on"), 4000);
}

function state() {
  const connected = link.socket?.readyState === WebSocket.OPEN;
  const stalled = performance.now() - shownAt > STALLED_MS;
  const [name, text] = !connected ? ["off", "Offline"] : frozen ? ["frozen", "Frozen"] : stalled ? ["off", "No frames"] : ["live", "Live"];
  $("state").dataset.state = name;
  if ($("state").textContent !== text) $("state").textContent = text;
}

/** A few times a second: what changes by itself. The age of a picture that stands still grows. */
function tick() {
  const header = stage.frame?.header;
  const now = performance.now();
  $("rate").textContent = header ? rate.value(now).toFixed(1) : "\u2013";
  state();
  if (!header) return;
  const still = now - shownAt > Math.max(250, 3 * link.period);
  showAge(still ? link.age(header) : age);
  showFrame(header, link.skipped);
  if (!$("overlay-digest").textContent) showModel(header.model);
  showScalebar(header.pixel_um, (stage.factor * stage.canvas.clientWidth) / stage.canvas.width);
}

/** Ask for the colors under the pointer: exactly, not as JPEG keeps them. */
function probe() {
  if (!hover || !stage.frame) return showProbe(null);
  const [x, y] = stage.toFrame(...hover).map(Math.floor);
  if (x < 0 || y < 0 || x >= stage.size[0] || y >= stage.size[1]) return showProbe(null);
  if (probing) return;
  probing = setTimeout(() => (probing = null), PROBE_MS);
  link.send({ op: "probe", frame: stage.frame.header.seq, x, y });
}

gestures(stage, (x, y) => {
  hover = x === null ? null : [x, y];
  probe();
});
divider(stage, $("divider"));

const togglePanel = () => {
  const shown = !document.body.classList.toggle("no-panel");
  $("toggle-panel").setAttribute("aria-pressed", shown);
};
const record = () => link.send({ op: "record", on: !recording });
const help = () => $("help").showModal();
const bigger = () => stage.zoomTo(stage.factor * Math.SQRT2);
const smaller = () => stage.zoomTo(stage.factor / Math.SQRT2);

for (const button of document.querySelectorAll("button[data-mode]")) button.onclick = () => setMode(button.dataset.mode);
$("blink").onclick = blink;
$("fit").onclick = () => stage.zoomTo(null);
$("one").onclick = () => stage.zoomTo(1);
$("in").onclick = bigger;
$("out").onclick = smaller;
$("freeze").onclick = freeze;
$("snapshot").onclick = snapshot;
$("record").onclick = record;
$("toggle-panel").onclick = togglePanel;
$("show-help").onclick = help;
$("model").onchange = (event) => {
  toast(`Loading ${event.target.value}`);
  link.send({ op: "switch", model: event.target.value });
  $("view").focus();
};
$("digest").onclick = async ({ currentTarget: { dataset } }) => {
  const copied = await navigator.clipboard?.writeText(dataset.digest).then(() => true, () => false);
  toast(copied ? "Digest copied" : dataset.digest);
};

const PAN = 60;
const KEYS = {
  r: () => setMode("raw"),
  s: () => setMode("split"),
  n: () => setMode("normalized"),
  b: blink,
  f: () => stage.zoomTo(null),
  1: () => stage.zoomTo(1),
  "+": bigger,
  "=": bigger,
  "-": smaller,
  "[": () => stage.splitAt(stage.split - 0.02),
  "]": () => stage.splitAt(stage.split + 0.02),
  " ": freeze,
  p: snapshot,
  v: record,
  m: () => $("model").focus(),
  i: togglePanel,
  "?": help,
  arrowleft: () => stage.panBy(PAN, 0),
  arrowright: () => stage.panBy(-PAN, 0),
  arrowup: () => stage.panBy(0, PAN),
  arrowdown: () => stage.panBy(0, -PAN),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const { target, key } = event;
  if (target.matches("select, input") || (key === " " && target.matches("button"))) return;
  const action = KEYS[key.toLowerCase()];
  if (!action || (event.repeat && " pv".includes(key))) return;
  if (key.startsWith("Arrow") && stage.zoom === null) return; // the page scrolls
  event.preventDefault();
  action();
});

matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
  stage.surround = getComputedStyle($("stage")).backgroundColor;
  stage.redraw();
});

if (matchMedia("(max-width: 720px)").matches) $("toggle-panel").setAttribute("aria-pressed", true);
setInterval(tick, 200);
place();
link.connect();

// What is seen of the newest frame: which halves, where they meet, how large, which part.

import { release } from "./frame.js";

const SCALES = [1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 12, 16];
const SPARE = 1.03; // how much coarser than the screen a frame may be
const MOST_ZOOM = 32;
const GRID = 64; // crops are widened to multiples, so that viewers who look at nearly the same share one JPEG
const FINE = 95;

export class Stage {
  constructor(canvas, onchange) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.onchange = onchange;
    this.quality = 85;
    this.frame = null;
    this.mode = "split"; // as drawn
    this.wanted = "split"; // as soon as a frame has what it takes
    this.split = 0.5; // of the stage's width
    this.zoom = null; // screen pixels a frame pixel; null to fit
    this.center = [0.5, 0.5]; // of the frame, in the middle of the stage
    this.moving = false;
    this.whole = false; // both halves are needed whole, for blinking or while the split moves
    this.surround = "#3c3c3c";
    this.pending = 0;
    new ResizeObserver((entries) => this.#resized(entries[0])).observe(canvas);
  }

  #resized(entry) {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const ratio = devicePixelRatio || 1;
    this.canvas.width = exact ? exact.inlineSize : Math.round(entry.contentRect.width * ratio);
    this.canvas.height = exact ? exact.blockSize : Math.round(entry.contentRect.height * ratio);
    this.surround = getComputedStyle(this.canvas.parentElement).backgroundColor;
    this.draw();
    this.onchange();
  }

  show(frame) {
    const before = this.frame;
    this.frame = frame;
    release(before);
    const sides = this.wanted === "split" ? ["raw", "normalized"] : [this.wanted];
    const changed = before?.header.width !== frame.header.width || before.header.height !== frame.header.height;
    if (sides.every((side) => frame[side])) this.mode = this.wanted;
    this.redraw();
    if (changed) this.onchange();
  }

  get size() {
    return this.frame ? [this.frame.header.width, this.frame.header.height] : null;
  }

  get fitting() {
    if (!this.size) return 1;
    return Math.min(this.canvas.width / this.size[0], this.canvas.height / this.size[1]);
  }

  get factor() {
    return this.zoom ?? this.fitting;
  }

  /** Where the frame's upper left corner lies, in pixels of the screen. */
  get origin() {
    const [width, height] = this.size;
    const z = this.factor;
    const [x, y] = this.zoom === null ? [0.5, 0.5] : this.center;
    return [Math.round(this.canvas.width / 2 - x * width * z), Math.round(this.canvas.height / 2 - y * height * z)];
  }

  /** From a place in the stage, in CSS pixels, to one in the frame. */
  toFrame(x, y) {
    const ratio = this.canvas.width / this.canvas.clientWidth;
    const [left, top] = this.origin;
    return [(x * ratio - left) / this.factor, (y * ratio - top) / this.factor];
  }

  zoomTo(zoom, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.size) return;
    if (zoom === null || zoom <= Math.min(this.fitting, 1) * 1.001) {
      this.zoom = zoom === null || this.fitting < 1 ? null : Math.max(zoom, 0.1);
    } else {
      const [fx, fy] = this.toFrame(x, y);
      const ratio = this.canvas.width / this.canvas.clientWidth;
      const z = Math.min(zoom, MOST_ZOOM);
      this.zoom = z;
      this.center = [
        (fx - (x * ratio - this.canvas.width / 2) / z) / this.size[0],
        (fy - (y * ratio - this.canvas.height / 2) / z) / this.size[1],
      ];
    }
    this.#settle();
  }

  panBy(dx, dy) {
    if (!this.size || this.zoom === null) return;
    const z = (this.factor * this.canvas.clientWidth) / this.canvas.width;
    this.center = [this.center[0] - dx / z / this.size[0], this.center[1] - dy / z / this.size[1]];
    this.#settle();
  }

  splitAt(share) {
    this.split = Math.min(Math.max(share, 0), 1);
    this.redraw();
    this.onchange();
  }

  /** Keep the frame in sight. */
  #settle() {
    const ends = [this.canvas.width, this.canvas.height];
    this.center = this.center.map((at, axis) => {
      const half = ends[axis] / 2 / (this.size[axis] * this.factor);
      return half >= 0.5 ? 0.5 : Math.min(Math.max(at, half), 1 - half);
    });
    this.redraw();
    this.onchange();
  }

  /** Which part of the frame is in sight: x, y, width, height in its pixels. */
  get sight() {
    if (!this.size) return null;
    const [left, top] = this.origin;
    const z = this.factor;
    const [width, height] = this.size;
    const x = Math.max(0, -left / z);
    const y = Math.max(0, -top / z);
    const right = Math.min(width, (this.canvas.width - left) / z);
    const bottom = Math.min(height, (this.canvas.height - top) / z);
    return [x, y, Math.max(0, right - x), Math.max(0, bottom - y)];
  }

  /** What to ask the server for. */
  get look() {
    const z = this.factor;
    const scale = SCALES.findLast((each) => each * z <= SPARE) ?? 1;
    const quality = z >= 1 && this.zoom !== null ? Math.max(FINE, this.quality) : this.quality;
    const all = { raw: null, normalized: null, scale, quality };
    if (!this.size) return { ...all, raw: [0, 0, 1 << 24, 1 << 24], normalized: [0, 0, 1 << 24, 1 << 24] };
    const [x, y, width, height] = this.sight;
    const spare = (this.moving ? 0.4 : 0.04) * Math.max(width, height);
    const edge = (this.split * this.canvas.width - this.origin[0]) / z;
    const cut = this.wanted === "split" && !this.whole;
    const sides = this.whole || this.wanted === "split" ? ["raw", "normalized"] : [this.wanted];
    const crop = (from, to) => this.#crop(Math.max(from, x - spare), y - spare, Math.min(to, x + width + spare), y + height + spare, scale);
    if (sides.includes("raw")) all.raw = crop(-Infinity, cut ? edge + spare : Infinity);
    if (sides.includes("normalized")) all.normalized = crop(cut ? edge - spare : -Infinity, Infinity);
    return all;
  }

  /** Widened to the grid and cut off at the frame's edges; never empty, so that both halves always come. */
  #crop(x, y, right, bottom, scale) {
    const grid = GRID * scale;
    const [width, height] = this.size;
    const low = (at, end) => Math.max(0, Math.min(Math.floor(at / grid) * grid, Math.floor((end - 1) / grid) * grid));
    const high = (at, from, end) => Math.min(end, Math.max(Math.ceil(at / grid) * grid, from + grid));
    const [x0, y0] = [low(x, width), low(y, height)];
    return [x0, y0, high(right, x0, width) - x0, high(bottom, y0, height) - y0];
  }

  redraw() {
    if (!this.pending) this.pending = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.pending);
    this.pending = 0;
    const { canvas, context, frame } = this;
    context.fillStyle = this.surround;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!frame) return;
    const z = this.factor;
    context.imageSmoothingEnabled = z < 2 && z !== 1;
    context.imageSmoothingQuality = z < 1 ? "medium" : "low";
    const edge = Math.round(this.split * canvas.width);
    if (this.mode === "split") {
      this.#half("raw", 0, edge);
      this.#half("normalized", edge, canvas.width);
    } else {
      this.#half(this.mode, 0, canvas.width);
    }
    canvas.dataset.frame = frame.header.seq;
    canvas.dataset.mode = this.mode;
  }

  #half(side, from, to) {
    const image = this.frame[side];
    const crop = this.frame.header[side];
    if (!image || !crop || to <= from) return;
    const { context } = this;
    const [left, top] = this.origin;
    const z = this.factor;
    const [x, y, width, height] = crop;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, this.canvas.height);
    context.clip();
    context.drawImage(image, left + x * z, top + y * z, width * z, height * z);
    context.restore();
  }
}

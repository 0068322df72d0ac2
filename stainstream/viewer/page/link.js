// The connection: frames come when we are ready for one, and the newest always wins.

import { decode, parse, release } from "./frame.js";

const RETRY_MS = [250, 500, 1000, 2000, 4000];
const PING_MS = 2000;
const CLOCKS = 8;

export class Link {
  /** `on` has frame(frame, again), told(op, message), opened() and closed(reason). */
  constructor(on) {
    this.on = on;
    this.seat = null;
    this.skipped = 0;
    this.paused = false;
    this.period = Infinity; // between frames of the source; this and the next two in ms
    this.busy = 0; // what decoding takes
    this.lag = 0; // how old frames are when they come
    this.look = null;
    this.clocks = [];
    this.tries = 0;
    this.last = null;
    document.addEventListener("visibilitychange", () => this.#pay());
    setInterval(() => this.#ping(), PING_MS);
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/stream`);
    socket.binaryType = "arraybuffer";
    Object.assign(this, { socket, granted: 0, decoding: false, waiting: null, clocks: [] });
    socket.onopen = () => {
      this.tries = 0;
      if (this.look) this.send({ op: "look", ...this.look });
      this.#ping();
      this.#pay();
      this.on.opened();
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#told(JSON.parse(data)) : this.#received(data));
    socket.onclose = (event) => this.#closed(event);
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Which part of the frames to send, and how. With `again`, the frame of that number is sent once more. */
  ask(look, again = null) {
    this.look = look;
    this.send({ op: "look", ...look, again });
  }

  pause(on) {
    this.paused = on;
    this.#pay();
  }

  /** How old a frame is now, in ms: our clock is set by the server's. */
  age(header) {
    const best = this.clocks.reduce((a, b) => (b.trip < a.trip ? b : a), { trip: Infinity, ahead: NaN });
    return performance.now() + best.ahead - header.captured_ns / 1e6;
  }

  get trip() {
    return Math.min(...this.clocks.map((each) => each.trip), 1000);
  }

  #ping() {
    this.send({ op: "ping", sent: performance.now() });
  }

  #told(message) {
    if (message.op === "pong") {
      const now = performance.now();
      const trip = now - message.sent;
      this.clocks.push({ trip, ahead: message.clock_ns / 1e6 + trip / 2 - now });
      if (this.clocks.length > CLOCKS) this.clocks.shift();
      return;
    }
    if (message.op === "hello") this.seat = message.seat;
    this.on.told(message.op, message);
  }

  /** Ask for the next frame, if we are ready. Two may be on their way if one alone would cost every other frame. */
  #pay() {
    if (this.paused || document.hidden) return;
    const turn = this.lag + this.busy + this.trip / 2;
    const window = turn > 0.8 * this.period && this.busy < 0.8 * this.period ? 2 : 1;
    const credit = window - this.granted - (this.decoding ? 1 : 0) - (this.waiting ? 1 : 0);
    if (credit < 1) return;
    this.send({ op: "ready", credit });
    this.granted += credit;
  }

  #received(data) {
    const message = parse(data);
    if (!message) return;
    const again = this.paused && this.last?.seq === message.header.seq;
    if (!again) this.granted -= 1;
    if (this.paused && !again) return;
    this.waiting = { message, now: performance.now(), again };
    if (!this.decoding) this.#work();
  }

  /** Decode and show, one frame at a time. */
  async #work() {
    const { socket } = this;
    this.decoding = true;
    while (this.waiting && socket === this.socket) {
      const { message, now, again } = this.waiting;
      this.waiting = null;
      const frame = await decode(message).catch(() => null);
      this.busy = smooth(this.busy, performance.now() - now);
      if (frame && (again || !this.paused)) this.#show(frame, again);
      else release(frame);
    }
    if (socket !== this.socket) return;
    this.decoding = false;
    this.#pay();
  }

  #show(frame, again) {
    const { header } = frame;
    if (!again && this.last) {
      const steps = header.seq - this.last.seq;
      if (steps > 0) {
        this.skipped += steps - 1;
        const period = (header.captured_ns - this.last.captured_ns) / 1e6 / steps;
        this.period = smooth(this.period, period);
      }
    }
    if (!again) this.lag = smooth(this.lag, Math.max(this.age(header) - this.busy, 0) || 0);
    this.last = header;
    this.on.frame(frame, again);
  }

  #closed(event) {
    if (event.target !== this.socket) return;
    this.seat = null;
    this.on.closed(event.reason);
    setTimeout(() => this.connect(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
  }
}

function smooth(before, now) {
  return Number.isFinite(before) && before ? 0.9 * before + 0.1 * now : now;
}

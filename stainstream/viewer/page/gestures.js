// Pointer, wheel and fingers on the stage; pointer and keys on the split.

const STEP = 0.02;

/** Drag to pan, wheel or two fingers to zoom, double click for 1:1. */
export function gestures(stage, onhover) {
  const { canvas } = stage;
  const fingers = new Map();

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    stage.moving = true;
    canvas.classList.add("grabbing");
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return onhover(event.offsetX, event.offsetY);
    const now = [event.offsetX, event.offsetY];
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      stage.zoomTo((stage.factor * apart(now, other)) / Math.max(apart(before, other), 1), ...middle);
      stage.panBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    } else {
      stage.panBy(now[0] - before[0], now[1] - before[1]);
    }
    fingers.set(event.pointerId, now);
  });

  const up = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size) return;
    stage.moving = false;
    canvas.classList.remove("grabbing");
    stage.onchange();
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => onhover(null));

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      stage.zoomTo(stage.factor * Math.exp(-event.deltaY * lines * 0.0016), event.offsetX, event.offsetY);
    },
    { passive: false },
  );

  canvas.addEventListener("dblclick", (event) => {
    stage.zoomTo(stage.zoom === 1 ? null : 1, event.offsetX, event.offsetY);
  });
}

/** Drag the line between the halves, or move it by arrow keys. */
export function divider(stage, line) {
  const left = () => stage.canvas.getBoundingClientRect().left;
  line.addEventListener("pointerdown", (event) => {
    line.setPointerCapture(event.pointerId);
    stage.whole = true;
    stage.onchange();
  });
  line.addEventListener("pointermove", (event) => {
    if (line.hasPointerCapture(event.pointerId)) stage.splitAt((event.clientX - left()) / stage.canvas.clientWidth);
  });
  const up = () => {
    stage.whole = false;
    stage.onchange();
  };
  line.addEventListener("pointerup", up);
  line.addEventListener("pointercancel", up);
  line.addEventListener("keydown", (event) => {
    const to = {
      ArrowLeft: stage.split - STEP,
      ArrowDown: stage.split - STEP,
      ArrowRight: stage.split + STEP,
      ArrowUp: stage.split + STEP,
      PageDown: stage.split - 5 * STEP,
      PageUp: stage.split + 5 * STEP,
      Home: 0,
      End: 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    stage.splitAt(to);
  });
}

function apart(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

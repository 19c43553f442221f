// One zoom and position for all pictures of an element: wheel, drag, pinch, keys and buttons change it.
"use strict";

(function () {
  const LARGEST = 32;
  const PIXELS_FROM = 4; // from this zoom on the pixels are shown as squares
  const WHEEL_STEP = 300; // pixels of the wheel for a factor of e
  const LINE = 16; // pixels of a line, for a wheel that counts lines
  const CLICK = 4; // pixels that the pointer may move in a click

  /**
   * Sets --zoom, --x and --y (in percent of a picture) on `root`; the pictures inside `.stage` elements follow.
   * changed(zoom) is called after every change. Returns {by(factor), move(dx, dy), reset()}; dx and dy are shares of a
   * stage's sides.
   */
  lactok.zoom = (root, changed) => {
    let zoom = 1;
    // The corner of the picture, in shares of the stage's sides: from 1 - zoom to 0.
    let x = 0;
    let y = 0;
    const fingers = new Map(); // of those that are down: the pointer's number -> {x, y, stage}
    let moved = 0; // pixels since the pointer went down: a drag is no click

    function apply() {
      x = Math.min(0, Math.max(1 - zoom, x));
      y = Math.min(0, Math.max(1 - zoom, y));
      root.style.setProperty("--zoom", zoom);
      root.style.setProperty("--x", `${x * 100}%`);
      root.style.setProperty("--y", `${y * 100}%`);
      root.classList.toggle("zoomed", zoom > 1);
      root.classList.toggle("pixels", zoom >= PIXELS_FROM);
      changed(zoom);
    }

    /** Zooms by a factor about a point of the stage, in shares of its sides. */
    function by(factor, about = { x: 0.5, y: 0.5 }) {
      const next = Math.min(LARGEST, Math.max(1, zoom * factor));
      x = about.x - ((about.x - x) * next) / zoom;
      y = about.y - ((about.y - y) * next) / zoom;
      zoom = next;
      apply();
    }

    function move(dx, dy) {
      x += dx;
      y += dy;
      apply();
    }

    function reset() {
      zoom = 1;
      apply();
    }

    /** Where a point of the window is in a stage, in shares of the stage's sides. */
    function shareOf(stage, point) {
      const box = stage.getBoundingClientRect();
      return { x: (point.x - box.left) / box.width, y: (point.y - box.top) / box.height };
    }

    function stageOf(event) {
      return event.target.closest(".stage");
    }

    function wheel(event) {
      const stage = stageOf(event);
      const zoomedOut = zoom === 1 && event.deltaY > 0;
      if (!stage || zoomedOut) return; // the page scrolls
      event.preventDefault();
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * LINE : event.deltaY;
      by(Math.exp(-pixels / WHEEL_STEP), shareOf(stage, { x: event.clientX, y: event.clientY }));
    }

    function fingerDown(event) {
      const stage = stageOf(event);
      if (!stage || event.button !== 0 || event.target.closest("input")) return;
      if (!fingers.size) moved = 0;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, stage });
      try {
        stage.setPointerCapture(event.pointerId);
      } catch { /* The pointer has gone already. */ }
    }

    function fingerMoves(event) {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY, stage: before.stage };
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      if (fingers.size === 1) drag(before, now);
      else pinch(before, now, otherFinger(event.pointerId));
      fingers.set(event.pointerId, now);
    }

    function otherFinger(pointerId) {
      const [, other] = [...fingers].find(([id]) => id !== pointerId);
      return other;
    }

    function drag(before, now) {
      const from = shareOf(before.stage, before);
      const to = shareOf(before.stage, now);
      move(to.x - from.x, to.y - from.y);
    }

    /** The picture follows the middle between two fingers, and grows as they part. */
    function pinch(before, now, other) {
      const middle = (finger) => ({ x: (finger.x + other.x) / 2, y: (finger.y + other.y) / 2 });
      const distance = (finger) => Math.hypot(finger.x - other.x, finger.y - other.y) || 1;
      const from = shareOf(before.stage, middle(before));
      const to = shareOf(before.stage, middle(now));
      move(to.x - from.x, to.y - from.y);
      by(distance(now) / distance(before), to);
    }

    function fingerUp(event) {
      fingers.delete(event.pointerId);
    }

    root.addEventListener("wheel", wheel, { passive: false });
    root.addEventListener("pointerdown", fingerDown);
    root.addEventListener("pointermove", fingerMoves);
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) root.addEventListener(end, fingerUp);
    root.addEventListener("click", (event) => {
      if (moved > CLICK && stageOf(event)) event.stopPropagation();
    }, { capture: true });
    root.addEventListener("dblclick", (event) => {
      const stage = stageOf(event);
      if (stage) by(2, shareOf(stage, { x: event.clientX, y: event.clientY }));
    });
    apply();
    return { by, move, reset };
  };
})();

// Zoom and position that all pictures of an element share: wheel, drag, pinch, keys and buttons change them.
"use strict";

(function () {
  const MAX_ZOOM = 32;
  const SQUARE_PIXELS_FROM = 4; // from this zoom on the pixels are shown as squares
  const WHEEL_PIXELS = 300; // turning the wheel by so many pixels zooms by a factor of e
  const LINE_PIXELS = 16; // the height of a line, for a wheel that reports lines instead of pixels
  const MAX_CLICK_PIXELS = 4; // a pointer that moved further while it was down was dragged, and did not click

  /**
   * Sets the CSS variables --zoom, --x and --y (in percent of a picture) on `root`; pictures inside `.stage` elements
   * are drawn by them. changed(zoom) is called after every change. Returns {by(factor), move(dx, dy), reset()}, where
   * dx and dy are fractions of a stage's width and height.
   */
  lactok.zoom = (root, changed) => {
    let zoom = 1;
    // Where the picture's top left corner is, in fractions of the stage's width and height: from 1 - zoom to 0.
    let x = 0;
    let y = 0;
    const pointers = new Map(); // the pointers that are down: pointerId -> {x, y, stage}
    let moved = 0; // pixels that the pointer moved since it went down

    function apply() {
      x = Math.min(0, Math.max(1 - zoom, x));
      y = Math.min(0, Math.max(1 - zoom, y));
      root.style.setProperty("--zoom", zoom);
      root.style.setProperty("--x", `${x * 100}%`);
      root.style.setProperty("--y", `${y * 100}%`);
      root.classList.toggle("zoomed", zoom > 1);
      root.classList.toggle("pixels", zoom >= SQUARE_PIXELS_FROM);
      changed(zoom);
    }

    /** Zooms by a factor; the point `about`, in fractions of the stage's width and height, stays where it is. */
    function by(factor, about = { x: 0.5, y: 0.5 }) {
      const next = Math.min(MAX_ZOOM, Math.max(1, zoom * factor));
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

    /** Returns where a point of the window is in a stage, in fractions of the stage's width and height. */
    function fractionOf(stage, point) {
      const box = stage.getBoundingClientRect();
      return { x: (point.x - box.left) / box.width, y: (point.y - box.top) / box.height };
    }

    function stageOf(event) {
      return event.target.closest(".stage");
    }

    function wheel(event) {
      const stage = stageOf(event);
      const zoomedOut = zoom === 1 && event.deltaY > 0;
      if (!stage || zoomedOut) return; // The wheel scrolls the page.
      event.preventDefault();
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * LINE_PIXELS : event.deltaY;
      by(Math.exp(-pixels / WHEEL_PIXELS), fractionOf(stage, { x: event.clientX, y: event.clientY }));
    }

    function pointerDown(event) {
      const stage = stageOf(event);
      if (!stage || event.button !== 0 || event.target.closest("input")) return;
      if (!pointers.size) moved = 0;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, stage });
      try {
        stage.setPointerCapture(event.pointerId);
      } catch { /* The pointer has gone already. */ }
    }

    function pointerMoves(event) {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY, stage: before.stage };
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      if (pointers.size === 1) drag(before, now);
      else pinch(before, now, otherPointer(event.pointerId));
      pointers.set(event.pointerId, now);
    }

    function otherPointer(pointerId) {
      const [, other] = [...pointers].find(([id]) => id !== pointerId);
      return other;
    }

    function drag(before, now) {
      const from = fractionOf(before.stage, before);
      const to = fractionOf(before.stage, now);
      move(to.x - from.x, to.y - from.y);
    }

    /** Moves the picture with the middle between two fingers, and zooms by how their distance changes. */
    function pinch(before, now, other) {
      const middle = (pointer) => ({ x: (pointer.x + other.x) / 2, y: (pointer.y + other.y) / 2 });
      const distance = (pointer) => Math.hypot(pointer.x - other.x, pointer.y - other.y) || 1;
      const from = fractionOf(before.stage, middle(before));
      const to = fractionOf(before.stage, middle(now));
      move(to.x - from.x, to.y - from.y);
      by(distance(now) / distance(before), to);
    }

    function pointerUp(event) {
      pointers.delete(event.pointerId);
    }

    root.addEventListener("wheel", wheel, { passive: false });
    root.addEventListener("pointerdown", pointerDown);
    root.addEventListener("pointermove", pointerMoves);
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) root.addEventListener(end, pointerUp);
    // A drag ends with a click event, which must not reach the picture's own handler.
    root.addEventListener("click", (event) => {
      if (moved > MAX_CLICK_PIXELS && stageOf(event)) event.stopPropagation();
    }, { capture: true });
    root.addEventListener("dblclick", (event) => {
      const stage = stageOf(event);
      if (stage) by(2, fractionOf(stage, { x: event.clientX, y: event.clientY }));
    });
    apply();
    return { by, move, reset };
  };
})();

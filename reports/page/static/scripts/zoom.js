// One zoom and position for all pictures of an element: wheel, drag, pinch, keys and buttons change it.
"use strict";

(function () {
  const MOST = 32;

  /** Sets --zoom, --x and --y (in percent of a picture) on `root`; pictures inside `.stage` elements follow. */
  lactok.zoom = (root, changed) => {
    let zoom = 1;
    let x = 0;
    let y = 0; // of the picture's corner, as a share of the stage: from 1 - zoom to 0
    const fingers = new Map();
    let moved = 0; // pixels since the pointer went down: a drag is no click

    function apply() {
      const least = 1 - zoom;
      x = Math.min(0, Math.max(least, x));
      y = Math.min(0, Math.max(least, y));
      root.style.setProperty("--zoom", zoom);
      root.style.setProperty("--x", `${x * 100}%`);
      root.style.setProperty("--y", `${y * 100}%`);
      root.classList.toggle("zoomed", zoom > 1);
      root.classList.toggle("pixels", zoom >= 4);
      changed(zoom);
    }

    /** Zoom by a factor about a point of the stage, both in shares of its sides. */
    function by(factor, u = 0.5, v = 0.5) {
      const next = Math.min(MOST, Math.max(1, zoom * factor));
      x = u - ((u - x) * next) / zoom;
      y = v - ((v - y) * next) / zoom;
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

    const stageOf = (event) => event.target.closest(".stage");
    const share = (stage, px, py) => {
      const box = stage.getBoundingClientRect();
      return [(px - box.left) / box.width, (py - box.top) / box.height];
    };

    root.addEventListener("wheel", (event) => {
      const stage = stageOf(event);
      if (!stage || (zoom === 1 && event.deltaY > 0)) return; // zoomed out: the page scrolls on
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      by(Math.exp((-event.deltaY * lines) / 300), ...share(stage, event.clientX, event.clientY));
    }, { passive: false });

    root.addEventListener("pointerdown", (event) => {
      const stage = stageOf(event);
      if (!stage || event.button !== 0 || event.target.closest("input")) return;
      if (!fingers.size) moved = 0;
      fingers.set(event.pointerId, { px: event.clientX, py: event.clientY, stage });
      try {
        stage.setPointerCapture(event.pointerId);
      } catch { /* the pointer has gone already */ }
    });

    root.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = { px: event.clientX, py: event.clientY, stage: before.stage };
      const box = before.stage.getBoundingClientRect();
      moved += Math.hypot(now.px - before.px, now.py - before.py);
      if (fingers.size === 1) {
        move((now.px - before.px) / box.width, (now.py - before.py) / box.height);
      } else {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const apart = (f) => Math.hypot(f.px - other.px, f.py - other.py) || 1;
        const middle = (f) => share(before.stage, (f.px + other.px) / 2, (f.py + other.py) / 2);
        const [a, b] = [middle(before), middle(now)];
        move(b[0] - a[0], b[1] - a[1]);
        by(apart(now) / apart(before), ...b);
      }
      fingers.set(event.pointerId, now);
    });

    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      root.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    root.addEventListener("click", (event) => {
      if (moved > 4 && stageOf(event)) event.stopPropagation();
    }, { capture: true });
    root.addEventListener("dblclick", (event) => {
      const stage = stageOf(event);
      if (stage) by(2, ...share(stage, event.clientX, event.clientY));
    });
    apply();
    return { by, move, reset };
  };
})();

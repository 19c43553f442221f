// A scatter plot as inline SVG: axes, intervals, marks of a family's shape, labels that keep clear of each other.
"use strict";

(function () {
  const { svg } = lactok;
  const WIDE = [860, 500];
  const NARROW = [340, 380]; // for a phone
  const EDGE = { left: 66, right: 16, top: 20, bottom: 58 };
  const SHAPES = [
    "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0z", // circle
    "M-5.5,-5.5h11v11h-11z", // square
    "M0,-7.2L6.6,5.2H-6.6z", // triangle
    "M0,-7.5L7.5,0L0,7.5L-7.5,0z", // diamond
    "M-2.2,-7h4.4v4.8h4.8v4.4h-4.8v4.8h-4.4v-4.8h-4.8v-4.4h4.8z", // plus
    "M0,7.2L6.6,-5.2H-6.6z", // triangle down
  ];

  /** The mark of the i-th family, as in the plot and its legend. */
  lactok.mark = (i, hollow) =>
    svg("path", { d: SHAPES[i % SHAPES.length], class: `mark series-${i % 8}${hollow ? " hollow" : ""}` });

  /**
   * points: {x, y, interval: [low, high] or null, series, hollow, name, label, line: those of one are joined};
   * axes x, y: {title, log, format}.
   * title and description are for screen readers.
   */
  lactok.plot = (points, { x, y, title, description }) => {
    const [width, height] = matchMedia("(max-width: 40rem)").matches ? NARROW : WIDE;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "group", "aria-label": `${title}. ${description}` },
      svg("title", {}, title), svg("desc", {}, description));
    const across = scale(points.map((p) => p.x), x.log, EDGE.left, width - EDGE.right);
    const heights = points.flatMap((p) => (p.interval ? [p.y, ...p.interval] : [p.y]));
    const up = scale(heights, y.log, height - EDGE.bottom, EDGE.top);
    root.append(axes(across, up, x, y, width, height));
    const placed = points.map((p) => ({ ...p, at: [across.at(p.x), up.at(p.y)], ends: p.interval && p.interval.map(up.at) }));
    root.append(lines(placed));
    for (const p of placed) if (p.ends) root.append(bar(p.at[0], ...p.ends, p.series));
    root.append(names(placed, width, height));
    const hint = tooltip(width, height);
    for (const p of placed) {
      const mark = svg("g", { class: "point", tabindex: "0", role: "img", "aria-label": p.label.join(", "), transform: `translate(${p.at[0]},${p.at[1]})` },
        svg("circle", { r: 15, class: "reach" }), lactok.mark(p.series, p.hollow));
      for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, () => hint.show(p));
      for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, hint.hide);
      root.append(mark);
    }
    root.append(hint.element);
    return root;
  };

  /** From values to pixels, with round steps and a margin. */
  function scale(values, log, from, to) {
    const change = log ? Math.log10 : (v) => v;
    let low = Math.min(...values.map(change));
    let high = Math.max(...values.map(change));
    const room = (high - low || Math.abs(high) || 1) * 0.07;
    low -= room;
    high += room;
    const at = (v) => from + ((change(v) - low) / (high - low)) * (to - from);
    const steps = log && high - low > 0.7 ? decades(low, high) : round(log ? 10 ** low : low, log ? 10 ** high : high);
    return { at, steps };
  }

  function decades(low, high) {
    const factors = high - low > 3 ? [1] : high - low > 1.5 ? [1, 3] : [1, 2, 5];
    const steps = [];
    for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
      for (const f of factors) {
        const v = f * 10 ** e;
        if (Math.log10(v) >= low && Math.log10(v) <= high) steps.push(v);
      }
    }
    return steps;
  }

  function round(low, high) {
    const raw = (high - low) / 6;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((f) => f * unit).find((s) => s >= raw);
    const steps = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) steps.push(Number((i * step).toPrecision(12)));
    return steps;
  }

  function axes(across, up, x, y, width, height) {
    const bottom = height - EDGE.bottom;
    const group = svg("g", { class: "axes", "aria-hidden": "true" });
    let free = 0; // where the last number ends
    for (const v of across.steps) {
      const at = across.at(v);
      const text = x.format(v);
      const half = text.length * 4 + 4;
      group.append(svg("line", { x1: at, x2: at, y1: EDGE.top, y2: bottom, class: "grid" }));
      if (at - half < free) continue;
      group.append(svg("text", { x: at, y: bottom + 20, "text-anchor": "middle" }, text));
      free = at + half;
    }
    for (const v of up.steps) {
      const at = up.at(v);
      group.append(svg("line", { x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at, class: "grid" }),
        svg("text", { x: EDGE.left - 10, y: at + 4, "text-anchor": "end" }, y.format(v)));
    }
    group.append(svg("path", { d: `M${EDGE.left},${EDGE.top}V${bottom}H${width - EDGE.right}`, class: "axis" }),
      svg("text", { x: (EDGE.left + width - EDGE.right) / 2, y: height - 12, "text-anchor": "middle", class: "axis-title" }, x.title),
      svg("text", { transform: `translate(18,${(EDGE.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis-title" }, y.title));
    return group;
  }

  /** Joins the settings of one tokenizer, from left to right. */
  function lines(points) {
    const group = svg("g", { "aria-hidden": "true" });
    for (const name of lactok.unique(points.map((p) => p.line))) {
      const own = points.filter((p) => p.line === name).sort((a, b) => a.at[0] - b.at[0]);
      if (own.length > 1) group.append(svg("path", { d: `M${own.map((p) => p.at.join(",")).join("L")}`, class: `joined series-${own[0].series % 8}` }));
    }
    return group;
  }

  function bar(x, low, high, series) {
    return svg("path", { d: `M${x},${low}V${high}M${x - 4},${low}h8M${x - 4},${high}h8`, class: `interval series-${series % 8}`, "aria-hidden": "true" });
  }

  /** Names beside their marks where they fit: right, left, above or below, clear of the intervals where that can be. */
  function names(points, width, height) {
    const group = svg("g", { class: "names", "aria-hidden": "true" });
    const taken = points.map((p) => [p.at[0] - 8, p.at[1] - 8, p.at[0] + 8, p.at[1] + 8]);
    const bars = points.filter((p) => p.ends).map((p) => [p.at[0] - 4, Math.min(...p.ends), p.at[0] + 4, Math.max(...p.ends)]);
    const meets = (box, others) => others.some((t) => t[0] < box[2] && t[2] > box[0] && t[1] < box[3] && t[3] > box[1]);
    for (const p of points) {
      const [x, y] = p.at;
      const text = p.name.length > 26 ? `${p.name.slice(0, 25)}…` : p.name;
      const long = text.length * 6.8;
      const places = [["start", 12, 4, 12], ["end", -12, 4, -12 - long], ["middle", 0, -14, -long / 2], ["middle", 0, 22, -long / 2]];
      const free = places.map(([anchor, dx, dy, left]) => ({ anchor, dx, dy, box: [x + left, y + dy - 11, x + left + long, y + dy + 3] }))
        .filter(({ box }) => box[0] > EDGE.left && box[2] < width - 4 && box[1] > 4 && box[3] < height - EDGE.bottom && !meets(box, taken));
      const best = free.find(({ box }) => !meets(box, bars)) || free[0];
      if (best) {
        taken.push(best.box);
        group.append(svg("text", { x: x + best.dx, y: y + best.dy, "text-anchor": best.anchor }, text));
      }
    }
    return group;
  }

  function tooltip(width, height) {
    const box = svg("rect", { rx: 6, class: "hint-box" });
    const text = svg("text", { class: "hint-text" });
    const group = svg("g", { class: "hint", "aria-hidden": "true", visibility: "hidden" }, box, text);
    return {
      element: group,
      show(point) {
        const wide = Math.max(...point.label.map((l) => l.length)) * 7.2 + 24;
        const tall = point.label.length * 19 + 14;
        const left = Math.max(4, Math.min(point.at[0] + 14, width - wide - 4));
        const top = point.at[1] - tall - 12 > 4 ? point.at[1] - tall - 12 : Math.min(point.at[1] + 14, height - tall - 4);
        text.replaceChildren(...point.label.map((l, i) =>
          svg("tspan", { x: left + 12, y: top + 22 + i * 19, class: i ? null : "strong" }, l)));
        for (const [k, v] of Object.entries({ x: left, y: top, width: wide, height: tall })) box.setAttribute(k, v);
        group.setAttribute("visibility", "visible");
      },
      hide: () => group.setAttribute("visibility", "hidden"),
    };
  }
})();

// A scatter plot as inline SVG. D3 (vendor/d3.js) gives the scales, their ticks, the symbols and the joined lines.
"use strict";

(function () {
  const { svg } = lactok;
  const DESKTOP = { width: 860, height: 500 };
  const PHONE = { width: 340, height: 380 };
  const MARGIN = { left: 66, right: 24, top: 20, bottom: 58 };
  const TICKS_APART = { x: 80, y: 60 }; // pixels, about: D3 takes round values
  const ROOM = 0.07; // of an axis, left free at both of its ends
  const SYMBOL_AREA = 110; // square pixels
  const [circle, cross, , square, star, triangle] = d3.symbolsFill;
  // The marks of the families, as `MARKERS` of reports/families.py has them; `turn` is in degrees.
  const MARKS = [
    { shape: circle, turn: 0 },
    { shape: square, turn: 0 },
    { shape: triangle, turn: 0 },
    { shape: square, turn: 45 },
    { shape: star, turn: 0 },
    { shape: cross, turn: 0 },
    { shape: triangle, turn: 180 },
    { shape: cross, turn: 45 },
    { shape: triangle, turn: -90 },
    { shape: triangle, turn: 90 },
  ];
  const LETTER_WIDTH = 6.8; // pixels, on average
  const LETTER_WIDTH_PHONE = 6; // of the smaller letters of names
  const LONGEST_NAME = 26; // letters; longer names are cut, and the hint has the whole
  // Where a name may stand, seen from its mark, the best first; `before` is the share of it left of its anchor.
  const BESIDE = [
    { anchor: "start", before: 0, x: 12, y: 4 },
    { anchor: "end", before: 1, x: -12, y: 4 },
    { anchor: "middle", before: 0.5, x: 0, y: -14 },
    { anchor: "middle", before: 0.5, x: 0, y: 22 },
  ];
  // Farther away, where there is no room beside the mark: a line leads to the name.
  const AWAY = [24, 40, 56, 72, 96, 120, 150, 180].flatMap((y) => [0, 30, 60].flatMap((x) => [
    { anchor: "start", before: 0, x: 14 + x, y: 4 - y, line: true },
    { anchor: "start", before: 0, x: 14 + x, y: 4 + y, line: true },
    { anchor: "end", before: 1, x: -14 - x, y: 4 - y, line: true },
    { anchor: "end", before: 1, x: -14 - x, y: 4 + y, line: true },
  ]));

  const colour = (look) => `series-${look.colour}`;

  /** The mark of a family by its look, {colour, mark}, for plot, legend and tables. `hollow` marks are not filled. */
  lactok.mark = (look, hollow) => {
    const { shape, turn } = MARKS[look.mark];
    const outline = d3.symbol(shape, SYMBOL_AREA)();
    const transform = turn ? `rotate(${turn})` : null;
    return svg("path", { d: outline, transform, class: `mark ${colour(look)}${hollow ? " hollow" : ""}` });
  };

  /** The mark of a row's family as a small picture before its name. */
  lactok.familyMark = (row) => {
    const attributes = { viewBox: "-9 -9 18 18", width: 16, height: 16, class: "family", role: "img" };
    return svg("svg", { ...attributes, "aria-label": row.family }, svg("title", {}, row.family), lactok.mark(row.look));
  };

  /**
   * Draws points as SVG, with a hint over it; returns the element of both.
   *
   * points: a list of {x, y, interval, look, hollow, name, label, line}. `interval` is [low, high] of y, or null;
   *   `look` is that of the family; `name` is written beside the mark; `label` is a list of lines, told by
   *   the hint and to screen readers; points with the same `line` are joined.
   * axes: {x: {title, log, format}, y: {title}}. `format` writes a number of the axis as text.
   * title, description: of the plot, for screen readers.
   */
  lactok.plot = (points, axes, title, description) => {
    const { width, height } = matchMedia("(max-width: 40rem)").matches ? PHONE : DESKTOP;
    const { left, top } = MARGIN;
    const area = { left, right: width - MARGIN.right, top, bottom: height - MARGIN.bottom, width, height };
    const xs = points.map((point) => point.x);
    const ys = points.flatMap((point) => [point.y, ...(point.interval || [])]);
    const xScale = makeScale(xs, axes.x.log, area.left, area.right);
    const yScale = makeScale(ys, false, area.bottom, area.top);
    const placed = points.map((point) => ({
      ...point,
      at: { x: xScale(point.x), y: yScale(point.y) },
      bar: point.interval && { low: yScale(point.interval[0]), high: yScale(point.interval[1]) },
    }));
    const hint = makeHint(area);
    const label = `${title}. ${description}`;
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "group", "aria-label": label },
      svg("title", {}, title),
      svg("desc", {}, description),
      drawAxes(xScale, yScale, axes, area),
      drawLines(placed),
      placed.filter((point) => point.bar).map(drawInterval),
      drawNames(placed, area, width === PHONE.width ? LETTER_WIDTH_PHONE : LETTER_WIDTH),
      placed.map((point) => drawPoint(point, hint)));
    return lactok.element("div", { class: "plot-frame" }, drawing, hint.element);
  };

  /** A D3 scale from values to the pixels `from` to `to`, with some room beyond the lowest and the highest value. */
  function makeScale(values, log, from, to) {
    let [low, high] = d3.extent(values);
    if (low === high) {
      const half = Math.abs(low) * ROOM || 1; // a single value stands in the middle
      low -= half;
      high += half;
    }
    const scale = (log ? d3.scaleLog() : d3.scaleLinear()).domain([low, high]).range([from, to]);
    const room = ROOM * (to - from);
    return scale.domain([scale.invert(from - room), scale.invert(to + room)]);
  }

  function drawAxes(xScale, yScale, axes, area) {
    const { left, right, top, bottom } = area;
    const xCount = (right - left) / TICKS_APART.x;
    const yCount = (bottom - top) / TICKS_APART.y;
    const xTicks = xScale.ticks(xCount);
    const xText = axes.x.format;
    const yText = yScale.tickFormat(yCount);
    return svg("g", { class: "axes", "aria-hidden": "true" },
      xTicks.map((value) => svg("line", { x1: xScale(value), x2: xScale(value), y1: top, y2: bottom, class: "grid" })),
      numbered(xTicks, xCount, xScale, axes.x).map((value) =>
        svg("text", { x: xScale(value), y: bottom + 20, "text-anchor": "middle" }, xText(value))),
      yScale.ticks(yCount).map((value) => [
        svg("line", { x1: left, x2: right, y1: yScale(value), y2: yScale(value), class: "grid" }),
        svg("text", { x: left - 10, y: yScale(value) + 4, "text-anchor": "end" }, yText(value)),
      ]),
      svg("path", { d: `M${left},${top}V${bottom}H${right}`, class: "axis" }),
      axisTitle(axes.x.title, `translate(${(left + right) / 2},${area.height - 12})`),
      axisTitle(axes.y.title, `translate(18,${(top + bottom) / 2}) rotate(-90)`));
  }

  function axisTitle(text, transform) {
    return svg("text", { transform, "text-anchor": "middle", class: "axis-title" }, text);
  }

  /** The ticks of the horizontal axis that get a number, so that the numbers keep clear of each other. */
  function numbered(ticks, count, scale, { log, format }) {
    // A logarithmic scale leaves the text of its less round ticks empty, sometimes of all.
    const round = log ? ticks.filter(scale.tickFormat(count, format)) : ticks;
    let end = -Infinity; // of the number before, in pixels
    return (round.length > 1 ? round : ticks).filter((value) => {
      const half = (format(value).length * LETTER_WIDTH) / 2;
      const hasRoom = scale(value) - half > end + LETTER_WIDTH;
      if (hasRoom) end = scale(value) + half;
      return hasRoom;
    });
  }

  /** Joins the points of each line, from left to right. */
  function drawLines(points) {
    const path = d3.line((point) => point.at.x, (point) => point.at.y);
    const lines = [...Map.groupBy(points, (point) => point.line).values()].filter((line) => line.length > 1);
    return svg("g", { "aria-hidden": "true" }, lines.map((line) =>
      svg("path", { d: path(line.toSorted((a, b) => a.at.x - b.at.x)), class: `joined ${colour(line[0].look)}` })));
  }

  function drawInterval({ at, bar, look }) {
    const outline = `M${at.x},${bar.low}V${bar.high}M${at.x - 4},${bar.low}h8M${at.x - 4},${bar.high}h8`;
    return svg("path", { d: outline, class: `interval ${colour(look)}`, "aria-hidden": "true" });
  }

  /**
   * Writes every name beside its mark: clear of the marks and of each other, and of the intervals where that can be;
   * where there is no room, farther away with a line to it.
   */
  function drawNames(points, area, letter) {
    const taken = points.map(({ at }) => ({ left: at.x - 8, right: at.x + 8, top: at.y - 8, bottom: at.y + 8 }));
    const bars = points.filter((point) => point.bar)
      .map(({ at, bar }) => ({ left: at.x - 4, right: at.x + 4, top: bar.high, bottom: bar.low }));
    const group = svg("g", { class: "names", "aria-hidden": "true" });
    for (const point of points) {
      const { at, name, look } = point;
      const text = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
      const boxed = (places) => places.map((place) => ({ ...place, box: boxOfName(at, place, text.length * letter) }));
      const free = (places) => boxed(places).filter(({ box }) => isInside(box, area) && !meetsAny(box, taken));
      const possible = free(BESIDE);
      const clear = possible.find(({ box }) => !meetsAny(box, bars));
      const best = clear || possible[0] || free(AWAY)[0] || leastCovered(boxed([...BESIDE, ...AWAY]), area, taken);
      taken.push(best.box);
      if (best.line) {
        const end = `${at.x + best.x - 3 * Math.sign(best.x)},${at.y + best.y - 4}`;
        group.append(svg("path", { d: `M${at.x},${at.y}L${end}`, class: `leader ${colour(look)}` }));
      }
      group.append(svg("text", { x: at.x + best.x, y: at.y + best.y, "text-anchor": best.anchor }, text));
    }
    return group;
  }

  /** Of places that all cover something, the one that covers the least, if it can be within the plot. */
  function leastCovered(places, area, taken) {
    const cost = ({ box }) => taken.filter((other) => meetsAny(box, [other])).length + (isInside(box, area) ? 0 : 100);
    return places.reduce((best, place) => (cost(place) < cost(best) ? place : best));
  }

  function boxOfName(at, place, width) {
    const left = at.x + place.x - place.before * width;
    return { left, right: left + width, top: at.y + place.y - 11, bottom: at.y + place.y + 3 };
  }

  function isInside(box, area) {
    return box.left > area.left && box.right < area.width - 4 && box.top > 4 && box.bottom < area.bottom;
  }

  function meetsAny(box, others) {
    return others.some((other) =>
      other.left < box.right && other.right > box.left && other.top < box.bottom && other.bottom > box.top);
  }

  /** A mark that takes the focus, is read by screen readers, and shows the hint. */
  function drawPoint(point, hint) {
    const show = () => hint.show(point);
    return svg("g", {
      class: "point", tabindex: "0", role: "img", "aria-label": point.label.join(", "),
      transform: `translate(${point.at.x},${point.at.y})`,
      onpointerenter: show, onfocus: show, onpointerleave: hint.hide, onblur: hint.hide,
    },
    svg("circle", { r: 15, class: "reach" }),
    lactok.mark(point.look, point.hollow));
  }

  /** The box that tells a point's values, over the plot; it is hidden until it is shown. */
  function makeHint(area) {
    const box = lactok.element("div", { class: "hint", "aria-hidden": "true", hidden: true });
    return {
      element: box,
      show({ at, label }) {
        box.replaceChildren(...label.map((line) => lactok.element("div", {}, line)));
        // From the left edge of the plot to the right one, the box goes from right of the point to left of it.
        const share = (100 * at.x) / area.width;
        const away = at.y > area.height / 3 ? "calc(-100% - 14px)" : "14px";
        box.style.left = `${share}%`;
        box.style.top = `${(100 * at.y) / area.height}%`;
        box.style.transform = `translate(${-share}%, ${away})`;
        box.hidden = false;
      },
      hide() {
        box.hidden = true;
      },
    };
  }
})();

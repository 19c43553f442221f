// The picture viewer: a photograph and every tokenizer's reconstruction of it.
"use strict";

lactok.views.pictures = function (data) {
  const { element } = lactok;
  const view = element("div", {}, element("h1", {}, "Pictures"));
  if (!data.groups.length) {
    view.append(lactok.nothing("No pictures were stored yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  const metrics = data.metrics.filter((m) => m.perImage);
  const rowsOf = (group) => data.rows.filter((r) => r.group === group.key && group.samples.some((s) => s.rows[r.key]));
  let group = data.groups[0];
  let rows = rowsOf(group);
  let row = rows[0];
  let samples = group.samples;
  let at = 0;
  let mode = "side";
  let wipe = 50;
  const left = new Set(); // rows that are not shown

  const grid = element("div", { class: "frames" });
  const viewer = element("section", { class: "viewer", tabindex: "-1", "aria-label": "Viewer" });
  const groups = lactok.select("Data set", data.groups.map((g, i) => [String(i), g.title]), (i) => open(data.groups[i]));
  const tokenizers = lactok.select("Tokenizer", [], (key) => choose(rows.find((r) => r.key === key)));
  const order = lactok.select("Samples", [["", "by name"], ...metrics.flatMap((m) => [[`worst ${m.key}`, `worst ${m.title} first`], [`best ${m.key}`, `best ${m.title} first`]])], () => {
    arrange();
    at = 0;
    draw();
  });
  const title = element("h2", { class: "sample" });
  const caption = element("p", { class: "about" });
  const notice = element("p", { class: "notice" });
  const strip = element("div", { class: "strip", role: "group", "aria-label": "Samples" });
  const chips = element("div", { class: "legend", role: "group", "aria-label": "Tokenizers shown" });
  const count = element("summary", {});
  const choice = element("details", { class: "choice" }, count, chips);
  const modes = [["side", "Side by side"], ["wipe", "Wipe"], ["error", "Error map"]]
    .map(([key, text]) => lactok.button(text, () => setMode(key), { class: "chip", "data-mode": key }));
  const gain = lactok.slider("Brightness", [1, 16, 1], 2, (v) => viewer.style.setProperty("--gain", v), (v) => `× ${v}`);
  const level = element("output", { class: "level" });
  const zoom = lactok.zoom(grid, (z) => {
    level.textContent = `${Math.round(z * 100)} %`;
  });
  viewer.append(
    element("div", { class: "controls" }, data.groups.length > 1 && groups.element, tokenizers.element, order.element),
    element("div", { class: "bar" },
      element("div", { class: "chips", role: "group", "aria-label": "Comparison" }, modes),
      element("div", { class: "chips", role: "group", "aria-label": "Zoom" },
        lactok.button("−", () => zoom.by(1 / 1.5), { "aria-label": "Zoom out" }), level,
        lactok.button("+", () => zoom.by(1.5), { "aria-label": "Zoom in" }), lactok.button("Reset", zoom.reset)),
      gain.element),
    element("div", { class: "bar step" }, lactok.button("‹", () => step(-1), { "aria-label": "Previous sample" }), title,
      lactok.button("›", () => step(1), { "aria-label": "Next sample" })),
    caption, strip, choice, notice, grid,
    element("p", { class: "about" }, "Keys: ← → sample, ↑ ↓ tokenizer, + − 0 zoom, Shift and arrows move, w wipe, e error map, ? help."));
  viewer.style.setProperty("--gain", 2);
  viewer.addEventListener("keydown", keys);
  view.append(viewer);
  open(group);
  view.shown = (parameters) => {
    if (parameters.has("sample")) goTo(parameters.get("row"), parameters.get("sample"));
    viewer.focus({ preventScroll: true });
  };
  return view;

  function open(next) {
    group = next;
    rows = rowsOf(group);
    row = rows.includes(row) ? row : rows[0];
    tokenizers.options(rows.map((r) => [r.key, r.name]), row.key);
    chips.replaceChildren(...rows.map(chip));
    at = 0;
    zoom.reset();
    arrange();
    draw();
  }

  function goTo(key, sample) {
    const wanted = data.rows.find((r) => r.key === key);
    const its = wanted && data.groups.find((g) => g.key === wanted.group);
    if (!its) return;
    order.value = "";
    row = wanted;
    groups.value = String(data.groups.indexOf(its));
    open(its);
    at = Math.max(0, samples.findIndex((s) => s.id === sample));
    draw();
  }

  /** The samples in the order asked for, which is the current tokenizer's. */
  function arrange() {
    const [end, key] = order.value.split(" ");
    const metric = metrics.find((m) => m.key === key);
    if (!metric) {
      samples = group.samples;
    } else {
      const sign = (metric.better === "higher") === (end === "worst") ? 1 : -1;
      const value = (s) => s.rows[row.key].scores[metric.key];
      samples = group.samples.filter((s) => s.rows[row.key] && value(s) !== null && value(s) !== undefined)
        .sort((a, b) => sign * (value(a) - value(b)));
      if (!samples.length) samples = group.samples;
    }
    strip.replaceChildren(...samples.map((s, i) => {
      const small = s.photo || Object.values(s.rows)[0];
      return lactok.button(element("img", { src: small.thumb, alt: s.id, width: 64, height: 64, loading: "lazy" }), () => {
        at = i;
        draw();
      }, { title: s.id });
    }));
  }

  function draw() {
    const sample = samples[at];
    const bare = !sample.photo;
    const made = sample.rows[row.key];
    title.textContent = `${sample.id} (${at + 1} of ${samples.length})`;
    caption.textContent = sample.caption || "";
    caption.hidden = !sample.caption;
    const lacking = bare ? "No photograph of this sample was stored, so there is nothing to compare with; the same python -m benchmarks.recon again stores it."
      : mode === "wipe" && !made ? `${row.name} has no picture of this sample.` : "";
    notice.textContent = lacking;
    notice.hidden = !lacking;
    const shown = rows.filter((r) => !left.has(r.key));
    const now = bare || (mode === "wipe" && !made) ? "side" : mode;
    grid.dataset.mode = now;
    grid.replaceChildren(...(now === "wipe"
      ? [lactok.wipeFrame(sample, row, metrics, wipe, (v) => { wipe = v; })]
      : [...(bare ? [] : [lactok.photoFrame(sample)]), ...shown.map((r) => frame(sample, r, now))]));
    for (const button of modes) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
      button.disabled = bare && button.dataset.mode !== "side";
    }
    gain.element.hidden = now !== "error";
    tokenizers.value = row.key;
    [...strip.children].forEach((b, i) => b.setAttribute("aria-current", String(i === at)));
    const current = strip.children[at];
    strip.scrollLeft = current.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + 32;
    count.textContent = `Tokenizers shown: ${shown.length} of ${rows.length}`;
    [...chips.children].forEach((b, i) => b.setAttribute("aria-pressed", String(!left.has(rows[i].key))));
    const said = made ? metrics.filter((m) => made.scores[m.key] !== undefined).map((m) => `${m.title} ${lactok.score(m, made.scores[m.key])}`) : ["no picture"];
    lactok.say(`sample ${at + 1} of ${samples.length}, ${sample.id}; ${row.name}: ${said.join(", ")}`);
  }

  function frame(sample, r, now) {
    const made = lactok.rowFrame(sample, r, metrics, now, { class: `frame${r === row ? " current" : ""}`, "aria-current": r === row ? "true" : null });
    made.addEventListener("click", () => {
      if (r !== row && made.isConnected) choose(r);
    });
    return made;
  }

  function chip(r) {
    return lactok.button(r.name, () => {
      if (!left.delete(r.key)) left.add(r.key);
      draw();
    }, { class: "chip" });
  }

  function choose(next) {
    const sample = samples[at];
    row = next;
    left.delete(row.key);
    if (order.value) {
      arrange();
      at = Math.max(0, samples.indexOf(sample));
    }
    draw();
  }

  function step(by) {
    at = (at + by + samples.length) % samples.length;
    draw();
  }

  function setMode(next) {
    mode = mode === next ? "side" : next;
    draw();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    const turn = (by) => choose(rows[(rows.indexOf(row) + by + rows.length) % rows.length]);
    const plain = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1),
      "+": () => zoom.by(1.5), "=": () => zoom.by(1.5), "-": () => zoom.by(1 / 1.5), 0: zoom.reset,
      w: () => setMode("wipe"), e: () => setMode("error"),
    };
    const shifted = {
      ArrowLeft: () => zoom.move(0.1, 0), ArrowRight: () => zoom.move(-0.1, 0),
      ArrowUp: () => zoom.move(0, 0.1), ArrowDown: () => zoom.move(0, -0.1), "+": plain["+"],
    };
    const action = (event.shiftKey ? shifted : plain)[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
};

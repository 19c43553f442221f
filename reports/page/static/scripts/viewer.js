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
  let group = groupOfSet() || data.groups[0];
  let rows = rowsOf(group);
  let row = rows[0];
  let samples = group.samples;
  let at = 0; // the number of the sample that is shown, in `samples`
  let mode = "side"; // or "wipe" or "error"
  let wipe = 50; // percent of the picture that are photograph
  const hiddenRows = new Set(); // their keys

  const grid = element("div", { class: "frames" });
  const viewer = element("section", { class: "viewer", tabindex: "-1", "aria-label": "Viewer" });
  const groups = lactok.select("Data set", data.groups.map((each, i) => [String(i), each.title]), (i) => {
    open(data.groups[i]);
    lactok.chooseSet(rows[0].set); // the other views follow
  }, String(data.groups.indexOf(group)));
  const tokenizers = lactok.select("Tokenizer", [], (key) => choose(rows.find((each) => each.key === key)));
  const orders = [
    ["", "of most tokenizers"],
    ["all", "all, by name"],
    ...metrics.flatMap((metric) => [
      [`worst ${metric.key}`, `worst ${metric.title} first`],
      [`best ${metric.key}`, `best ${metric.title} first`],
    ]),
  ];
  const order = lactok.select("Samples", orders, () => {
    arrange();
    at = 0;
    draw();
  });
  const title = element("h2", { class: "sample" });
  const caption = element("p", { class: "about" });
  const notice = element("p", { class: "notice" });
  const without = element("p", { class: "about" });
  const strip = element("div", { class: "strip", role: "group", "aria-label": "Samples" });
  const chips = element("div", { class: "legend", role: "group", "aria-label": "Tokenizers shown" });
  const count = element("summary", {});
  const choice = element("details", { class: "choice" }, count, chips);
  const modes = [["side", "Side by side"], ["wipe", "Wipe"], ["error", "Error map"]]
    .map(([key, text]) => lactok.button(text, () => setMode(key), { class: "chip", "data-mode": key }));
  const setGain = (value) => viewer.style.setProperty("--gain", value);
  const gain = lactok.slider("Brightness", [1, 16, 1], 2, setGain, (value) => `× ${value}`);
  const level = element("output", { class: "level" });
  const zoom = lactok.zoom(grid, (factor) => {
    level.textContent = `${Math.round(factor * 100)} %`;
  });
  viewer.append(
    element("div", { class: "controls compact" },
      data.groups.length > 1 && groups.element, tokenizers.element, order.element,
      element("div", { class: "chips", role: "group", "aria-label": "Comparison" }, modes),
      element("div", { class: "chips", role: "group", "aria-label": "Zoom" },
        lactok.button("−", () => zoom.by(1 / 1.5), { "aria-label": "Zoom out" }), level,
        lactok.button("+", () => zoom.by(1.5), { "aria-label": "Zoom in" }), lactok.button("Reset", zoom.reset)),
      gain.element),
    element("div", { class: "bar step" },
      lactok.button("‹", () => stepSample(-1), { "aria-label": "Previous sample" }), title,
      lactok.button("›", () => stepSample(1), { "aria-label": "Next sample" }), strip),
    caption, notice, grid, without, choice,
    element("p", { class: "about" },
      "Keys: ← → sample, ↑ ↓ tokenizer, + − 0 zoom, Shift and arrows move, w wipe, e error map, ? help."));
  // What is shown stands in the address whole, since what is shown at first changes with the results.
  const address = lactok.address("pictures", () => {});
  const shownNow = {
    row: () => row.key,
    sample: () => samples[at].id,
    order: () => order.value,
    mode: () => mode,
    hidden: () => [...hiddenRows].sort().join(","),
  };
  for (const [name, value] of Object.entries(shownNow)) address.keep(name, { get value() { return value(); } }, null);
  setGain(2);
  viewer.addEventListener("keydown", keys);
  view.append(viewer);
  open(group);
  lactok.followSet(() => {
    const next = groupOfSet();
    if (!next || next === group) return;
    groups.value = String(data.groups.indexOf(next));
    open(next);
  });
  view.shown = (parameters) => {
    if (parameters.has("sample")) goTo(parameters);
    address.write();
    viewer.focus({ preventScroll: true });
  };
  return view;

  /** The group of pictures of the chosen set, if it has pictures. */
  function groupOfSet() {
    const keys = lactok.rowsOfSet(data).map((each) => each.group);
    return data.groups.find((each) => keys.includes(each.key));
  }

  /** The tokenizers with pictures of these samples. */
  function rowsOf(those) {
    return data.rows.filter((each) =>
      each.group === those.key && those.samples.some((sample) => sample.rows[each.key]));
  }

  /** Shows another group: the pictures of another data set. */
  function open(next) {
    group = next;
    rows = rowsOf(group);
    row = rows.includes(row) ? row : rows[0];
    tokenizers.options(rows.map((each) => [each.key, each.name]), row.key);
    chips.replaceChildren(...rows.map(makeChip));
    at = 0;
    zoom.reset();
    arrange();
    draw();
  }

  /** Shows what an address names: a sample of a tokenizer; nothing happens if there is no such tokenizer. */
  function goTo(parameters) {
    const wanted = data.rows.find((each) => each.key === parameters.get("row"));
    const itsGroup = wanted && data.groups.find((each) => each.key === wanted.group);
    if (!itsGroup) return;
    order.value = parameters.get("order") ?? "all";
    const itsMode = parameters.get("mode");
    if (modes.some((button) => button.dataset.mode === itsMode)) mode = itsMode;
    if (parameters.has("hidden")) {
      const keys = parameters.get("hidden").split(",");
      hiddenRows.clear();
      for (const { key } of data.rows) if (keys.includes(key)) hiddenRows.add(key);
    }
    row = wanted;
    lactok.chooseSet(row.set);
    groups.value = String(data.groups.indexOf(itsGroup));
    open(itsGroup);
    const find = () => samples.findIndex((sample) => sample.id === parameters.get("sample"));
    if (find() < 0) {
      order.value = "all";
      arrange();
    }
    at = Math.max(0, find());
    draw();
  }

  /** Puts the samples that were asked for in their order; worst and best are the current tokenizer's. */
  function arrange() {
    const [end, key] = order.value.split(" ");
    const metric = metrics.find((each) => each.key === key);
    if (metric) samples = sortedBy(metric, end);
    else samples = end === "all" ? group.samples : lactok.ofMost(group.samples, rows);
    if (!samples.length) samples = group.samples;
    strip.replaceChildren(...samples.map((sample, i) => {
      const small = sample.photo || Object.values(sample.rows)[0];
      const show = () => {
        at = i;
        draw();
      };
      const thumbnail = element("img", { src: small.thumb, alt: sample.id, width: 64, height: 64, loading: "lazy" });
      return lactok.button(thumbnail, show, { title: sample.id });
    }));
  }

  /** end: "worst" or "best", which comes first. */
  function sortedBy(metric, end) {
    const ascending = (metric.better === "higher") === (end === "worst");
    const score = (sample) => sample.rows[row.key].scores[metric.key] ?? null;
    return group.samples
      .filter((sample) => sample.rows[row.key] && score(sample) !== null)
      .sort((a, b) => (ascending ? score(a) - score(b) : score(b) - score(a)));
  }

  /** Shows the current sample and tokenizer in the current mode. */
  function draw() {
    const sample = samples[at];
    const made = sample.rows[row.key]; // the current tokenizer's picture, if there is one
    const wanted = rows.filter((each) => !hiddenRows.has(each.key));
    const absent = wanted.filter((each) => !sample.rows[each.key]);
    const lacking = whatIsLacking(sample);
    const shownMode = lacking ? "side" : mode;
    title.textContent = `${sample.id} (${at + 1} of ${samples.length})`;
    caption.textContent = sample.caption || "";
    caption.hidden = !sample.caption;
    notice.textContent = lacking;
    notice.hidden = !lacking;
    without.textContent = `Without a picture of this sample: ${absent.map((each) => each.name).join(", ")}.`;
    without.hidden = !absent.length;
    gain.element.hidden = shownMode !== "error";
    tokenizers.value = row.key;
    drawFrames(sample, wanted, shownMode);
    for (const button of modes) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
      button.disabled = !sample.photo && button.dataset.mode !== "side";
    }
    count.textContent = `Tokenizers shown: ${wanted.length} of ${rows.length}`;
    [...chips.children].forEach((button, i) => {
      button.setAttribute("aria-pressed", String(!hiddenRows.has(rows[i].key)));
    });
    markInStrip();
    const scores = made ? lactok.scores(made, metrics).join(", ") : "no picture";
    lactok.say(`sample ${at + 1} of ${samples.length}, ${sample.id}; ${row.name}: ${scores}`);
    address.write();
  }

  /** Why the sample cannot be shown in the current mode, or an empty text. */
  function whatIsLacking(sample) {
    if (!sample.photo) {
      return "No photograph of this sample was stored, so there is nothing to compare with;"
        + " the same python -m benchmarks.recon again stores it.";
    }
    if (mode === "wipe" && !sample.rows[row.key]) return `${row.name} has no picture of this sample.`;
    return "";
  }

  function drawFrames(sample, wanted, shownMode) {
    grid.dataset.mode = shownMode;
    if (shownMode === "wipe") {
      grid.style.setProperty("--aspect", sample.photo.width / sample.photo.height);
      grid.replaceChildren(lactok.wipeFrame(sample, row, metrics, wipe, (value) => { wipe = value; }));
      return;
    }
    const shown = wanted.filter((each) => sample.rows[each.key] || each === row);
    const frames = shown.map((each) => drawFrame(sample, each, shownMode));
    if (sample.photo) frames.unshift(lactok.photoFrame(sample));
    grid.replaceChildren(...frames);
  }

  /** A click on a tokenizer's picture chooses the tokenizer. */
  function drawFrame(sample, its, shownMode) {
    const isCurrent = its === row;
    const attributes = { class: isCurrent ? "frame current" : "frame", "aria-current": isCurrent ? "true" : null };
    const frame = lactok.rowFrame(sample, its, metrics, shownMode, attributes);
    frame.addEventListener("click", () => {
      if (its !== row && frame.isConnected) choose(its);
    });
    return frame;
  }

  /** Marks the current sample among the small pictures and scrolls it into their middle. */
  function markInStrip() {
    [...strip.children].forEach((button, i) => button.setAttribute("aria-current", String(i === at)));
    const current = strip.children[at];
    strip.scrollLeft = current.offsetLeft - strip.offsetLeft + current.offsetWidth / 2 - strip.clientWidth / 2;
  }

  /** The button that shows or hides a tokenizer. */
  function makeChip(its) {
    const toggle = () => {
      if (!hiddenRows.delete(its.key)) hiddenRows.add(its.key);
      draw();
    };
    return lactok.button(its.name, toggle, { class: "chip" });
  }

  /** Makes another tokenizer the current one; the sample stays. */
  function choose(next) {
    const sample = samples[at];
    row = next;
    hiddenRows.delete(row.key);
    if (order.value) {
      arrange();
      at = Math.max(0, samples.indexOf(sample));
    }
    draw();
  }

  function stepSample(by) {
    at = (at + by + samples.length) % samples.length;
    draw();
  }

  function stepRow(by) {
    choose(rows[(rows.indexOf(row) + by + rows.length) % rows.length]);
  }

  /** The mode that is on already is switched off. */
  function setMode(next) {
    mode = mode === next ? "side" : next;
    draw();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    const plain = {
      ArrowLeft: () => stepSample(-1),
      ArrowRight: () => stepSample(1),
      ArrowUp: () => stepRow(-1),
      ArrowDown: () => stepRow(1),
      "+": () => zoom.by(1.5),
      "=": () => zoom.by(1.5), // the key of + without Shift
      "-": () => zoom.by(1 / 1.5),
      0: zoom.reset,
      w: () => setMode("wipe"),
      e: () => setMode("error"),
    };
    const shifted = {
      ArrowLeft: () => zoom.move(0.1, 0),
      ArrowRight: () => zoom.move(-0.1, 0),
      ArrowUp: () => zoom.move(0, 0.1),
      ArrowDown: () => zoom.move(0, -0.1),
      "+": plain["+"],
    };
    const action = (event.shiftKey ? shifted : plain)[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
};

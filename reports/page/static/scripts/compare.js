// Runs of one data set, each with a first one: paired differences with their intervals and p.
"use strict";

lactok.views.compare = function (data) {
  const { element } = lactok;
  const view = element("div", {}, element("h1", {}, "Compare"));
  const few = "There is nothing to compare: two runs of the same images are needed.";
  if (!data.sets.some((set) => set.comparisons)) {
    view.append(data.rows.length > 1
      ? lactok.nothing("There are no comparisons here, or they would take long to build.",
        "python -m reports compare RUN RUN")
      : lactok.nothing(few, "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  const choice = lactok.setChoice(data, open);
  const first = lactok.select("Compare all with", [], (key) => {
    chosenFirst = key;
    draw();
  });
  const metric = lactok.select("Metric", [], draw);
  const place = element("div", {});
  // By the keys of the first and of the second run, a comparison by the key of the metric; null until they are loaded.
  let compared = null;
  let chosenFirst = ""; // the key of the first run that was asked for, which may not be loaded yet
  const address = lactok.address("compare", draw);
  view.append(element("div", { class: "controls" }, choice, first.element, metric.element), place);
  lactok.keepSet(address, data); // before the others, which another set makes anew
  // Both are always written, since which one stands first changes with the results.
  address.keep("first", {
    get value() { return compared ? first.value : chosenFirst; },
    set value(key) {
      chosenFirst = key;
      first.value = key;
    },
  }, "");
  address.keep("metric", metric, "");
  open();
  view.shown = address.read;
  return view;

  /** Loads the comparisons of the chosen set and shows them, unless another was chosen meanwhile. */
  async function open() {
    const set = lactok.chosenSet(data);
    const rows = lactok.rowsOfSet(data);
    const metrics = data.metrics.filter((each) => rows.some((row) => row.metrics[each.key]));
    metric.options(metrics.map((each) => [each.key, lactok.titleOf(each)]), metric.value);
    compared = null;
    address.write();
    let loaded = {};
    if (set.comparisons) {
      try {
        loaded = await lactok.load(set.comparisons);
      } catch (error) {
        if (set === lactok.chosenSet(data)) place.replaceChildren(lactok.failed(error));
        return;
      }
      if (set !== lactok.chosenSet(data)) return;
    }
    compared = loaded;
    const firsts = rows.filter((row) => compared[row.key]);
    first.options(firsts.map((row) => [row.key, row.name]), chosenFirst);
    draw();
  }

  function draw() {
    address.write();
    if (!compared) return;
    const base = data.rows.find((row) => row.key === first.value);
    if (!base || !compared[base.key]) {
      place.replaceChildren(element("p", { class: "notice" },
        "There are no comparisons of these runs here; python -m reports compare RUN RUN makes them."));
      return;
    }
    const shown = data.metrics.find((each) => each.key === metric.value);
    const others = lactok.rowsOfSet(data)
      .map((row) => ({ row, made: compared[base.key][row.key]?.[shown.key] }))
      .filter(({ made }) => made);
    place.replaceChildren(
      element("h2", {}, `${shown.title}: difference from ${base.name}`),
      others.length
        ? lactok.table(columns(base, shown, others), { caption: `Differences from ${base.name}`, rows: others }).element
        : element("p", { class: "notice" }, `No other run has ${shown.title} too.`),
      notes(base, shown));
    lactok.say(`${others.length} runs compared with ${base.name}`);
  }

  function columns(base, shown, others) {
    const scaled = (value) => (value === null ? null : value * shown.factor);
    const number = (value) => lactok.fixed(scaled(value), shown.digits + 1); // differences are smaller than values
    const signed = (value) => (value > 0 ? "+" : "") + number(value);
    // A row that gives every image back exactly is far from all others; its bar ends at the edge.
    const usual = others.filter(({ row }) => !lactok.isLossless(row));
    const ends = (usual.length ? usual : others).flatMap(({ made }) => [made.difference, ...(made.ci95 || [])]);
    const reach = Math.max(...ends.map(Math.abs)) || 1;
    return [
      {
        title: "Tokenizer", head: true,
        value: ({ row }) => row.name,
        cell: ({ row }) => [lactok.familyMark(row), row.name],
      },
      {
        title: lactok.titleOf(shown), numeric: true, better: shown.better,
        value: ({ made }) => made.second,
        cell: ({ made }) => number(made.second),
      },
      {
        title: "Difference", numeric: true, better: shown.better,
        value: ({ made }) => made.difference,
        cell: ({ made }) => signed(made.difference),
      },
      { title: "", cell: ({ made }) => bar(made, reach) },
      {
        title: "95 % interval", numeric: true,
        cell: ({ made }) => (made.ci95 ? made.ci95.map(signed).join(" to ") : "–"),
      },
      { title: "p", numeric: true, value: ({ made }) => made.p, cell: ({ made }) => chance(made.p) },
      {
        title: "p corrected", hint: "Holm, for all tests with this first run", numeric: true,
        value: ({ made }) => made.corrected,
        cell: ({ made }) => chance(made.corrected),
      },
      { title: "Images", numeric: true, value: ({ made }) => made.n, cell: ({ made }) => lactok.count(made.n) },
      { title: "Better", value: ({ row, made }) => winner(base, row, made) },
    ];
  }

  function winner(base, row, made) {
    if (!made.better) return "–";
    return made.better === "first" ? base.name : row.name;
  }

  function chance(p) {
    if (p === null) return "–";
    return p < 0.001 ? "< 0.001" : p.toFixed(3);
  }

  /** The interval of a difference on a line whose middle is zero and whose ends are `reach` away from it. */
  function bar({ difference, ci95, better }, reach) {
    const at = (value) => 70 + 64 * Math.max(-1, Math.min(1, value / reach));
    const [low, high] = (ci95 || [difference, difference]).map(at);
    const kind = better ? "difference apart" : "difference";
    return lactok.svg("svg", { viewBox: "0 0 140 18", width: 140, height: 18, class: kind, "aria-hidden": "true" },
      lactok.svg("path", { d: "M70,1V17", class: "zero" }),
      lactok.svg("path", { d: `M${low},9H${high}M${low},5v8M${high},5v8`, class: "reached" }),
      lactok.svg("circle", { cx: at(difference), cy: 9, r: 3.5 }));
  }

  function notes(base, shown) {
    const list = [
      `Differences are each tokenizer's ${shown.title} minus that of ${base.name}, image by image;`
        + ` ${shown.better} is better.`,
      "Better: zero lies outside the 95 % interval. p is of the permutation test that flips signs, corrected after Holm"
        + " for all tests with this first run, the other metrics included.",
      `In the terminal: python -m reports compare ${base.name} RUN`,
    ];
    return element("ul", { class: "notes" }, list.map((note) => element("li", {}, note)));
  }
};

// The tables: every run found here, and the paper's numbers beside the measured ones.
"use strict";

lactok.views.tables = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {});
  const rows = data.rows;
  view.append(element("h1", {}, "Tables"), element("h2", {}, "Runs found here"));
  if (!rows.length) {
    view.append(lactok.nothing("No reconstruction was measured yet.", "python -m benchmarks.recon --tokenizers local"));
  } else {
    view.append(...runs());
  }
  if (data.tables.length) view.append(...papers());
  if (data.problems.length) {
    view.append(element("h2", {}, "Left out"), element("ul", { class: "problems" },
      data.problems.map((p) => element("li", {}, p))));
  }
  return view;

  /** One of the papers' tables at a time. */
  function papers() {
    const place = element("div", {});
    const show = (id) => place.replaceChildren(lactok.paper(data.tables.find((t) => t.id === id)));
    const isMeasured = (t) => t.rows.some((r) => r.cells.some((c) => c.measured !== null));
    const first = data.tables.find(isMeasured) || data.tables[0];
    const select = lactok.select("Table", data.tables.map((t) => [t.id, t.title + (isMeasured(t) ? "" : " (nothing measured yet)")]), show, first.id);
    show(first.id);
    return [element("h2", {}, "Published and measured here"), element("div", { class: "controls" }, select.element), place];
  }

  function runs() {
    const wanted = { family: "", tokens: "", dataset: "", text: "" };
    const choose = (label, key, values, all) => lactok.select(label,
      [["", all], ...values.map((v) => [String(v), typeof v === "number" ? lactok.count(v) : v])], (v) => set(key, v)).element;
    const sorted = (list) => unique(list).sort((a, b) => (typeof a === "number" ? a - b : a.localeCompare(b)));
    const numbers = rows.map((r) => r.tokens).filter((t) => t !== null);
    const table = lactok.table(columns(), { caption: "Runs found here", rows });
    const shown = element("p", { class: "shown" });
    function set(key, value) {
      wanted[key] = value;
      filter();
    }
    function filter() {
      const text = wanted.text.toLowerCase();
      const kept = rows.filter((r) => (!wanted.family || r.family === wanted.family)
        && (!wanted.tokens || String(r.tokens) === wanted.tokens || (wanted.tokens === "none" && r.tokens === null))
        && (!wanted.dataset || r.dataset === wanted.dataset)
        && (!text || r.name.toLowerCase().includes(text)));
      table.update(kept);
      shown.textContent = `${kept.length} of ${rows.length} runs`;
      lactok.say(shown.textContent);
    }
    filter();
    return [
      element("div", { class: "controls", role: "group", "aria-label": "Filter the runs" },
        choose("Family", "family", sorted(rows.map((r) => r.family)), "all families"),
        choose("Tokens", "tokens", [...sorted(numbers), ...(numbers.length < rows.length ? ["none"] : [])], "any number"),
        choose("Data set", "dataset", sorted(rows.map((r) => r.dataset)), "all data sets"),
        lactok.search("Tokenizer", (v) => set("text", v)).element,
        shown),
      table.element,
      ...notes(),
    ];
  }

  function columns() {
    const several = (key) => unique(rows.map((r) => r[key])).length > 1;
    return [
      { title: "Tokenizer", head: true, value: (r) => r.name, cell: name },
      { title: "Family", value: (r) => r.family },
      { title: "Data set", value: (r) => r.dataset },
      several("protocol") && { title: "Protocol", value: (r) => r.protocol },
      { title: "Tokens", numeric: true, value: (r) => r.tokens, cell: (r) => lactok.count(r.tokens) },
      { title: "Codes", numeric: true, value: (r) => r.codes, cell: (r) => lactok.count(r.codes) },
      { title: "Bits", numeric: true, value: (r) => r.bits, hint: "of an image", cell: (r) => lactok.count(r.bits === null ? null : Math.round(r.bits)) + (r.overBudget ? "*" : "") },
      ...data.metrics.map((m) => ({
        title: `${m.title} ${lactok.arrow(m)}`,
        hint: `${m.better} is better`,
        numeric: true,
        better: m.better,
        value: (r) => (r.metrics[m.key] ? r.metrics[m.key].value : null),
        cell: (r) => value(r.metrics[m.key]),
      })),
      { title: "Usage", hint: "share of the codebook that occurred", numeric: true, better: "higher", value: (r) => r.usage, cell: (r) => (r.usage === null || r.usage === undefined ? "–" : `${Math.round(r.usage * 100)}%`) },
      { title: "Decode", hint: "seconds an image, as this run took them", numeric: true, value: (r) => r.decode, cell: (r) => lactok.duration(r.decode) },
      { title: "Images", numeric: true, better: "higher", value: (r) => r.n, cell: (r) => lactok.count(r.n) },
    ].filter(Boolean);
  }

  function name(row) {
    return [row.name, ...row.unusual.map((what) => element("span", { class: "tag" }, what))];
  }

  function value(entry) {
    if (!entry) return "–";
    const [main, spread] = entry.text.split(" ±");
    const text = spread ? [main, element("span", { class: "spread" }, ` ±${spread}`)] : [main];
    return entry.reliable ? text : element("span", { class: "unreliable", title: "biased upwards: too few images" }, text);
  }

  function notes() {
    const list = ["± is half the 95 % bootstrap interval of the mean over images."];
    const entries = rows.flatMap((r) => Object.values(r.metrics));
    if (entries.some((e) => !e.reliable)) {
      list.push("~ rFID of fewer than 2049 images is biased upwards and not comparable with published numbers.");
    }
    if (rows.some((r) => r.overBudget)) list.push("* above the budget: for some images no file is that small.");
    list.push("Decode is the wall time of the run that wrote the result, divided by the images that it decoded.");
    for (const r of rows) if (r.skipped.length) list.push(`${r.name} left out ${r.skipped.join("; ")}`);
    return [element("ul", { class: "notes" }, unique(list).map((t) => element("li", {}, t)))];
  }
};

// The tables: every run found here, and the paper's numbers beside the measured ones.
"use strict";

lactok.views.tables = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {});
  const rows = data.rows;
  const redraws = []; // what shows each part anew
  const address = lactok.address("tables", () => redraws.forEach((redraw) => redraw()));
  view.append(element("h1", {}, "Tables"), element("h2", {}, "Runs found here"));
  if (!rows.length) {
    view.append(lactok.nothing("No reconstruction was measured yet.", "python -m benchmarks.recon --tokenizers local"));
  } else {
    view.append(...runs());
  }
  if (data.tables.length) view.append(...papers());
  if (data.problems.length) {
    view.append(element("h2", {}, "Left out"), element("ul", { class: "problems" },
      data.problems.map((problem) => element("li", {}, problem))));
  }
  view.shown = address.read;
  return view;

  /** One of the papers' tables at a time; at first one with measured values, if there is one. */
  function papers() {
    const place = element("div", {});
    const show = (id) => {
      place.replaceChildren(lactok.paper(data.tables.find((table) => table.id === id)));
      address.write();
    };
    const isMeasured = (table) => table.rows.some((row) => row.cells.some((cell) => cell.measured !== null));
    const first = data.tables.find(isMeasured) || data.tables[0];
    const titleOf = (table) => (isMeasured(table) ? table.title : `${table.title} (nothing measured yet)`);
    const select = lactok.select("Table", data.tables.map((table) => [table.id, titleOf(table)]), show, first.id);
    address.keep("table", select);
    redraws.push(() => show(select.value));
    show(first.id);
    const controls = element("div", { class: "controls" }, select.element);
    return [element("h2", {}, "Published and measured here"), controls, place];
  }

  /** The table of all runs, with its filters and notes. */
  function runs() {
    const tokenCounts = unique(rows.map((row) => row.tokens).filter((tokens) => tokens !== null)).sort((a, b) => a - b);
    const tokenOptions = [["", "any number"], ...tokenCounts.map((tokens) => [String(tokens), lactok.count(tokens)])];
    if (rows.some((row) => row.tokens === null)) tokenOptions.push(["none", "none"]);
    const family = lactok.select("Family", namesOf("family", "all families"), filter);
    const tokens = lactok.select("Tokens", tokenOptions, filter);
    const dataset = lactok.select("Data set", namesOf("dataset", "all data sets"), filter);
    const search = lactok.search("Tokenizer", filter);
    const table = lactok.table(columns(), { caption: "Runs found here", rows, sorted: address.write });
    const shown = element("p", { class: "shown" });
    for (const [name, control] of Object.entries({ family, tokens, dataset, search, sort: table })) {
      address.keep(name, control);
    }
    redraws.push(filter);
    filter();
    return [
      element("div", { class: "controls", role: "group", "aria-label": "Filter the runs" },
        family.element, tokens.element, dataset.element, search.element, shown),
      table.element,
      notes(),
    ];

    function filter() {
      const text = search.value.toLowerCase();
      const kept = rows.filter((row) =>
        (!family.value || row.family === family.value)
        && (!tokens.value || String(row.tokens ?? "none") === tokens.value)
        && (!dataset.value || row.dataset === dataset.value)
        && row.name.toLowerCase().includes(text));
      table.update(kept);
      shown.textContent = `${kept.length} of ${rows.length} runs`;
      lactok.say(shown.textContent);
      address.write();
    }
  }

  /** The options of a filter by one of the rows' texts. */
  function namesOf(key, all) {
    const names = unique(rows.map((row) => row[key])).sort((a, b) => a.localeCompare(b));
    return [["", all], ...names.map((name) => [name, name])];
  }

  function columns() {
    const protocols = unique(rows.map((row) => row.protocol));
    return [
      { title: "Tokenizer", head: true, value: (row) => row.name, cell: nameCell },
      { title: "Family", value: (row) => row.family },
      { title: "Data set", value: (row) => row.dataset },
      protocols.length > 1 && { title: "Protocol", value: (row) => row.protocol },
      { title: "Tokens", numeric: true, value: (row) => row.tokens, cell: (row) => lactok.count(row.tokens) },
      { title: "Codes", numeric: true, value: (row) => row.codes, cell: (row) => lactok.count(row.codes) },
      { title: "Bits", hint: "of an image", numeric: true, value: (row) => row.bits, cell: bitsCell },
      ...data.metrics.map(metricColumn),
      {
        title: "Usage", hint: "share of all codes that occurred", numeric: true, better: "higher",
        value: (row) => row.usage,
        cell: usageCell,
      },
      {
        title: "Decode", hint: "seconds an image, as this run took them", numeric: true,
        value: (row) => row.decode,
        cell: (row) => lactok.duration(row.decode),
      },
      { title: "Images", numeric: true, better: "higher", value: (row) => row.n, cell: (row) => lactok.count(row.n) },
    ].filter(Boolean);
  }

  function metricColumn(metric) {
    return {
      title: `${metric.title} ${lactok.arrow(metric)}`,
      hint: `${metric.better} is better`,
      numeric: true,
      better: metric.better,
      value: (row) => row.metrics[metric.key]?.value ?? null,
      cell: (row) => metricCell(row.metrics[metric.key]),
    };
  }

  /** The name, and what is unusual about the run. */
  function nameCell(row) {
    return [row.name, row.unusual.map((what) => element("span", { class: "tag" }, what))];
  }

  function bitsCell(row) {
    if (row.bits === null) return "–";
    return lactok.count(Math.round(row.bits)) + (row.overBudget ? "*" : "");
  }

  function usageCell(row) {
    if (row.usage === null || row.usage === undefined) return "–";
    return row.usage > 0 && row.usage < 0.005 ? "<1%" : `${Math.round(row.usage * 100)}%`;
  }

  function metricCell(entry) {
    if (!entry) return "–";
    const value = lactok.valueWithSpread(entry.text);
    if (entry.reliable) return value;
    return element("span", { class: "unreliable", title: "biased upwards: too few images" }, value);
  }

  function notes() {
    const list = ["± is half the 95 % interval of the mean over images, or of the distance of sets where there are enough images."];
    if (rows.some((row) => Object.values(row.metrics).some((entry) => !entry.reliable))) {
      list.push("~ rFID of fewer than 2049 images is biased upwards and not comparable with published numbers.");
    }
    if (rows.some((row) => row.overBudget)) list.push("* above the budget: for some images no file is that small.");
    list.push("Decode is the wall time of the run that wrote the result, divided by the images that it decoded.");
    list.push(...data.notes);
    for (const row of rows) if (row.skipped.length) list.push(`${row.name} left out ${row.skipped.join("; ")}`);
    return element("ul", { class: "notes" }, unique(list).map((note) => element("li", {}, note)));
  }
};

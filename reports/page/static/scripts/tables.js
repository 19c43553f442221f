// The tables: the runs of a data set, and the paper's numbers beside the measured ones.
"use strict";

lactok.views.tables = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {});
  view.append(element("h1", {}, "Tables"), element("h2", {}, "Runs found here"));
  if (!data.rows.length) {
    view.append(lactok.nothing("No reconstruction was measured yet.", "python -m benchmarks.recon --tokenizers local"));
  } else {
    view.append(...runs());
  }
  if (data.tables.length) view.append(...papers());
  if (data.problems.length) {
    view.append(element("h2", {}, "Left out"), element("ul", { class: "problems" },
      data.problems.map((problem) => element("li", {}, problem))));
  }
  return view;

  /** One of the papers' tables at a time; at first one with measured values, if there is one. */
  function papers() {
    const place = element("div", {});
    const show = (id) => place.replaceChildren(lactok.paper(data.tables.find((table) => table.id === id)));
    const isMeasured = (table) => table.rows.some((row) => row.cells.some((cell) => cell.measured !== null));
    const first = data.tables.find(isMeasured) || data.tables[0];
    const titleOf = (table) => (isMeasured(table) ? table.title : `${table.title} (nothing measured yet)`);
    const select = lactok.select("Table", data.tables.map((table) => [table.id, titleOf(table)]), show, first.id);
    show(first.id);
    const controls = element("div", { class: "controls" }, select.element);
    return [element("h2", {}, "Published and measured here"), controls, place];
  }

  /** The table of the runs of a set, with its filters and notes. */
  function runs() {
    const place = element("div", {});
    const choice = lactok.setChoice(data, fill);
    fill();
    return [choice && element("div", { class: "controls" }, choice), place].filter(Boolean);

    function fill() {
      place.replaceChildren(...filtered(lactok.rowsOfSet(data)));
    }
  }

  function filtered(rows) {
    const tokenCounts = unique(rows.map((row) => row.tokens).filter((tokens) => tokens !== null)).sort((a, b) => a - b);
    const tokenOptions = [["", "any number"], ...tokenCounts.map((tokens) => [String(tokens), lactok.count(tokens)])];
    if (rows.some((row) => row.tokens === null)) tokenOptions.push(["none", "none"]);
    const names = unique(rows.map((row) => row.family)).sort((a, b) => a.localeCompare(b));
    const family = lactok.select("Family", [["", "all families"], ...names.map((name) => [name, name])], filter);
    const tokens = lactok.select("Tokens", tokenOptions, filter);
    const search = lactok.search("Tokenizer", filter);
    const table = lactok.runsTable(data, rows, "Runs found here");
    const shown = element("p", { class: "shown" });
    filter();
    return [
      element("div", { class: "controls", role: "group", "aria-label": "Filter the runs" },
        family.element, tokens.element, search.element, shown),
      table.element,
      lactok.runsNotes(data, rows),
    ];

    function filter() {
      const text = search.value.toLowerCase();
      const kept = rows.filter((row) =>
        (!family.value || row.family === family.value)
        && (!tokens.value || String(row.tokens ?? "none") === tokens.value)
        && row.name.toLowerCase().includes(text));
      table.update(kept);
      shown.textContent = `${kept.length} of ${rows.length} runs`;
      lactok.say(shown.textContent);
    }
  }
<<<<<<< HEAD
=======

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
      { title: "Codes", numeric: true, value: (row) => row.codes, cell: codesCell },
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

  /** A row whose images are coded as numbers has no codes to count. */
  function codesCell(row) {
    return row.continuous ? "continuous" : lactok.count(row.codes);
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
>>>>>>> h-cosmos
};

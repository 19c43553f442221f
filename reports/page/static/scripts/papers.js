// A paper's table: published and measured numbers side by side, and what has to be run for the empty places.
"use strict";

lactok.paper = function (table) {
  const { element } = lactok;
  const printed = table.source !== "";
  const facts = table.rows.length ? Object.keys(table.rows[0].facts) : [];
  const columns = [
    { title: "Method", head: true, value: (r) => r.row, cell: (r) => [r.row, r.name && r.name !== r.row && element("span", { class: "alias" }, r.name)].filter(Boolean) },
    ...facts.map((fact) => ({ title: fact, value: (r) => r.facts[fact] })),
    ...table.columns.flatMap(metric),
    { title: "Images", numeric: true, better: "higher", value: count, cell: (r) => lactok.count(count(r)) },
  ];
  return element("section", { class: "paper" },
    element("h3", {}, table.title),
    printed && element("p", { class: "about" }, `Published: ${table.source}.`),
    lactok.table(columns, { caption: table.title, rows: table.rows }).element,
    notes(), reasons());

  function count(row) {
    const counts = row.cells.map((c) => c.n).filter((n) => n !== null);
    return counts.length ? Math.max(...counts) : null;
  }

  /** The columns of a metric. */
  function metric(column, i) {
    const arrow = column.higher_is_better ? "↑" : "↓";
    const better = column.higher_is_better ? "higher" : "lower";
    const title = `${column.title} ${arrow}`;
    const scaled = (v) => (v === null ? null : v * column.factor);
    const here = (r) => measured(r.cells[i], column, scaled);
    if (!printed) return [{ title, numeric: true, better, value: (r) => r.cells[i].measured, cell: here }];
    const made = [
      { title: "published", group: title, first: true, numeric: true, better, value: (r) => r.cells[i].published, cell: (r) => marked(lactok.fixed(scaled(r.cells[i].published), column.printed), r.cells[i].published_mark) },
      { title: "here", group: title, numeric: true, better, value: (r) => r.cells[i].measured, cell: here },
    ];
    if (table.rows.some((r) => r.cells[i].difference !== null)) {
      made.push({ title: "difference", group: title, numeric: true, value: (r) => r.cells[i].difference, cell: (r) => signed(scaled(r.cells[i].difference), column.digits) });
    }
    return made;
  }

  function measured(cell, column, scaled) {
    if (cell.measured === null) return "–";
    const spread = cell.ci95 && element("span", { class: "spread" }, ` ±${((scaled(cell.ci95[1]) - scaled(cell.ci95[0])) / 2).toFixed(column.digits)}`);
    const text = marked((cell.reliable ? "" : "~") + scaled(cell.measured).toFixed(column.digits), cell.mark);
    return element("span", { class: cell.reliable ? null : "unreliable" }, text, spread);
  }

  function marked(text, mark) {
    return mark ? element(mark === "best" ? "strong" : "span", { class: mark }, text) : text;
  }

  function signed(value, digits) {
    return value === null ? "–" : (value > 0 ? "+" : "") + value.toFixed(digits);
  }

  function notes() {
    const cells = table.rows.flatMap((r) => r.cells);
    const list = [...table.notes];
    if (cells.some((c) => c.mark || c.published_mark)) {
      list.push("Bold is the best of a column, underlined the second best; ties and differences inside the 95 % interval are not marked.");
    }
    if (cells.some((c) => c.measured !== null)) list.push("± is half the 95 % bootstrap interval of the mean; distances of sets have none.");
    if (cells.some((c) => c.reliable === false)) list.push("~: of fewer than 2049 images, biased upwards and not comparable with published numbers.");
    return list.length ? element("ul", { class: "notes" }, list.map((t) => element("li", {}, t))) : null;
  }

  /** Why places are empty, each reason once with its rows. */
  function reasons() {
    const found = new Map();
    for (const row of table.rows) {
      for (const cell of row.cells) {
        if (!cell.reason) continue;
        if (!found.has(cell.reason)) found.set(cell.reason, new Set());
        found.get(cell.reason).add(row.row);
      }
    }
    if (!found.size) return null;
    return element("details", { open: !table.rows.some((r) => count(r) !== null) },
      element("summary", {}, "What fills the empty places"),
      element("ul", { class: "reasons" }, [...found].map(([reason, rows]) =>
        element("li", {}, element("strong", {}, [...rows].join(", ")), ": ", withCommands(reason)))));
  }

  /** Commands in a text as code. */
  function withCommands(text) {
    return text.split(/(python -m [^;]+)/).map((part) => (part.startsWith("python -m ") ? element("code", {}, part) : part));
  }
};

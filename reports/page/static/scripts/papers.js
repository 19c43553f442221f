// A paper's table: published and measured numbers side by side, and what has to be run for the empty places.
"use strict";

lactok.paper = function (table) {
  const { element } = lactok;
  const isPublished = table.source !== "";
  const facts = table.rows.length ? Object.keys(table.rows[0].facts) : [];
  const cells = table.rows.flatMap((row) => row.cells);
  const columns = [
    { title: "Method", head: true, value: (row) => row.row, cell: methodCell },
    ...facts.map((fact) => ({ title: fact, value: (row) => row.facts[fact] })),
    ...table.columns.flatMap(metricColumns),
    { title: "Images", numeric: true, better: "higher", value: imagesOf, cell: (row) => lactok.count(imagesOf(row)) },
  ];
  return element("section", { class: "paper" },
    element("h3", {}, table.title),
    isPublished && element("p", { class: "about" }, `Published: ${table.source}.`),
    lactok.table(columns, { caption: table.title, rows: table.rows }).element,
    notes(), reasons());

  /** The name in the paper and, where it is another, the one in this project. */
  function methodCell(row) {
    const alias = row.name && row.name !== row.row;
    return [row.row, alias && element("span", { class: "alias" }, row.name)];
  }

  /** The images of a row's measured values, or null where nothing was measured. */
  function imagesOf(row) {
    const counts = row.cells.map((cell) => cell.n).filter((count) => count !== null);
    return counts.length ? Math.max(...counts) : null;
  }

  /** The columns of the i-th metric: what was published, what was measured, and the difference where there is one. */
  function metricColumns(metric, i) {
    const better = metric.higher_is_better ? "higher" : "lower";
    const title = `${metric.title} ${lactok.arrow({ better })}`;
    const scaled = (value) => (value === null ? null : value * metric.factor);
    const here = {
      title: "here", group: title, numeric: true, better,
      value: (row) => row.cells[i].measured,
      cell: (row) => measuredCell(row.cells[i], metric, scaled),
    };
    if (!isPublished) return [{ ...here, title, group: undefined }];
    const published = {
      title: "published", group: title, first: true, numeric: true, better,
      value: (row) => row.cells[i].published,
      cell: (row) => {
        const { published: value, published_mark: mark } = row.cells[i];
        return lactok.marked(lactok.fixed(scaled(value), metric.printed), mark);
      },
    };
    const difference = {
      title: "difference", group: title, numeric: true,
      value: (row) => row.cells[i].difference,
      cell: (row) => signed(scaled(row.cells[i].difference), metric.digits),
    };
    const hasDifference = table.rows.some((row) => row.cells[i].difference !== null);
    return hasDifference ? [published, here, difference] : [published, here];
  }

  function measuredCell(cell, metric, scaled) {
    if (cell.measured === null) return "–";
    const value = lactok.fixed(scaled(cell.measured), metric.digits);
    const text = lactok.marked(cell.reliable ? value : `~${value}`, cell.mark);
    const half = cell.ci95 && spread(cell, metric, scaled);
    return element("span", { class: cell.reliable ? null : "unreliable" }, text, half);
  }

  function spread(cell, metric, scaled) {
    const half = (scaled(cell.ci95[1]) - scaled(cell.ci95[0])) / 2;
    return element("span", { class: "spread" }, ` ±${lactok.fixed(half, metric.digits)}`);
  }

  function signed(value, digits) {
    if (value === null) return "–";
    return (value > 0 ? "+" : "") + lactok.fixed(value, digits);
  }

  function notes() {
    const list = [...table.notes];
    if (cells.some((cell) => cell.mark || cell.published_mark)) {
      list.push("Bold is the best of a column, underlined the second best;"
        + " ties and differences inside the 95 % interval are not marked.");
    }
    if (cells.some((cell) => cell.measured !== null)) {
      list.push("± is half the 95 % interval of the mean, or of the distance of sets where there are enough images.");
    }
    if (cells.some((cell) => cell.reliable === false)) {
      list.push("~: of fewer than 2049 images, biased upwards and not comparable with published numbers.");
    }
    return list.length ? element("ul", { class: "notes" }, list.map((note) => element("li", {}, note))) : null;
  }

  /** Why places are empty, each reason once with its rows. */
  function reasons() {
    const rowsOfReason = new Map();
    for (const row of table.rows) {
      for (const { reason } of row.cells) {
        if (!reason) continue;
        if (!rowsOfReason.has(reason)) rowsOfReason.set(reason, new Set());
        rowsOfReason.get(reason).add(row.row);
      }
    }
    if (!rowsOfReason.size) return null;
    const nothingMeasured = table.rows.every((row) => imagesOf(row) === null);
    return element("details", { open: nothingMeasured },
      element("summary", {}, "What fills the empty places"),
      element("ul", { class: "reasons" }, [...rowsOfReason].map(([reason, rows]) =>
        element("li", {}, element("strong", {}, [...rows].join(", ")), ": ", withCommands(reason)))));
  }

  /** A text as nodes, its commands as code. */
  function withCommands(text) {
    const parts = text.split(/(python -m [^;]+)/);
    return parts.map((part) => (part.startsWith("python -m ") ? element("code", {}, part) : part));
  }
};

// The table of the runs of one set, for the overview and for the tables.
"use strict";

(function () {
  const { element, unique } = lactok;

  /** Runs as a `lactok.table`. The names of metrics stand first on a phone; sorted() is called when the reader sorts. */
  lactok.runsTable = (data, rows, caption, sorted) => lactok.table(columns(data, rows), { caption, rows, sorted });

  function columns(data, rows) {
    const isPhone = matchMedia("(max-width: 40rem)").matches;
    const metrics = data.metrics.filter((metric) => rows.some((row) => row.metrics[metric.key])).map(metricColumn);
    const rate = [
      { title: "Tokens", numeric: true, value: (row) => row.tokens, cell: (row) => lactok.count(row.tokens) },
      { title: "Codes", numeric: true, value: (row) => row.codes, cell: codesCell },
      { title: "Bits", hint: "of an image", numeric: true, value: (row) => row.bits, cell: bitsCell },
    ];
    return [
      { title: "Tokenizer", head: true, value: (row) => row.name, cell: nameCell },
      ...(isPhone ? [...metrics, ...rate] : [...rate, ...metrics]),
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
    ];
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

  /** The family's mark, the name, and what is unusual about the run; hovering shows the result's folder. */
  function nameCell(row) {
    const name = element("span", { title: row.folder }, row.name);
    return [lactok.familyMark(row), name, row.unusual.map((what) => element("span", { class: "tag" }, what))];
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
    const [value, spread] = lactok.valueWithSpread(entry.text);
    const shown = [lactok.marked(value, entry.mark), spread];
    if (entry.reliable) return shown.filter(Boolean);
    return element("span", { class: "unreliable", title: "biased upwards: too few images" }, shown);
  }

  /** What the marks in the table of these rows mean, in a line below it; nothing where there are none. */
  lactok.marksLine = (rows) => {
    if (!rows.some((row) => Object.values(row.metrics).some((entry) => entry.mark))) return [];
    return [element("p", { class: "about" }, "Bold is the best of a column, underlined the second best, where the"
      + " difference is outside the 95 % interval; rows without ids are references and take no part.")];
  };

  /** What a reader has to know of the table of these rows. */
  lactok.runsNotes = (data, rows) => {
    const entries = rows.flatMap((row) => Object.values(row.metrics));
    const list = [];
    list.push("± is half the 95 % interval of the mean over images, or of the distance of sets where there are enough"
      + " images.");
    if (entries.some((entry) => !entry.reliable)) {
      list.push("~ rFID of fewer than 2049 images is biased upwards and not comparable with published numbers.");
    }
    if (rows.some((row) => row.overBudget)) list.push("* above the budget: for some images no file is that small.");
    list.push("Decode is the wall time of the run that wrote the result, divided by the images that it decoded.");
    list.push(...lactok.chosenSet(data).notes);
    for (const row of rows) if (row.skipped.length) list.push(`${row.name} left out ${row.skipped.join("; ")}`);
    return element("ul", { class: "notes" }, unique(list).map((note) => element("li", {}, note)));
  };
})();

// Rate against distortion, quality against speed: axes of the reader's choice, and the same numbers as a table.
"use strict";

lactok.views.plots = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {}, element("h1", {}, "Plots"));
  if (!data.rows.length) {
    view.append(lactok.nothing("There is nothing to plot yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }

  const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 }); // 20K, 1.5M
  const compact = (value) => short.format(value);
  const whole = (value) => lactok.count(Math.round(value));
  const fraction = (value) => lactok.fixed(value, 4);
  const duration = lactok.duration;
  // What may stand on the horizontal axis: `format` writes the numbers of the axis, `text` those of a row.
  const RATES = [
    { key: "bits", title: "bits an image", format: compact, text: whole },
    { key: "bpp", title: "bits a pixel", format: compact, text: fraction },
    { key: "tokens", title: "tokens", format: compact, text: whole },
    { key: "decode", title: "decode time an image", format: duration, text: duration },
    { key: "encode", title: "encode time an image", format: duration, text: duration },
  ];
  const families = unique(data.rows.map((row) => row.family)).sort();
  const measures = unique(data.rows.map((row) => row.measure));
  const hiddenFamilies = new Set();
  const address = lactok.address("plots", draw);

  const measureSelect = lactok.select("Measured on", measures.map((measure) => [measure, measure]), draw);
  const rateSelect = lactok.select("Across", RATES.map((rate) => [rate.key, rate.title]), draw, "bits");
  const logarithmic = lactok.checkbox("logarithmic", true, draw);
  const metricSelect = lactok.select("Up", data.metrics.map((metric) => [metric.key, titleOf(metric)]), draw);
  const withLossless = lactok.checkbox("with lossless rows", false, draw);
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Families shown" });
  const figure = element("div", { class: "figure" });
  view.append(
    element("div", { class: "controls", role: "group", "aria-label": "Axes" },
      measureSelect.element, rateSelect.element, logarithmic.element, metricSelect.element, withLossless.element),
    legend, figure);
  const hidden = {
    get value() { return [...hiddenFamilies].sort().join(","); },
    set value(text) {
      hiddenFamilies.clear();
      for (const family of text.split(",")) if (families.includes(family)) hiddenFamilies.add(family);
    },
  };
  const controls = {
    data: measureSelect, across: rateSelect, log: logarithmic, up: metricSelect, lossless: withLossless, hidden,
  };
  for (const [name, control] of Object.entries(controls)) address.keep(name, control);
  view.shown = address.read;
  draw();
  matchMedia("(max-width: 40rem)").addEventListener("change", draw);
  return view;

  function draw() {
    address.write();
    const rate = RATES.find((each) => each.key === rateSelect.value);
    const metric = data.metrics.find((each) => each.key === metricSelect.value);
    const measured = data.rows.filter((row) => row.measure === measureSelect.value);
    const complete = measured.filter((row) => hasBoth(row, rate, metric));
    const shown = complete.filter((row) =>
      !hiddenFamilies.has(row.family) && (withLossless.input.checked || !isLossless(row)));
    drawLegend(unique(measured.map((row) => row.family)));
    const title = `${metric.title} against ${rate.title}, ${measureSelect.value}`;
    figure.replaceChildren(element("h2", {}, title));
    if (!shown.length) {
      figure.append(element("p", { class: "notice" }, "No row shown has both of these values."));
      return;
    }
    const log = logarithmic.input.checked;
    const axes = {
      x: { title: log ? `${rate.title} (logarithmic)` : rate.title, log, format: rate.format },
      y: { title: `${metric.title} (${metric.better} is better)` },
    };
    const points = shown.map((row) => pointOf(row, rate, metric));
    const counted = `${points.length} tokenizers; ${metric.better} is better.`;
    figure.append(
      lactok.plot(points, axes, title, `${counted} The table below has the same numbers.`),
      notes(measured, complete, shown, rate, metric),
      table(shown, rate, metric));
  }

  function titleOf(metric) {
    return `${metric.title} ${lactok.arrow(metric)}`;
  }

  /** A logarithmic axis has no place for 0, so a rate counts from above 0. */
  function hasBoth(row, rate, metric) {
    const entry = row.metrics[metric.key];
    return row[rate.key] > 0 && Boolean(entry) && entry.value !== null;
  }

  function isLossless(row) {
    return Object.values(row.metrics).some((entry) => entry.exact);
  }

  /** The settings of one tokenizer differ after the `@` of their names. */
  function tokenizerOf(row) {
    return row.name.split("@")[0];
  }

  function pointOf(row, rate, metric) {
    const entry = row.metrics[metric.key];
    const label = [row.name, `${metric.title} ${entry.text}`, `${rate.title}: ${rate.text(row[rate.key])}`];
    if (!entry.reliable) label.push("unreliable: too few images");
    return {
      x: row[rate.key],
      y: entry.value * metric.factor,
      interval: entry.ci95 && entry.ci95.map((end) => end * metric.factor),
      series: families.indexOf(row.family),
      hollow: !entry.reliable,
      name: row.name,
      label,
      line: tokenizerOf(row),
    };
  }

  function drawLegend(present) {
    legend.replaceChildren(...present.map((family, i) => {
      const mark = lactok.svg("svg", { viewBox: "-9 -9 18 18", width: 16, height: 16, "aria-hidden": "true" },
        lactok.mark(families.indexOf(family)));
      const toggle = () => {
        if (!hiddenFamilies.delete(family)) hiddenFamilies.add(family);
        draw();
        legend.children[i].focus(); // the button that was pressed has been replaced
      };
      const isShown = !hiddenFamilies.has(family);
      return lactok.button([mark, family], toggle, { class: "chip", "aria-pressed": String(isShown) });
    }));
  }

  /** What a reader has to know of the plot, and which rows are not in it. */
  function notes(measured, complete, shown, rate, metric) {
    const list = [];
    const entries = shown.map((row) => row.metrics[metric.key]);
    if (entries.some((entry) => entry.ci95)) list.push("Bars are 95 % intervals.");
    else list.push(`${metric.title} has no interval here.`);
    if (entries.some((entry) => !entry.reliable)) {
      list.push("Hollow marks: fewer than 2049 images, so the value is biased upwards; compare only within this plot.");
    }
    if (unique(shown.map(tokenizerOf)).length < shown.length) list.push("Lines join the settings of one tokenizer.");
    const names = (rows) => rows.map((row) => row.name).join(", ");
    const incomplete = measured.filter((row) => !complete.includes(row));
    if (incomplete.length) list.push(`Without ${rate.title} or ${metric.title}: ${names(incomplete)}.`);
    const lossless = complete.filter((row) =>
      isLossless(row) && !shown.includes(row) && !hiddenFamilies.has(row.family));
    if (lossless.length) list.push(`Lossless, not shown: ${names(lossless)}.`);
    if (rate.key === "decode" || rate.key === "encode") {
      const machines = unique(shown.map((row) => row.machine).filter(Boolean));
      const where = machines.length ? `, on ${machines.join("; ")}` : "";
      list.push(`Wall time of the runs, divided by the images that they took${where}.`
        + " Measure speed alone with python -m benchmarks.speed.");
    }
    return element("ul", { class: "notes" }, list.map((note) => element("li", {}, note)));
  }

  function table(rows, rate, metric) {
    const columns = [
      { title: "Tokenizer", head: true, value: (row) => row.name },
      { title: "Family", value: (row) => row.family },
      { title: rate.title, numeric: true, value: (row) => row[rate.key], cell: (row) => rate.text(row[rate.key]) },
      {
        title: titleOf(metric),
        numeric: true,
        better: metric.better,
        value: (row) => row.metrics[metric.key].value,
        cell: (row) => row.metrics[metric.key].text,
      },
    ];
    return lactok.table(columns, { caption: "The plot's numbers", rows, sort: [2, false] }).element;
  }
};

// Rate against distortion, quality against speed: axes of the reader's choice, and the same numbers as a table.
"use strict";

lactok.views.plots = function (data) {
  const { element } = lactok;
  const view = element("div", {}, element("h1", {}, "Plots"));
  if (!data.rows.length) {
    view.append(lactok.nothing("There is nothing to plot yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  const hidden = new Set(); // families
  const setChoice = lactok.setChoice(data, draw);
  const rateSelect = lactok.select("Across", lactok.RATES.map((rate) => [rate.key, rate.title]), draw, "bits");
  const logarithmic = lactok.checkbox("logarithmic", true, draw);
<<<<<<< HEAD
  const metricSelect = lactok.select("Up", data.metrics.map((each) => [each.key, lactok.titleOf(each)]), draw);
  const lossless = lactok.checkbox("with lossless rows", false, draw);
=======
  const metricSelect = lactok.select("Up", data.metrics.map((metric) => [metric.key, titleOf(metric)]), draw);
  const withLossless = lactok.checkbox("with lossless rows", false, draw);
  const withContinuous = lactok.checkbox("with continuous rows", false, draw);
  const hasContinuous = data.rows.some((row) => row.continuous);
>>>>>>> h-cosmos
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Families shown" });
  const figure = element("div", { class: "figure" });
  view.append(
    element("div", { class: "controls", role: "group", "aria-label": "Axes" },
<<<<<<< HEAD
      setChoice, rateSelect.element, logarithmic.element, metricSelect.element, lossless.element),
=======
      measureSelect.element, rateSelect.element, logarithmic.element, metricSelect.element, withLossless.element,
      hasContinuous && withContinuous.element),
>>>>>>> h-cosmos
    legend, figure);
  draw();
  matchMedia("(max-width: 40rem)").addEventListener("change", draw);
  return view;

  function draw() {
    const rows = lactok.rowsOfSet(data);
    const set = lactok.chosenSet(data);
    const rate = lactok.RATES.find((each) => each.key === rateSelect.value);
    const metric = data.metrics.find((each) => each.key === metricSelect.value);
<<<<<<< HEAD
    const [log, withLossless] = [logarithmic.input.checked, lossless.input.checked];
    const options = { rate, metric, log, lossless: withLossless, hidden, numbers: true };
    drawLegend([...new Map(rows.map((row) => [row.family, row])).values()]);
    figure.replaceChildren(
      element("h2", {}, `${metric.title} against ${rate.title}, ${set.title}`),
      ...lactok.rateFigure(set, rows, options));
=======
    const measured = data.rows.filter((row) => row.measure === measureSelect.value);
    const complete = measured.filter((row) => hasBoth(row, rate, metric));
    const shown = complete.filter((row) =>
      !hiddenFamilies.has(row.family) && (withLossless.input.checked || !isLossless(row))
        && (withContinuous.input.checked || !row.continuous));
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
>>>>>>> h-cosmos
  }

  /** rows: one of each family. */
  function drawLegend(rows) {
    legend.replaceChildren(...rows.map((row, i) => {
      const mark = lactok.svg("svg", { viewBox: "-9 -9 18 18", width: 16, height: 16, "aria-hidden": "true" },
        lactok.mark(row.look));
      const toggle = () => {
        if (!hidden.delete(row.family)) hidden.add(row.family);
        draw();
        legend.children[i].focus(); // the button that was pressed has been replaced
      };
      const isShown = String(!hidden.has(row.family));
      return lactok.button([mark, row.family], toggle, { class: "chip", "aria-pressed": isShown });
    }));
  }
<<<<<<< HEAD
=======

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
    const ceilings = complete.filter((row) =>
      row.continuous && !shown.includes(row) && !hiddenFamilies.has(row.family));
    if (ceilings.length) list.push(`Continuous, without ids, not shown: ${names(ceilings)}.`);
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
>>>>>>> h-cosmos
};

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
  const metricSelect = lactok.select("Up", data.metrics.map((each) => [each.key, lactok.titleOf(each)]), draw);
  const lossless = lactok.checkbox("with lossless rows", false, draw);
  const continuous = lactok.checkbox("with continuous rows", false, draw);
  const hasContinuous = data.rows.some((row) => row.continuous);
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Families shown" });
  const figure = element("div", { class: "figure" });
  view.append(
    element("div", { class: "controls", role: "group", "aria-label": "Axes" },
      setChoice, rateSelect.element, logarithmic.element, metricSelect.element, lossless.element,
      hasContinuous && continuous.element),
    legend, figure);
  const address = lactok.address("plots", draw);
  const hiddenFamilies = {
    get value() { return [...hidden].sort().join(","); },
    set value(text) {
      const names = text.split(",");
      hidden.clear();
      for (const { family } of data.rows) if (names.includes(family)) hidden.add(family);
    },
  };
  lactok.keepSet(address, data);
  const controls = {
    across: rateSelect, log: logarithmic, up: metricSelect, lossless, continuous, hidden: hiddenFamilies,
  };
  for (const [name, control] of Object.entries(controls)) address.keep(name, control);
  view.shown = address.read;
  draw();
  matchMedia("(max-width: 40rem)").addEventListener("change", draw);
  return view;

  function draw() {
    address.write();
    const rows = lactok.rowsOfSet(data);
    const set = lactok.chosenSet(data);
    const rate = lactok.RATES.find((each) => each.key === rateSelect.value);
    const metric = data.metrics.find((each) => each.key === metricSelect.value);
    const log = logarithmic.input.checked;
    const withRows = { lossless: lossless.input.checked, continuous: continuous.input.checked };
    const options = { rate, metric, log, ...withRows, hidden, numbers: true };
    drawLegend([...new Map(rows.map((row) => [row.family, row])).values()]);
    figure.replaceChildren(
      element("h2", {}, `${metric.title} against ${rate.title}, ${set.title}`),
      ...lactok.rateFigure(set, rows, options));
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
};

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
  const compact = (v) => short.format(v);
  const RATES = [
    { key: "bits", title: "bits an image", value: (r) => r.bits, format: compact, text: (v) => lactok.count(Math.round(v)) },
    { key: "bpp", title: "bits a pixel", value: (r) => r.bpp, format: compact, text: (v) => lactok.fixed(v, 4) },
    { key: "tokens", title: "tokens", value: (r) => r.tokens, format: compact, text: lactok.count },
    { key: "decode", title: "decode time an image", value: (r) => r.decode, format: lactok.duration, text: lactok.duration },
    { key: "encode", title: "encode time an image", value: (r) => r.encode, format: lactok.duration, text: lactok.duration },
  ];
  const families = unique(data.rows.map((r) => r.family)).sort();
  const measures = unique(data.rows.map((r) => r.measure));
  const hidden = new Set();
  let exact = false;
  const measure = lactok.select("Measured on", measures.map((m) => [m, m]), draw);
  const across = lactok.select("Across", RATES.map((r) => [r.key, r.title]), draw, "bits");
  const up = lactok.select("Up", data.metrics.map((m) => [m.key, `${m.title} ${lactok.arrow(m)}`]), draw);
  const log = lactok.checkbox("logarithmic", true, draw);
  const lossless = lactok.checkbox("with lossless rows", false, (checked) => {
    exact = checked;
    draw();
  });
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Families shown" });
  const place = element("div", { class: "figure" });
  view.append(
    element("div", { class: "controls", role: "group", "aria-label": "Axes" }, measure.element, across.element, log.element, up.element, lossless.element),
    legend, place);
  draw();
  matchMedia("(max-width: 40rem)").addEventListener("change", draw);
  return view;

  function draw() {
    const rate = RATES.find((r) => r.key === across.value);
    const metric = data.metrics.find((m) => m.key === up.value);
    const rows = data.rows.filter((r) => r.measure === measure.value);
    drawLegend(unique(rows.map((r) => r.family)));
    const able = rows.filter((r) => has(r, rate, metric));
    const kept = able.filter((r) => !hidden.has(r.family) && (exact || !isExact(r)));
    const title = `${metric.title} against ${rate.title}`;
    const text = `${title}, ${measure.value}`;
    place.replaceChildren(element("h2", {}, text));
    if (!kept.length) {
      place.append(element("p", { class: "notice" }, "No row shown has both of these values."));
      return;
    }
    const points = kept.map((r) => point(r, rate, metric));
    const axes = {
      x: { title: rate.title + (log.input.checked ? " (logarithmic)" : ""), log: log.input.checked, format: rate.format },
      y: { title: `${metric.title} (${metric.better} is better)` },
    };
    const description = `${points.length} tokenizers; ${metric.better} is better. The table below has the same numbers.`;
    place.append(lactok.plot(points, axes, text, description), element("ul", { class: "notes" }, notes(rows, able, kept, rate, metric).map((t) => element("li", {}, t))), table(kept, rate, metric));
  }

  function has(row, rate, metric) {
    const entry = row.metrics[metric.key];
    const x = rate.value(row);
    return x !== null && x !== undefined && x > 0 && entry && entry.value !== null;
  }

  function isExact(row) {
    return Object.values(row.metrics).some((e) => e.exact);
  }

  function point(row, rate, metric) {
    const entry = row.metrics[metric.key];
    const scaled = (v) => v * metric.factor;
    const label = [row.name, `${metric.title} ${entry.text}`, `${rate.title}: ${rate.text(rate.value(row))}`];
    if (!entry.reliable) label.push("unreliable: too few images");
    return {
      x: rate.value(row), y: scaled(entry.value), interval: entry.ci95 ? entry.ci95.map(scaled) : null,
      series: families.indexOf(row.family), hollow: !entry.reliable, name: row.name, label, line: row.name.split("@")[0],
    };
  }

  function drawLegend(present) {
    legend.replaceChildren(...present.map((family) => lactok.button(
      [lactok.svg("svg", { viewBox: "-9 -9 18 18", width: 16, height: 16, "aria-hidden": "true" }, lactok.mark(families.indexOf(family))), family],
      (event) => {
        const at = [...legend.children].indexOf(event.currentTarget);
        if (!hidden.delete(family)) hidden.add(family);
        draw();
        legend.children[at].focus();
      }, { class: "chip", "aria-pressed": String(!hidden.has(family)) })));
  }

  function notes(rows, able, kept, rate, metric) {
    const list = [];
    if (kept.some((r) => r.metrics[metric.key].ci95)) list.push("Bars are 95 % bootstrap intervals of the mean over images.");
    else list.push(`${metric.title} is a distance between sets and has no interval here.`);
    if (kept.some((r) => !r.metrics[metric.key].reliable)) {
      list.push("Hollow marks: fewer than 2049 images, so the value is biased upwards; compare only within this plot.");
    }
    if (unique(kept.map((r) => r.name.split("@")[0])).length < kept.length) list.push("Lines join the settings of one tokenizer.");
    const lacking = rows.filter((r) => !able.includes(r)).map((r) => r.name);
    if (lacking.length) list.push(`Without ${rate.title} or ${metric.title}: ${lacking.join(", ")}.`);
    const dropped = able.filter((r) => isExact(r) && !kept.includes(r) && !hidden.has(r.family)).map((r) => r.name);
    if (dropped.length) list.push(`Lossless, not shown: ${dropped.join(", ")}.`);
    if (rate.key === "decode" || rate.key === "encode") {
      const where = unique(kept.map((r) => r.machine).filter(Boolean));
      list.push(`Wall time of the runs, divided by the images that they took,${where.length ? ` on ${where.join("; ")}` : ""}. Measure speed alone with python -m benchmarks.speed.`);
    }
    return list;
  }

  function table(rows, rate, metric) {
    return lactok.table([
      { title: "Tokenizer", head: true, value: (r) => r.name },
      { title: "Family", value: (r) => r.family },
      { title: rate.title, numeric: true, value: rate.value, cell: (r) => rate.text(rate.value(r)) },
      { title: `${metric.title} ${lactok.arrow(metric)}`, numeric: true, better: metric.better, value: (r) => r.metrics[metric.key].value, cell: (r) => r.metrics[metric.key].text },
    ], { caption: "The plot's numbers", rows, sort: [2, false] }).element;
  }
};

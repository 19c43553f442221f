// A figure of quality against a rate: the plot of chosen rows, what a reader has to know of it, and its numbers.
"use strict";

(function () {
  const { element, unique } = lactok;
  const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 }); // 20K, 1.5M
  const compact = (value) => short.format(value);
  const whole = (value) => lactok.count(Math.round(value));
  const fraction = (value) => lactok.fixed(value, 4);
  const duration = lactok.duration;

  /** What may stand on the horizontal axis: `format` writes the numbers of the axis, `text` those of a row. */
  lactok.RATES = [
    { key: "bits", title: "bits an image", format: compact, text: whole },
    { key: "bpp", title: "bits a pixel", format: compact, text: fraction },
    { key: "tokens", title: "tokens", format: compact, text: whole },
    { key: "decode", title: "decode time an image", format: duration, text: duration },
    { key: "encode", title: "encode time an image", format: duration, text: duration },
  ];

  /** A metric's title with the direction that is better. */
  lactok.titleOf = (metric) => `${metric.title} ${lactok.arrow(metric)}`;

  /**
   * The plot of a set's rows with its notes and, if `numbers` is true, its table; a notice where there is no point.
   *
   * set: the set; measured: its rows; options: {rate, metric, log, lossless, continuous, hidden, numbers}. `lossless`:
   * whether rows that give every image back exactly are shown; `continuous`: whether those without ids are; `hidden`: the
   * families that are not.
   */
  lactok.rateFigure = (set, measured, { rate, metric, log, lossless, continuous, hidden, numbers }) => {
    const complete = measured.filter((row) => hasBoth(row, rate, metric));
    const shown = complete.filter((row) =>
      !hidden.has(row.family) && (lossless || !lactok.isLossless(row)) && (continuous || !row.continuous));
    const title = `${metric.title} against ${rate.title}, ${set.title}`;
    if (!shown.length) return [element("p", { class: "notice" }, "No row shown has both of these values.")];
    const axes = {
      x: { title: log ? `${rate.title} (logarithmic)` : rate.title, log, format: rate.format },
      y: { title: `${metric.title} (${metric.better} is better)` },
    };
    const points = shown.map((row) => pointOf(row, rate, metric));
    const counted = `${points.length} tokenizers; ${metric.better} is better.`;
    return [
      lactok.plot(points, axes, title, numbers ? `${counted} The table below has the same numbers.` : counted),
      notes({ measured, complete, shown, hidden }, rate, metric),
      numbers && table(shown, rate, metric),
    ].filter(Boolean);
  };

  /** A logarithmic axis has no place for 0, so a rate counts from above 0. */
  function hasBoth(row, rate, metric) {
    const entry = row.metrics[metric.key];
    return row[rate.key] > 0 && Boolean(entry) && entry.value !== null;
  }

  /** Whether a row gives every image back exactly. */
  lactok.isLossless = (row) => Object.values(row.metrics).some((entry) => entry.exact);

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
      look: row.look,
      hollow: !entry.reliable,
      name: row.name,
      label,
      line: tokenizerOf(row),
    };
  }

  /** What a reader has to know of the plot, and which rows are not in it. */
  function notes({ measured, complete, shown, hidden }, rate, metric) {
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
      lactok.isLossless(row) && !shown.includes(row) && !hidden.has(row.family));
    if (lossless.length) list.push(`Lossless, not shown: ${names(lossless)}.`);
    const ceilings = complete.filter((row) => row.continuous && !shown.includes(row) && !hidden.has(row.family));
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
        title: lactok.titleOf(metric),
        numeric: true,
        better: metric.better,
        value: (row) => row.metrics[metric.key].value,
        cell: (row) => row.metrics[metric.key].text,
      },
    ];
    return lactok.table(columns, { caption: "The plot's numbers", rows, sort: [2, false] }).element;
  }
})();

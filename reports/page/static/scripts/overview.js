// The overview of one data set: its pictures, its table with the best marked, its plot.
"use strict";

lactok.views.overview = function (data) {
  const { element } = lactok;
  const view = element("div", { class: "overview" }, element("h1", {}, "Overview"));
  if (!data.rows.length) {
    view.append(lactok.nothing("No reconstruction was measured yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  const title = element("p", { class: "measured" });
  const pictures = element("section", { class: "part pictures", "aria-label": "Pictures" });
  const table = element("section", { class: "part numbers", "aria-label": "Results" });
  const plot = element("section", { class: "part", "aria-label": "Plot" });
  const address = lactok.address("overview", () => {});
  lactok.keepSet(address, data);
  view.shown = address.read;
  const choice = lactok.setChoice(data, draw);
  view.append(choice ? element("div", { class: "controls" }, choice) : title, pictures, table, plot);
  draw();
  matchMedia("(max-width: 40rem)").addEventListener("change", draw);
  return view;

  function draw() {
    const set = lactok.chosenSet(data);
    const rows = lactok.rowsOfSet(data);
    title.textContent = set.title;
    title.title = set.dataset;
    drawPictures(rows, 0);
    const results = lactok.runsTable(data, rows, "Results", address.write);
    address.keep("sort", results);
    table.replaceChildren(
      element("h2", {}, "Results"),
      results.element,
      ...lactok.marksLine(rows),
      element("details", {}, element("summary", {}, "Notes"), lactok.runsNotes(data, rows)));
    const [metric] = data.metrics.filter((each) => rows.some((row) => row.metrics[each.key]));
    plot.replaceChildren();
    if (!metric) return;
    const options = { rate: lactok.RATES[0], metric, log: true, lossless: false, hidden: new Set(), numbers: false };
    plot.append(
      element("h2", {}, `${metric.title} against bits`),
      ...lactok.rateFigure(set, rows, options),
      element("p", { class: "about" }, element("a", { href: "#plots" }, "Other axes and metrics")));
  }

  /** One photograph and what every tokenizer made of it; `at` is its number among those that most have. */
  function drawPictures(rows, at) {
    const group = data.groups.find((each) => each.key === rows[0].group);
    const samples = group ? lactok.ofMost(group.samples, rows) : [];
    address.keep("sample", {
      get value() { return at ? samples[at].id : ""; },
      set value(id) { drawPictures(rows, Math.max(0, samples.findIndex((each) => each.id === id))); },
    }, "");
    address.write();
    pictures.hidden = !samples.length;
    if (!samples.length) return;
    const sample = samples[at];
    const step = (by) => {
      drawPictures(rows, (at + by + samples.length) % samples.length);
      const name = by < 0 ? "Previous photograph" : "Next photograph";
      pictures.querySelector(`[aria-label="${name}"]`).focus(); // the button that was pressed has been replaced
      lactok.say(samples[(at + by + samples.length) % samples.length].id);
    };
    const bitsOf = (row) => row.bits ?? Infinity;
    const shown = rows.filter((row) => sample.rows[row.key]).sort((a, b) => bitsOf(a) - bitsOf(b));
    const [metric] = data.metrics.filter((each) => each.perImage);
    pictures.replaceChildren(
      element("div", { class: "bar step" },
        samples.length > 1 && lactok.button("‹", () => step(-1), { "aria-label": "Previous photograph" }),
        element("h2", { class: "sample" }, sample.id),
        samples.length > 1 && lactok.button("›", () => step(1), { "aria-label": "Next photograph" })),
      element("div", { class: "row", tabindex: "0", role: "group", "aria-label": "Reconstructions, by bits" },
        sample.photo && small(sample.photo, "photograph", "", sample, shown[0]),
        shown.map((row) => small(sample.rows[row.key], row.name, scoreOf(row), sample, row))));

    function scoreOf(row) {
      const value = metric && sample.rows[row.key].scores[metric.key];
      return value === undefined ? "" : `${metric.title} ${lactok.score(metric, value)}`;
    }
  }

  /** A picture that leads to the viewer, with its name and a score below. */
  function small(picture, name, score, sample, row) {
    const address = new URLSearchParams({ row: row.key, sample: sample.id });
    return element("a", { href: `#pictures?${address}`, class: "small" },
      element("img", { src: picture.thumb, alt: "", width: 128, height: 128, loading: "lazy" }),
      element("span", { class: "name" }, name), score && element("span", { class: "scores" }, score));
  }
};

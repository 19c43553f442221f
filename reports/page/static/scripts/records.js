// Every image's record of a tokenizer: a page at a time, sorted by any score.
"use strict";

lactok.views.records = function (data) {
  const { element } = lactok;
  const view = element("div", {}, element("h1", {}, "Records"));
  const rowsHere = () => lactok.rowsOfSet(data).filter((row) => row.records);
  if (!data.rows.some((row) => row.records)) {
    view.append(lactok.nothing("No records were found yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  // Columns of records that are counts, if the run has them.
  const COUNTS = [
    { key: "bits", title: "Bits" },
    { key: "near_ties", title: "Near ties", hint: "ids whose two nearest codes are all but equally near" },
  ];
  let chosen = null;
  let filter = () => {}; // replaced by `fill`, when there are records to filter
  let sorting = "Sample"; // the `value` of the table
  const titleOf = (row) => [row.name, ...row.unusual].join(", ");
  const choice = lactok.setChoice(data, open);
  const select = lactok.select("Run", [], (key) => show(data.rows.find((row) => row.key === key)));
  const search = lactok.search("Sample or caption", () => filter());
  const shown = element("p", { class: "shown" });
  const place = element("div", {});
  const address = lactok.address("records", () => filter());
  lactok.keepSet(address, data); // before the run, which is one of the set
  address.keep("run", {
    get value() { return chosen ? chosen.key : ""; },
    set value(key) {
      const row = rowsHere().find((each) => each.key === key);
      if (!row || row === chosen) return;
      select.value = key;
      show(row);
    },
  }, ""); // it is always written, since which run stands first changes with the results
  address.keep("sort", {
    get value() { return sorting; },
    set value(text) { sorting = text; },
  });
  address.keep("search", search);
  view.shown = address.read;
  view.append(element("div", { class: "controls" }, choice, select.element, search.element, shown), place);
  open();
  return view;

  /** Shows the first run of the chosen set. */
  function open() {
    const rows = rowsHere();
    select.options(rows.map((row) => [row.key, titleOf(row)]), rows.length ? rows[0].key : "");
    if (rows.length) {
      show(rows[0]);
      return;
    }
    chosen = null;
    filter = () => {};
    shown.textContent = "";
    address.write();
    place.removeAttribute("aria-busy");
    place.replaceChildren(element("p", { class: "notice" }, "The records of these runs could not be read."));
  }

  /** Loads the records of a run and shows them, unless another was chosen meanwhile. */
  async function show(row) {
    chosen = row;
    address.write();
    place.setAttribute("aria-busy", "true");
    try {
      const records = await lactok.load(row.records);
      const samples = await lactok.load(records.samples);
      if (chosen === row) fill(row, records.columns, samples);
    } catch (error) {
      if (chosen === row) place.replaceChildren(lactok.failed(error));
    }
    if (chosen === row) place.removeAttribute("aria-busy");
  }

  /** columns: an array of values for each key. A row of the table is a number, the place in these arrays. */
  function fill(row, columns, { ids, captions }) {
    const pictures = picturesOf(row);
    const everything = ids.map((_, i) => i);
    const metrics = data.metrics.filter((metric) => columns[metric.key]);
    const shownColumns = [
      { title: "Picture", cell: (i) => thumbnail(row, pictures.get(ids[i])) },
      { title: "Sample", head: true, value: (i) => ids[i] },
      captions && { title: "Caption", value: (i) => captions[i], cell: (i) => captions[i] || "–" },
      ...metrics.map((metric) => ({
        title: `${metric.title} ${lactok.arrow(metric)}`,
        numeric: true,
        better: metric.better,
        value: (i) => columns[metric.key][i],
        cell: (i) => lactok.score(metric, columns[metric.key][i]),
      })),
      ...COUNTS.filter(({ key }) => columns[key]).map(({ key, title, hint }) => ({
        title, hint, numeric: true, value: (i) => columns[key][i], cell: (i) => lactok.count(columns[key][i]),
      })),
    ].filter(Boolean);
    const sorted = () => {
      sorting = table.value;
      address.write();
    };
    const options = { caption: `Records of ${row.name}`, rows: everything, size: 50, sort: [1, false], sorted };
    const table = lactok.table(shownColumns, options);
    filter = () => {
      const text = search.value.toLowerCase();
      const captionOf = (i) => (captions && captions[i]) || "";
      const kept = everything.filter((i) =>
        ids[i].toLowerCase().includes(text) || captionOf(i).toLowerCase().includes(text));
      if (table.value !== sorting) {
        table.value = sorting;
        sorting = table.value; // another one, if this run has no such column
      }
      table.update(kept);
      shown.textContent = `${lactok.count(kept.length)} of ${lactok.count(ids.length)} samples,`
        + ` ${lactok.count(pictures.size)} with pictures`;
      address.write();
    };
    filter();
    place.replaceChildren(table.element);
    lactok.say(`records of ${row.name}: ${shown.textContent}`);
  }

  /** The samples of which the viewer has this run's picture, by their ids. */
  function picturesOf(row) {
    const groups = data.groups.filter((group) => group.key === row.group);
    const samples = groups.flatMap((group) => group.samples).filter((sample) => sample.rows[row.key]);
    return new Map(samples.map((sample) => [sample.id, sample]));
  }

  /** A small picture that leads to the sample in the viewer. */
  function thumbnail(row, sample) {
    if (!sample) return element("span", { class: "none" }, "–");
    const made = sample.rows[row.key];
    const address = new URLSearchParams({ row: row.key, sample: sample.id });
    const label = `open ${sample.id} in the viewer`;
    return element("a", { href: `#pictures?${address}`, class: "thumb", "aria-label": label },
      element("img", { src: made.thumb, alt: "", width: 64, height: 64, loading: "lazy" }));
  }
};

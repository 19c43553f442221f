// Every image's record of a tokenizer: a page at a time, sorted by any score.
"use strict";

lactok.views.records = function (data) {
  const { element } = lactok;
  const view = element("div", {}, element("h1", {}, "Records"));
  const rows = data.rows.filter((r) => r.records);
  if (!rows.length) {
    view.append(lactok.nothing("No records were found yet.", "python -m benchmarks.recon --tokenizers local"));
    return view;
  }
  const TITLES = { bits: "Bits", near_ties: "Near ties" };
  let text = "";
  let chosen = rows[0];
  let apply = () => {};
  const name = (r) => `${r.name}, ${r.measure}${r.run.dtype && r.run.dtype !== "float32" ? `, ${r.run.dtype}` : ""}${r.run.seed && r.run.seed !== "0" ? `, seed ${r.run.seed}` : ""}`;
  const select = lactok.select("Run", rows.map((r) => [r.key, name(r)]), (key) => show(rows.find((r) => r.key === key)));
  const search = lactok.search("Sample or caption", (v) => {
    text = v.toLowerCase();
    apply();
  });
  const shown = element("p", { class: "shown" });
  const place = element("div", {});
  view.append(element("div", { class: "controls" }, select.element, search.element, shown), place);
  show(chosen);
  return view;

  async function show(row) {
    chosen = row;
    place.setAttribute("aria-busy", "true");
    try {
      const records = await lactok.load(row.records);
      const samples = await lactok.load(records.samples);
      if (chosen === row) fill(row, records.columns, samples);
    } catch (error) {
      place.replaceChildren(lactok.failed(error));
    }
    place.removeAttribute("aria-busy");
  }

  /** `columns` are arrays by key; a row of the table is an index into them. */
  function fill(row, columns, { ids, captions }) {
    const pictures = new Map();
    for (const group of data.groups) {
      if (group.key === row.group) for (const s of group.samples) if (s.rows[row.key]) pictures.set(s.id, s);
    }
    const everything = ids.map((_, i) => i);
    const metrics = data.metrics.filter((m) => columns[m.key]);
    const list = [
      { title: "Picture", cell: (i) => thumbnail(row, pictures.get(ids[i])) },
      { title: "Sample", head: true, value: (i) => ids[i] },
      captions && { title: "Caption", value: (i) => captions[i], cell: (i) => captions[i] || "–" },
      ...metrics.map((m) => ({
        title: `${m.title} ${lactok.arrow(m)}`, numeric: true, better: m.better,
        value: (i) => columns[m.key][i], cell: (i) => lactok.score(m, columns[m.key][i]),
      })),
      ...Object.keys(TITLES).filter((k) => columns[k]).map((k) => ({
        title: TITLES[k], numeric: true, value: (i) => columns[k][i], cell: (i) => lactok.count(columns[k][i]),
        hint: k === "near_ties" ? "ids whose two nearest codes are all but equally near" : null,
      })),
    ].filter(Boolean);
    const table = lactok.table(list, { caption: `Records of ${row.name}`, rows: everything, size: 50, sort: [1, false] });
    apply = () => {
      const kept = !text ? everything : everything.filter((i) =>
        ids[i].toLowerCase().includes(text) || (captions && captions[i] && captions[i].toLowerCase().includes(text)));
      table.update(kept);
      shown.textContent = `${lactok.count(kept.length)} of ${lactok.count(ids.length)} samples, ${lactok.count(pictures.size)} with pictures`;
    };
    apply();
    place.replaceChildren(table.element);
    lactok.say(`records of ${row.name}: ${shown.textContent}`);
  }

  function thumbnail(row, sample) {
    if (!sample) return element("span", { class: "none" }, "–");
    const made = sample.rows[row.key];
    const address = new URLSearchParams({ row: row.key, sample: sample.id });
    return element("a", { href: `#pictures?${address}`, class: "thumb", "aria-label": `open ${sample.id} in the viewer` },
      element("img", { src: made.thumb, alt: "", width: 64, height: 64, loading: "lazy" }));
  }
};

// The tables: the runs of a data set, and the paper's numbers beside the measured ones.
"use strict";

lactok.views.tables = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {});
  const redraws = {}; // by the part of the view, what shows it anew
  const address = lactok.address("tables", () => Object.values(redraws).forEach((redraw) => redraw()));
  view.append(element("h1", {}, "Tables"), element("h2", {}, "Runs found here"));
  if (!data.rows.length) {
    view.append(lactok.nothing("No reconstruction was measured yet.", "python -m benchmarks.recon --tokenizers local"));
  } else {
    view.append(...runs());
  }
  if (data.tables.length) view.append(...papers());
  if (data.problems.length) {
    view.append(element("h2", {}, "Left out"), element("ul", { class: "problems" },
      data.problems.map((problem) => element("li", {}, problem))));
  }
  view.shown = address.read;
  return view;

  /** One of the papers' tables at a time; at first one with measured values, if there is one. */
  function papers() {
    const place = element("div", {});
    const show = (id) => {
      place.replaceChildren(lactok.paper(data.tables.find((table) => table.id === id)));
      address.write();
    };
    const isMeasured = (table) => table.rows.some((row) => row.cells.some((cell) => cell.measured !== null));
    const first = data.tables.find(isMeasured) || data.tables[0];
    const titleOf = (table) => (isMeasured(table) ? table.title : `${table.title} (nothing measured yet)`);
    const select = lactok.select("Table", data.tables.map((table) => [table.id, titleOf(table)]), show, first.id);
    address.keep("table", select);
    redraws.papers = () => show(select.value);
    show(first.id);
    const controls = element("div", { class: "controls" }, select.element);
    return [element("h2", {}, "Published and measured here"), controls, place];
  }

  /** The table of the runs of a set, with its filters and notes. */
  function runs() {
    const place = element("div", {});
    lactok.keepSet(address, data); // before the filters, which another set makes anew
    const choice = lactok.setChoice(data, fill);
    fill();
    return [choice && element("div", { class: "controls" }, choice), place].filter(Boolean);

    function fill() {
      place.replaceChildren(...filtered(lactok.rowsOfSet(data)));
    }
  }

  function filtered(rows) {
    const tokenCounts = unique(rows.map((row) => row.tokens).filter((tokens) => tokens !== null)).sort((a, b) => a - b);
    const tokenOptions = [["", "any number"], ...tokenCounts.map((tokens) => [String(tokens), lactok.count(tokens)])];
    if (rows.some((row) => row.tokens === null)) tokenOptions.push(["none", "none"]);
    const names = unique(rows.map((row) => row.family)).sort((a, b) => a.localeCompare(b));
    const family = lactok.select("Family", [["", "all families"], ...names.map((name) => [name, name])], filter);
    const tokens = lactok.select("Tokens", tokenOptions, filter);
    const search = lactok.search("Tokenizer", filter);
    const table = lactok.runsTable(data, rows, "Runs found here", address.write);
    const shown = element("p", { class: "shown" });
    for (const [name, control] of Object.entries({ family, tokens, search, sort: table })) address.keep(name, control);
    redraws.runs = filter;
    filter();
    return [
      element("div", { class: "controls", role: "group", "aria-label": "Filter the runs" },
        family.element, tokens.element, search.element, shown),
      table.element,
      ...lactok.marksLine(rows),
      lactok.runsNotes(data, rows),
    ];

    function filter() {
      const text = search.value.toLowerCase();
      const kept = rows.filter((row) =>
        (!family.value || row.family === family.value)
        && (!tokens.value || String(row.tokens ?? "none") === tokens.value)
        && row.name.toLowerCase().includes(text));
      table.update(kept);
      shown.textContent = `${kept.length} of ${rows.length} runs`;
      lactok.say(shown.textContent);
      address.write();
    }
  }
};

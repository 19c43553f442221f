// A table that is sorted by any of its columns, whole or a page at a time.
"use strict";

(function () {
  const { element } = lactok;

  /**
   * columns: a list of {title, value(row), cell(row), numeric, better, head, hint, group}. A column sorts by `value`,
   *   null values last, and shows `cell`, a node or text; without `cell` it shows the value. `better` is "higher" or
   *   "lower"; `head` marks the row's name; columns with the same `group` stand under one head.
   * options: {caption, rows, sort, size, empty, sorted}. `sort` is [number of the column, descending]; `size` is the
   *   rows on a page, all of them without it; `empty` is the text where there is no row; sorted() is called when the
   *   reader sorts.
   * Returns {element, update(rows), value}; the value is the title of the column that it is sorted by, after a "-" where
   *   the highest come first, or an empty text.
   */
  lactok.table = (columns, options) => {
    let rows = options.rows || [];
    let [sortedBy, descending] = options.sort || [null, false];
    let order = []; // of the rows as sorted: their numbers in `rows`
    const head = element("tr", {});
    const body = element("tbody", {});
    const pager = options.size ? lactok.pager(options.size, drawRows) : null;
    const scroller = element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": options.caption },
      element("table", {},
        element("caption", { class: "unseen" }, options.caption),
        element("thead", {}, columns.some((column) => column.group) && groupHeads(columns), head),
        body));
    hintAtMore(scroller);
    drawHeads();
    sort();
    return {
      element: element("div", { class: "table" }, scroller, pager && pager.element),
      update(list) {
        rows = list;
        sort();
      },
      get value() { return sortedBy === null ? "" : (descending ? "-" : "") + nameOf(columns[sortedBy]); },
      set value(text) {
        const found = columns.findIndex((column) => column.value && nameOf(column) === text.replace(/^-/, ""));
        [sortedBy, descending] = found < 0 ? options.sort || [null, false] : [found, text.startsWith("-")];
        sort();
        drawHeads();
      },
    };

    function drawHeads() {
      head.replaceChildren(...columns.map((column, i) => {
        const label = column.value
          ? lactok.button(column.title, () => sortBy(i), { class: "sort" })
          : element("span", {}, column.title);
        const direction = descending ? "descending" : "ascending";
        const sorted = i === sortedBy ? direction : null;
        return element("th", { scope: "col", class: classOf(column), "aria-sort": sorted, title: column.hint }, label);
      }));
    }

    /** A second click on the same head turns the order round. */
    function sortBy(i) {
      descending = i === sortedBy ? !descending : columns[i].better === "higher";
      sortedBy = i;
      sort();
      drawHeads();
      head.children[i].querySelector("button").focus();
      const name = [columns[i].group, columns[i].title].filter(Boolean).join(", ");
      lactok.say(`sorted by ${name}, ${descending ? "highest" : "lowest"} first`);
      if (options.sorted) options.sorted();
    }

    function sort() {
      order = rows.map((_, i) => i);
      if (sortedBy !== null) {
        const values = rows.map(columns[sortedBy].value);
        const sign = descending ? -1 : 1;
        order.sort((a, b) => compare(values[a], values[b], sign) || a - b);
      }
      if (pager) pager.reset(order.length);
      drawRows();
    }

    function drawRows() {
      const shown = pager ? order.slice(pager.start, pager.end) : order;
      body.replaceChildren(...shown.map((i) => element("tr", {}, columns.map((column) => drawCell(column, rows[i])))));
      if (!shown.length) {
        const text = options.empty || "nothing matches";
        body.append(element("tr", {}, element("td", { colspan: columns.length, class: "empty" }, text)));
      }
      scroller.scrollTop = 0;
    }
  };

  /** A column's title without the arrow of the better direction. */
  function nameOf(column) {
    return column.title.replace(/ [↑↓]$/, "");
  }

  /** A value such as "27.31 ±0.42" as nodes, its spread apart. */
  lactok.valueWithSpread = (text) => {
    const [value, spread] = text.split(" ±");
    return spread ? [value, element("span", { class: "spread" }, ` ±${spread}`)] : [value];
  };

  /** A text with the mark of the best or the second best of its column; mark: "best", "second" or nothing. */
  lactok.marked = (text, mark) =>
    (mark ? element(mark === "best" ? "strong" : "span", { class: mark }, text) : text);

  /** The heads over groups of neighbouring columns. */
  function groupHeads(columns) {
    const spans = []; // {group, count}
    for (const { group } of columns) {
      const last = spans.at(-1);
      if (last && last.group === group) last.count += 1;
      else spans.push({ group, count: 1 });
    }
    return element("tr", {}, spans.map(({ group, count }) => (group
      ? element("th", { scope: "colgroup", colspan: count, class: "group" }, group)
      : element("td", { colspan: count }))));
  }

  function drawCell(column, row) {
    const content = column.cell ? column.cell(row) : String(column.value(row) ?? "–");
    const tag = column.head ? "th" : "td";
    return element(tag, { scope: column.head ? "row" : null, class: classOf(column) }, content);
  }

  function classOf(column) {
    return [column.numeric && "number", column.first && "first"].filter(Boolean).join(" ") || null;
  }

  /** Marks a table that has columns out of sight on its right. */
  function hintAtMore(scroller) {
    const update = () => {
      const hidden = scroller.scrollWidth - scroller.clientWidth - scroller.scrollLeft;
      scroller.classList.toggle("more", hidden > 2);
    };
    scroller.addEventListener("scroll", update, { passive: true });
    const observer = new ResizeObserver(update);
    observer.observe(scroller);
    observer.observe(scroller.firstChild);
  }

  /** Numbers by size, everything else as text with its numbers by size; what is missing last, whatever `sign` is. */
  function compare(a, b, sign) {
    const missing = Number(a === null || a === undefined) - Number(b === null || b === undefined);
    if (missing !== 0) return missing;
    if (a === null || a === undefined) return 0;
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }
})();

// A table that is sorted by any of its columns, whole or a page at a time.
"use strict";

(function () {
  const { element } = lactok;

  /**
   * columns: {title, value(row), cell(row) -> node or text, numeric, better: "higher" | "lower", head: is it a row's name,
   *           hint, group: of columns that stand under one head}; null values come last.
   * options: caption, rows, sort: [column, descending], size: rows a page (all without), empty: text.
   * Returns {element, update(rows), columns(list)}.
   */
  lactok.table = (columns, options) => {
    let rows = options.rows || [];
    let [by, descending] = options.sort || [null, false];
    let order = [];
    const groups = element("tr", {});
    const head = element("tr", {});
    const body = element("tbody", {});
    const pager = options.size ? lactok.pager(options.size, draw) : null;
    const scroller = element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": options.caption },
      element("table", {}, element("caption", { class: "unseen" }, options.caption), element("thead", {}, columns.some((c) => c.group) && groups, head), body));

    function heads() {
      head.replaceChildren(...columns.map((column, i) => element("th", {
        scope: "col",
        class: kind(column),
        "aria-sort": i === by ? (descending ? "descending" : "ascending") : null,
        title: column.hint,
      }, column.value
        ? lactok.button(column.title, () => sortBy(i), { class: "sort" })
        : element("span", {}, column.title))));
    }

    function sortBy(i) {
      descending = i === by ? !descending : columns[i].better === "higher";
      by = i;
      sort();
      heads();
      head.children[i].querySelector("button").focus();
      lactok.say(`sorted by ${[columns[i].group, columns[i].title].filter(Boolean).join(", ")}, ${descending ? "highest" : "lowest"} first`);
    }

    function sort() {
      order = rows.map((_, i) => i);
      if (by !== null) {
        const values = rows.map(columns[by].value);
        const sign = descending ? -1 : 1;
        order.sort((a, b) => compare(values[a], values[b], sign) || a - b);
      }
      if (pager) pager.reset(order.length);
      draw();
    }

    function draw() {
      const shown = pager ? order.slice(pager.start, pager.end) : order;
      body.replaceChildren(...shown.map((i) => element("tr", {}, columns.map((column) => {
        const content = column.cell ? column.cell(rows[i]) : String(column.value(rows[i]) ?? "–");
        return element(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: kind(column) }, content);
      }))));
      if (!shown.length) {
        body.append(element("tr", {}, element("td", { colspan: columns.length, class: "empty" }, options.empty || "nothing matches")));
      }
      scroller.scrollTop = 0;
    }

    for (let i = 0; i < columns.length;) {
      const end = columns.findIndex((c, j) => j > i && c.group !== columns[i].group);
      const span = (end < 0 ? columns.length : end) - i;
      groups.append(columns[i].group
        ? element("th", { scope: "colgroup", colspan: span, class: "group" }, columns[i].group)
        : element("td", { colspan: span }));
      i += span;
    }
    const whole = element("div", { class: "table" }, scroller, pager && pager.element);
    const hint = () => scroller.classList.toggle("more", scroller.scrollWidth - scroller.clientWidth - scroller.scrollLeft > 2);
    scroller.addEventListener("scroll", hint, { passive: true });
    const watch = new ResizeObserver(hint); // columns that are out of sight
    watch.observe(scroller);
    watch.observe(scroller.firstChild);
    heads();
    sort();
    return {
      element: whole,
      update(list) {
        rows = list;
        sort();
      },
    };
  };

  function kind(column) {
    return [column.numeric && "number", column.first && "first"].filter(Boolean).join(" ") || null;
  }

  function compare(a, b, sign) {
    if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
    if (b === null || b === undefined) return -1;
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }
})();

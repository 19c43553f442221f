// Which view is shown (the address tells), the theme, and help.
"use strict";

lactok.load("summary").then((data) => {
  const { element } = lactok;
  const content = document.getElementById("content");
  const links = [...document.querySelectorAll("nav a")];
  const made = new Map(); // the name of a view -> its section, made when it is first looked at

  /** Shows the view that the address names, the tables if it names none; `moved` is false at the start. */
  function show(moved) {
    const [name, query] = location.hash.slice(1).split("?");
    const view = Object.hasOwn(lactok.views, name) ? name : "tables";
    if (!made.has(view)) {
      const section = lactok.views[view](data);
      section.id = `view-${view}`;
      made.set(view, section);
      content.append(section);
    }
    for (const [key, section] of made) section.hidden = key !== view;
    for (const link of links) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const heading = made.get(view).querySelector("h1").textContent;
    document.title = `${heading}, lactok reports`;
    if (moved) {
      content.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    if (made.get(view).shown) made.get(view).shown(new URLSearchParams(query));
  }

  addEventListener("hashchange", () => show(true));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // The address names the view and has to stay.
    content.focus();
  });
  show(false);

  document.getElementById("help").addEventListener("click", help);
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !event.target.closest("input, select, dialog")) help();
  });

  function help() {
    const about = "Heads of tables sort them. In plots, marks tell their numbers on touch, hover or focus."
      + " Pictures zoom by wheel, double click, pinch or buttons and move by dragging, all of them together."
      + " The error map is the difference from the photograph, made brighter.";
    const keys = [
      ["← →", "previous and next sample"],
      ["↑ ↓", "previous and next tokenizer"],
      ["+ − 0", "zoom in, out, whole picture"],
      ["Shift and arrows", "move a zoomed picture"],
      ["w", "wipe between photograph and reconstruction"],
      ["e", "error map"],
      ["?", "this help"],
    ];
    lactok.dialog("Help",
      element("p", {}, about),
      element("h3", {}, "Keys in the picture viewer"),
      element("dl", { class: "keys" }, keys.map(([key, what]) =>
        [element("dt", {}, element("kbd", {}, key)), element("dd", {}, what)])));
  }
}).catch((error) => document.getElementById("content").append(lactok.failed(error)));

// The theme is the system's, or the one that the reader chose.
(function () {
  const theme = document.getElementById("theme");
  const apply = (value) => {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  };
  theme.value = lactok.recall("theme");
  apply(theme.value);
  theme.addEventListener("change", () => {
    apply(theme.value);
    lactok.remember("theme", theme.value);
  });
})();

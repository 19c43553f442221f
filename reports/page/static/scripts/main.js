// Shows the view that the page's address names; the theme and the help dialog.
"use strict";

lactok.load("summary").then((data) => {
  const { element } = lactok;
  const content = document.getElementById("content");
  const links = [...document.querySelectorAll("nav a")];
  const made = new Map(); // the name of a view -> its section, which is made when it is first shown

  /** Shows the view that the address names, or the overview; `moved`: the reader followed a link to it. */
  function show(moved) {
    const [name, query] = location.hash.slice(1).split("?");
    const view = Object.hasOwn(lactok.views, name) ? name : "overview";
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
    // A view may have a function `shown`, which gets the parameters in the address, such as the sample to show.
    if (made.get(view).shown) made.get(view).shown(new URLSearchParams(query));
  }

  addEventListener("hashchange", () => show(true));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // Following the link would replace the view's name in the address.
    content.focus();
  });
  show(false);

  document.getElementById("help").addEventListener("click", help);
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !event.target.closest("input, select, dialog")) help();
  });

  function help() {
    const about = "Click the head of a column to sort a table."
      + " In plots, touch, hover over or focus a mark to read its numbers."
      + " Zoom pictures by wheel, double click, pinch or buttons and drag to move them; all pictures follow together."
      + " The error map is the difference from the photograph, made brighter."
      + " What you have chosen stands in the page's address, so that you can send it as a link.";
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

// The theme is the system's unless the reader has chosen one.
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

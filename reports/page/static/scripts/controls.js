// Labelled controls.
"use strict";

(function () {
  const { element } = lactok;

  /** A select; `options` are [value, text]. Returns {element, value, options}. */
  lactok.select = (label, options, changed, chosen) => {
    const select = element("select", { onchange: () => changed(select.value) });
    const set = (list, value) => {
      select.replaceChildren(...list.map(([v, text]) => element("option", { value: v }, text)));
      if (value !== undefined && list.some(([v]) => v === value)) select.value = value;
    };
    set(options, chosen);
    return {
      element: element("label", { class: "field" }, element("span", {}, label), select),
      get value() { return select.value; },
      set value(v) { select.value = v; },
      options: set,
    };
  };

  lactok.search = (label, changed) => {
    const input = element("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: () => changed(input.value) });
    return { element: element("label", { class: "field" }, element("span", {}, label), input), get value() { return input.value; } };
  };

  lactok.checkbox = (label, checked, changed) => {
    const input = element("input", { type: "checkbox", onchange: () => changed(input.checked) });
    input.checked = checked;
    return { element: element("label", { class: "check" }, input, element("span", {}, label)), input };
  };

  lactok.button = (label, clicked, attributes) =>
    element("button", { type: "button", onclick: clicked, ...attributes }, label);

  /** A slider; `text` names a value for readers. */
  lactok.slider = (label, range, value, changed, text) => {
    const shown = element("output", {});
    const input = element("input", { type: "range", min: range[0], max: range[1], step: range[2], oninput: () => set(Number(input.value), true) });
    function set(v, tell) {
      input.value = v;
      input.setAttribute("aria-valuetext", text(v));
      shown.textContent = text(v);
      if (tell) changed(v);
    }
    set(value, false);
    return { element: element("label", { class: "field slider" }, element("span", {}, label), input, shown), set };
  };

  /** A dialog over the page; closes by Escape, its button, or a click beside it. */
  lactok.dialog = (title, ...children) => {
    const dialog = element("dialog", { class: "dialog", "aria-label": title },
      element("div", { class: "dialog-head" }, element("h2", {}, title), lactok.button("Close", () => dialog.close())),
      ...children);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  };

  /** Previous and next page of `count` things, `size` at a time. */
  lactok.pager = (size, turned) => {
    let page = 0;
    let count = 0;
    const shown = element("span", { class: "pages" });
    const buttons = [["First", () => 0], ["Previous", () => page - 1], ["Next", () => page + 1], ["Last", last]]
      .map(([label, to]) => lactok.button(label, () => go(to())));
    function last() {
      return Math.max(0, Math.ceil(count / size) - 1);
    }
    function show() {
      const end = Math.min(count, (page + 1) * size);
      shown.textContent = count ? `${lactok.count(page * size + 1)} to ${lactok.count(end)} of ${lactok.count(count)}` : "none";
      buttons[0].disabled = buttons[1].disabled = page === 0;
      buttons[2].disabled = buttons[3].disabled = page >= last();
    }
    function go(to) {
      page = Math.min(Math.max(0, to), last());
      show();
      turned();
      lactok.say(shown.textContent);
    }
    return {
      element: element("div", { class: "pager" }, buttons.slice(0, 2), shown, buttons.slice(2)),
      /** Start again with this many. */
      reset(n) {
        count = n;
        page = 0;
        show();
      },
      get start() { return page * size; },
      get end() { return Math.min(count, (page + 1) * size); },
    };
  };
})();

// Controls with their labels.
"use strict";

(function () {
  const { element } = lactok;

  /**
   * A choice. options: a list of [value, text]; changed(value) is called when the reader chooses.
   * Returns {element, value, options(list, value)}; the last replaces the options.
   */
  lactok.select = (label, options, changed, chosen) => {
    const select = element("select", { onchange: () => changed(select.value) });
    const setOptions = (list, value) => {
      select.replaceChildren(...list.map(([each, text]) => element("option", { value: each }, text)));
      if (list.some(([each]) => each === value)) select.value = value;
    };
    setOptions(options, chosen);
    return {
      element: element("label", { class: "field" }, element("span", {}, label), select),
      get value() { return select.value; },
      /** A value that is no option changes nothing. */
      set value(value) {
        if ([...select.options].some((option) => option.value === value)) select.value = value;
      },
      options: setOptions,
    };
  };

  /** A field for a text to look for; changed(text) is called at every letter. Returns {element, value}. */
  lactok.search = (label, changed) => {
    const input = element("input", {
      type: "search", autocomplete: "off", spellcheck: "false", oninput: () => changed(input.value),
    });
    return {
      element: element("label", { class: "field" }, element("span", {}, label), input),
      get value() { return input.value; },
      set value(text) { input.value = text; },
    };
  };

  /** Returns {element, input, value}; the value is "yes" or "no". */
  lactok.checkbox = (label, checked, changed) => {
    const input = element("input", { type: "checkbox", onchange: () => changed(input.checked) });
    input.checked = checked;
    return {
      element: element("label", { class: "check" }, input, element("span", {}, label)),
      input,
      get value() { return input.checked ? "yes" : "no"; },
      set value(text) { input.checked = text === "yes"; },
    };
  };

  /** label: text or nodes. */
  lactok.button = (label, clicked, attributes) =>
    element("button", { type: "button", onclick: clicked, ...attributes }, label);

  /**
   * A slider. range: [least, most, step]; text(value) writes a value for the reader.
   * Returns {element, set(value, tell)}; `changed` is called only if `tell` is true.
   */
  lactok.slider = (label, range, value, changed, text) => {
    const shown = element("output", {});
    const [min, max, step] = range;
    const input = element("input", { type: "range", min, max, step, oninput: () => set(Number(input.value), true) });
    function set(next, tell) {
      input.value = next;
      input.setAttribute("aria-valuetext", text(next));
      shown.textContent = text(next);
      if (tell) changed(next);
    }
    set(value, false);
    return { element: element("label", { class: "field slider" }, element("span", {}, label), input, shown), set };
  };

  /** A dialog over the page; it closes by Escape, by its button, or by a click beside it. */
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

  /**
   * Buttons that turn pages of `size` things each; turned() is called after every turn.
   * Returns {element, reset(count), start, end}; the things from `start` up to `end` are on the page.
   */
  lactok.pager = (size, turned) => {
    let page = 0;
    let count = 0;
    const shown = element("span", { class: "pages" });
    const first = lactok.button("First", () => go(0));
    const previous = lactok.button("Previous", () => go(page - 1));
    const next = lactok.button("Next", () => go(page + 1));
    const last = lactok.button("Last", () => go(lastPage()));
    function lastPage() {
      return Math.max(0, Math.ceil(count / size) - 1);
    }
    function show() {
      const end = Math.min(count, (page + 1) * size);
      const range = `${lactok.count(page * size + 1)} to ${lactok.count(end)}`;
      shown.textContent = count ? `${range} of ${lactok.count(count)}` : "none";
      first.disabled = page === 0;
      previous.disabled = page === 0;
      next.disabled = page >= lastPage();
      last.disabled = page >= lastPage();
    }
    function go(to) {
      page = Math.min(Math.max(0, to), lastPage());
      show();
      turned();
      lactok.say(shown.textContent);
    }
    return {
      element: element("div", { class: "pager" }, first, previous, shown, next, last),
      /** Starts again at the first page, with this many things. */
      reset(number) {
        count = number;
        page = 0;
        show();
      },
      get start() { return page * size; },
      get end() { return Math.min(count, (page + 1) * size); },
    };
  };
})();

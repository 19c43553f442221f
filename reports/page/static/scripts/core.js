// What every view uses. Text from outside enters the page by textContent alone.
"use strict";

const lactok = { views: {} };

(function () {
  const received = new Map(); // name -> value of data files that have arrived
  const waiting = new Map(); // name -> promise

  /** Called by the data files. */
  lactok.receive = (name, value) => received.set(name, value);

  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("lactok", {
        createScriptURL(url) {
          if (!/^data\/[a-z0-9-]+\.js$/.test(url)) throw new TypeError("not a data file");
          return url;
        },
      })
    : { createScriptURL: (url) => url };

  /** The value of data/<name>.js, loaded once. */
  lactok.load = (name) => {
    if (received.has(name)) return Promise.resolve(received.get(name));
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = policy.createScriptURL("data/" + name + ".js");
        script.onload = () => resolve(received.get(name));
        script.onerror = () => {
          waiting.delete(name);
          script.remove();
          reject(new Error("data/" + name + ".js is missing beside this page; build it again"));
        };
        document.head.append(script);
      }));
    }
    return waiting.get(name);
  };

  /** An element: attributes (`class`, `aria-label`, ...), listeners (`onclick` as a function), children or text. */
  lactok.element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

  lactok.svg = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }

  /** Told to screen readers without moving the focus. */
  lactok.say = (text) => {
    document.getElementById("live").textContent = text;
  };

  /** Remembered between visits where the browser allows it. */
  lactok.remember = (key, value) => {
    try {
      if (value) localStorage.setItem("lactok." + key, value);
      else localStorage.removeItem("lactok." + key);
    } catch { /* files may have no storage */ }
  };

  lactok.recall = (key) => {
    try {
      return localStorage.getItem("lactok." + key) || "";
    } catch {
      return "";
    }
  };

  const grouped = new Intl.NumberFormat("en-GB");

  /** A count with thousands apart, or a dash. */
  lactok.count = (value) => (value === null || value === undefined ? "–" : grouped.format(value));

  lactok.fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

  /** Seconds in the unit that reads best. */
  lactok.duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${Number(seconds.toPrecision(3))} s`;
  };

  /** A metric's value of one image. */
  lactok.score = (metric, value) =>
    value === null || value === undefined ? "–" : (value * metric.factor).toFixed(metric.digits);

  lactok.arrow = (metric) => (metric.better === "higher" ? "↑" : "↓");

  lactok.unique = (values) => [...new Set(values)];

  /** What to show where nothing was run, with the command that fills it. */
  lactok.nothing = (text, command) =>
    lactok.element("div", { class: "notice" }, lactok.element("p", {}, text),
      lactok.element("p", {}, "This fills it, followed by building the page again:"),
      lactok.element("pre", {}, lactok.element("code", {}, command)));

  lactok.failed = (error) => lactok.element("p", { class: "notice", role: "alert" }, error.message);
})();

// What every view uses. Text from outside enters the page as text, never as HTML.
"use strict";

const lactok = { views: {} };

(function () {
  const received = new Map(); // the name of a data file that has arrived -> its value
  const waiting = new Map(); // the name of a data file that was asked for -> the promise of its value

  /** The data files call this with their name and their value. */
  lactok.receive = (name, value) => received.set(name, value);

  // The page's policy allows no other address of a script than one that passes here.
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("lactok", {
        createScriptURL(url) {
          if (!/^data\/[a-z0-9-]+\.js$/.test(url)) throw new TypeError("not a data file");
          return url;
        },
      })
    : { createScriptURL: (url) => url };

  /** The promise of the value of data/<name>.js, which is loaded once. */
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

  /** A new HTML element: attributes (`class`, `aria-label`), listeners (`onclick: function`), children or texts. */
  lactok.element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

  /** A new SVG element, in the same way. */
  lactok.svg = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  /** Attributes and children that are null, undefined or false are left out; lists of children may be nested. */
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (isNothing(value)) continue;
      if (typeof value === "function") element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(Infinity).filter((child) => !isNothing(child)));
    return element;
  }

  function isNothing(value) {
    return value === null || value === undefined || value === false;
  }

  /** Tells a text to screen readers; the focus stays where it is. */
  lactok.say = (text) => {
    document.getElementById("live").textContent = text;
  };

  /** Stores a text until the next visit, where the browser allows it; an empty one is forgotten. */
  lactok.remember = (key, value) => {
    try {
      if (value) localStorage.setItem("lactok." + key, value);
      else localStorage.removeItem("lactok." + key);
    } catch { /* A page that was opened from a file may have no storage. */ }
  };

  /** The text that was stored, or an empty one. */
  lactok.recall = (key) => {
    try {
      return localStorage.getItem("lactok." + key) || "";
    } catch {
      return "";
    }
  };

  const grouped = new Intl.NumberFormat("en-GB");

  /** A count as 13,312, or a dash where there is none. */
  lactok.count = (value) => (value === null || value === undefined ? "–" : grouped.format(value));

  /** A number with this many digits after its point, or a dash where there is none; zero has no minus. */
  lactok.fixed = (value, digits) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace(/^-(?=[0.]+$)/, "");

  /** Seconds as text, in milliseconds where they are fewer than one. */
  lactok.duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${Number(seconds.toPrecision(3))} s`;
  };

  /** A metric's value of one image, scaled and rounded as the metric says. */
  lactok.score = (metric, value) =>
    value === null || value === undefined ? "–" : lactok.fixed(value * metric.factor, metric.digits);

  /** Which direction of a metric is better. */
  lactok.arrow = (metric) => (metric.better === "higher" ? "↑" : "↓");

  /** The values without repetitions, each where it comes first. */
  lactok.unique = (values) => [...new Set(values)];

  /** A notice where nothing was run yet, with the command to run. */
  lactok.nothing = (text, command) =>
    lactok.element("div", { class: "notice" }, lactok.element("p", {}, text),
      lactok.element("p", {}, "This fills it, followed by building the page again:"),
      lactok.element("pre", {}, lactok.element("code", {}, command)));

  /** A notice of an error. */
  lactok.failed = (error) => lactok.element("p", { class: "notice", role: "alert" }, error.message);
})();

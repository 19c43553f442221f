// Frames: a picture, or a photograph with a reconstruction over it as a wipe or as a map of the difference.
"use strict";

(function () {
  const { element } = lactok;

  function picture(source, alt) {
    const { full, width, height } = source;
    return element("img", { src: full, alt, width, height, draggable: "false", decoding: "async" });
  }

  function layer(kind, source, alt) {
    return element("div", { class: `layer ${kind}` }, picture(source, alt));
  }

  function stage(source, layers, kind) {
    const made = element("div", { class: `stage ${kind || ""}` }, layers);
    made.style.aspectRatio = `${source.width} / ${source.height}`;
    return made;
  }

  function figure(content, caption, attributes) {
    return element("figure", { class: "frame", ...attributes }, content, element("figcaption", {}, caption));
  }

  /** The photograph. */
  lactok.photoFrame = ({ id, photo }) => {
    const size = element("span", { class: "scores" }, `${photo.width} × ${photo.height} px`);
    const caption = [element("strong", {}, "photograph"), size];
    return figure(stage(photo, [layer("plain", photo, `photograph ${id}`)]), caption);
  };

  /** A tokenizer's reconstruction; mode "error" lays it over the photograph as a difference. */
  lactok.rowFrame = (sample, row, metrics, mode, attributes) => {
    const made = sample.rows[row.key];
    const name = element("strong", {}, row.name);
    if (!made) {
      const text = element("p", {}, "no picture of this sample was stored");
      const empty = element("div", { class: "stage missing" }, text);
      const like = sample.photo || Object.values(sample.rows)[0];
      empty.style.aspectRatio = `${like.width} / ${like.height}`;
      return figure(empty, [name], attributes);
    }
    const tags = made.why.map((reason) => element("span", { class: `tag ${reason.split(" ")[0]}` }, reason));
    const caption = [name, tags, scoreLine(made, metrics)];
    if (mode === "error" && sample.photo) {
      // The two are moved and scaled as one: each by itself would be sampled at positions that differ by a hair.
      const difference = `difference of ${row.name} from photograph ${sample.id}`;
      const pair = element("div", { class: "pair" }, picture(sample.photo, ""), picture(made, difference));
      return figure(stage(made, [element("div", { class: "layer" }, pair)], "error"), caption, attributes);
    }
    return figure(stage(made, [layer("plain", made, `${row.name} of ${sample.id}`)]), caption, attributes);
  };

  /**
   * The photograph left of a line, the reconstruction right of it; the slider and the line itself move the line.
   * share: where the line is, in percent; moved(share) is called when it moves.
   */
  lactok.wipeFrame = (sample, row, metrics, share, moved) => {
    const made = sample.rows[row.key];
    const line = element("div", { class: "wipe-line", "aria-hidden": "true" });
    const both = stage(made, [
      layer("plain", sample.photo, `photograph ${sample.id}`),
      layer("over", made, `${row.name} of ${sample.id}`), line,
      element("span", { class: "side left", "aria-hidden": "true" }, "photograph"),
      element("span", { class: "side right", "aria-hidden": "true" }, row.name)]);
    const place = (value) => both.style.setProperty("--wipe", `${value}%`);
    const slider = lactok.slider("Wipe", [0, 100, 1], share, (value) => {
      place(value);
      moved(value);
    }, (value) => `${value} % photograph`);
    place(share);
    line.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      line.setPointerCapture(event.pointerId);
    });
    line.addEventListener("pointermove", (event) => {
      if (!line.hasPointerCapture(event.pointerId)) return;
      const box = both.getBoundingClientRect();
      const percent = (100 * (event.clientX - box.left)) / box.width;
      slider.set(Math.round(Math.min(100, Math.max(0, percent))), true);
    });
    const caption = element("strong", {}, `left: photograph, right: ${row.name}`);
    return figure([both, slider.element], [caption, scoreLine(made, metrics)], { class: "frame wide" });
  };

  /** A picture's scores as texts, in the order of the metrics. */
  lactok.scores = (made, metrics) =>
    metrics.filter((metric) => made.scores[metric.key] !== undefined)
      .map((metric) => `${metric.title} ${lactok.score(metric, made.scores[metric.key])}`);

  function scoreLine(made, metrics) {
    return element("span", { class: "scores" }, lactok.scores(made, metrics).join(" · "));
  }
})();

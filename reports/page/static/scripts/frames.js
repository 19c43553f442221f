// Frames: a picture, or a photograph with a reconstruction over it as a wipe or as a map of the difference.
"use strict";

(function () {
  const { element } = lactok;

  function picture(source, alt) {
    return element("img", { src: source.full, alt, width: source.width, height: source.height, draggable: "false", decoding: "async" });
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
  lactok.photoFrame = (sample) =>
    figure(stage(sample.photo, [layer("plain", sample.photo, `photograph ${sample.id}`)]),
      [element("strong", {}, "photograph"), element("span", { class: "scores" }, `${sample.photo.width} × ${sample.photo.height} px`)]);

  /** A row's reconstruction; mode "error" lays it over the photograph as a difference. */
  lactok.rowFrame = (sample, row, metrics, mode, attributes) => {
    const made = sample.rows[row.key];
    const name = element("strong", {}, row.name);
    if (!made) {
      const empty = element("div", { class: "stage missing" }, element("p", {}, "no picture of this sample was stored"));
      const like = sample.photo || Object.values(sample.rows)[0];
      empty.style.aspectRatio = `${like.width} / ${like.height}`;
      return figure(empty, [name], attributes);
    }
    const why = made.why.filter((w) => w !== "chosen").map((w) => element("span", { class: `tag ${w}` }, w));
    const caption = [name, why, element("span", { class: "scores" }, scores(made, metrics))];
    if (mode === "error" && sample.photo) {
      // moved and scaled as one: each by itself would be sampled at positions that differ by a hair
      const pair = element("div", { class: "pair" }, picture(sample.photo, ""), picture(made, `difference of ${row.name} from photograph ${sample.id}`));
      return figure(stage(made, [element("div", { class: "layer" }, pair)], "error"), caption, attributes);
    }
    return figure(stage(made, [layer("plain", made, `${row.name} of ${sample.id}`)]), caption, attributes);
  };

  /** The photograph left of a line, the reconstruction right of it; the slider moves the line. */
  lactok.wipeFrame = (sample, row, metrics, share, moved) => {
    const made = sample.rows[row.key];
    const line = element("div", { class: "wipe-line", "aria-hidden": "true" });
    const stageOf = stage(made, [
      layer("plain", sample.photo, `photograph ${sample.id}`),
      layer("over", made, `${row.name} of ${sample.id}`), line]);
    const slider = lactok.slider("Wipe", [0, 100, 1], share, (v) => {
      stageOf.style.setProperty("--wipe", `${v}%`);
      moved(v);
    }, (v) => `${v} % photograph`);
    stageOf.style.setProperty("--wipe", `${share}%`);
    line.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      line.setPointerCapture(event.pointerId);
    });
    line.addEventListener("pointermove", (event) => {
      if (!line.hasPointerCapture(event.pointerId)) return;
      const box = stageOf.getBoundingClientRect();
      const v = Math.round(Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100)));
      stageOf.style.setProperty("--wipe", `${v}%`);
      slider.set(v, false);
      moved(v);
    });
    return figure([stageOf, slider.element],
      [element("strong", {}, `photograph | ${row.name}`), element("span", { class: "scores" }, scores(made, metrics))], { class: "frame wide" });
  };

  function scores(made, metrics) {
    return metrics.filter((m) => made.scores[m.key] !== undefined)
      .map((m) => `${m.title} ${lactok.score(m, made.scores[m.key])}`).join(" · ");
  }
})();

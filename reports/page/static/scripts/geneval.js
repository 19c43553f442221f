// GenEval: scores a task, and every verdict with its boxes.
"use strict";

lactok.views.geneval = function (data) {
  const { element, unique } = lactok;
  const view = element("div", {}, element("h1", {}, "GenEval"));
  const results = data.geneval;
  if (!results.length) {
    view.append(lactok.nothing("No generated images were judged yet.", "python -m benchmarks.geneval --scenes"));
    return view;
  }
  const SIZE = 24;
  let result = results[0];
  let verdicts = [];
  let kept = [];
  const about = element("div", {});
  const cards = element("div", { class: "cards" });
  const shown = element("p", { class: "shown" });
  const which = lactok.select("Result", results.map((r) => [r.key, `${r.name}, ${r.detector}`]), (key) => {
    result = results.find((r) => r.key === key);
    open();
  });
  const task = lactok.select("Task", [], filter);
  const verdict = lactok.select("Verdict", [["", "all"], ["wrong", "wrong"], ["correct", "correct"], ["error", "not judged"]], filter);
  const drawn = lactok.checkbox("with pictures only", true, filter);
  const search = lactok.search("Prompt", filter);
  const pager = lactok.pager(SIZE, draw);
  view.append(scores(), element("h2", {}, "Verdicts"),
    element("div", { class: "controls", role: "group", "aria-label": "Filter the verdicts" },
      results.length > 1 && which.element, task.element, verdict.element, search.element, drawn.element, shown),
    about, cards, pager.element);
  open();
  return view;

  function scores() {
    const tasks = unique(results.flatMap((r) => r.tasks.map((t) => t.task)));
    const of = (r, t) => r.tasks.find((e) => e.task === t);
    const table = lactok.table([
      { title: "Images", head: true, value: (r) => r.name, cell: (r) => r.name + (r.comparable ? "" : "*") },
      { title: "Detector", value: (r) => r.detector },
      ...tasks.map((t) => ({ title: t, numeric: true, better: "higher", value: (r) => (of(r, t) ? of(r, t).value : null), cell: (r) => score(of(r, t)) })),
      { title: "Overall ↑", numeric: true, better: "higher", value: (r) => r.overall.value, cell: (r) => score(r.overall) },
      { title: "Prompts", hint: "share of prompts with a correct image", numeric: true, better: "higher", value: (r) => r.prompts.value, cell: (r) => score(r.prompts) },
      { title: "Images judged", numeric: true, value: (r) => r.n, cell: (r) => lactok.count(r.n) },
    ], { caption: "GenEval scores", rows: results });
    const notes = ["± is half the 95 % bootstrap interval, prompts resampled; overall is the mean of the tasks.",
      ...unique(results.filter((r) => !r.comparable).map((r) => `* ${r.note}`))];
    return element("div", {}, table.element, element("ul", { class: "notes" }, notes.map((n) => element("li", {}, n))));
  }

  function score(entry) {
    if (!entry) return "–";
    const [main, spread] = entry.text.split(" ±");
    return spread ? [main, element("span", { class: "spread" }, ` ±${spread}`)] : main;
  }

  async function open() {
    const wanted = result;
    task.options([["", "all tasks"], ...result.tasks.map((t) => [t.task, t.task])], "");
    drawn.input.checked = result.pictures > 0;
    about.replaceChildren();
    try {
      if (!result.verdicts) throw new Error("The verdicts of this result could not be read; see what is left out under Tables.");
      const loaded = await lactok.load(result.verdicts);
      if (wanted !== result) return;
      verdicts = loaded;
      if (result.pictures < verdicts.length) {
        about.append(element("p", { class: "about" },
          `${lactok.count(result.pictures)} of ${lactok.count(verdicts.length)} verdicts have a picture; `,
          element("code", {}, "python -m benchmarks.geneval … --annotate all"), " draws the others."));
      }
    } catch (error) {
      verdicts = [];
      about.append(lactok.failed(error));
    }
    filter();
  }

  function filter() {
    const text = search.value.toLowerCase();
    const kinds = { wrong: (v) => v.correct === false, correct: (v) => v.correct === true, error: (v) => v.correct === null };
    kept = verdicts.filter((v) => (!task.value || v.task === task.value) && (!verdict.value || kinds[verdict.value](v))
      && (!drawn.input.checked || v.picture) && (!text || v.prompt.toLowerCase().includes(text)));
    shown.textContent = `${lactok.count(kept.length)} of ${lactok.count(verdicts.length)} verdicts`;
    lactok.say(shown.textContent);
    pager.reset(kept.length);
    draw();
  }

  function draw() {
    cards.replaceChildren(...kept.slice(pager.start, pager.end).map(card));
    if (!kept.length) cards.append(element("p", { class: "empty" }, "nothing matches"));
  }

  function word(v) {
    return v.correct === null ? "not judged" : v.correct ? "correct" : "wrong";
  }

  function card(v) {
    const tag = element("span", { class: `verdict ${v.correct === null ? "none" : v.correct ? "right" : "wrong"}` }, word(v));
    const picture = v.picture
      ? lactok.button(element("img", { src: v.picture.thumb, alt: `detections in the picture of "${v.prompt}"`, loading: "lazy", width: v.picture.width, height: v.picture.height }), () => enlarge(v), { class: "picture", "aria-label": `enlarge: ${v.prompt}` })
      : lactok.button("no picture stored; show what was found", () => enlarge(v), { class: "picture missing" });
    return element("article", { class: "card" }, picture, element("h3", {}, v.prompt),
      element("p", {}, tag, " ", element("span", { class: "task" }, v.task), " ", element("span", { class: "task" }, v.id)),
      (v.error || v.reason) && element("p", { class: "reason" }, v.error || v.reason));
  }

  function enlarge(v) {
    const objects = v.objects.length ? lactok.table([
      { title: "Object", head: true, value: (o) => o.class },
      { title: "Colour", value: (o) => o.colour[0] ?? null },
      { title: "Score", numeric: true, better: "higher", value: (o) => o.score, cell: (o) => lactok.fixed(o.score, 3) },
      { title: "Box: left, top, right, bottom", numeric: true, cell: (o) => o.box.join(", ") },
    ], { caption: "Objects that counted", rows: v.objects }).element : element("p", {}, "Nothing was found in it.");
    lactok.dialog(v.prompt,
      element("p", {}, `${word(v)}, ${v.task}, ${v.id}`), (v.error || v.reason) && element("p", { class: "reason" }, v.error || v.reason),
      v.picture && element("img", { src: v.picture.full, alt: `detections in the picture of "${v.prompt}"`, class: "large" }), objects);
  }
};

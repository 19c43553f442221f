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
  const PAGE_SIZE = 24; // verdicts
  let result = results[0];
  let verdicts = null; // of this result; null until they are loaded
  let kept = []; // of them, those that pass the filters
  const about = element("div", {});
  const cards = element("div", { class: "cards" });
  const shown = element("p", { class: "shown" });
  const which = lactok.select("Result", results.map((each) => [each.key, `${each.name}, ${each.detector}`]), (key) => {
    result = results.find((each) => each.key === key);
    open();
  });
  const task = lactok.select("Task", [], filter);
  const kinds = [["", "all"], ["wrong", "wrong"], ["correct", "correct"], ["not judged", "not judged"]];
  const kind = lactok.select("Verdict", kinds, filter);
  const withPicture = lactok.checkbox("with pictures only", true, filter);
  const search = lactok.search("Prompt", filter);
  const pager = lactok.pager(PAGE_SIZE, draw);
  const address = lactok.address("geneval", filter);
  const opened = {
    get value() { return result.key; },
    set value(key) {
      const found = results.find((each) => each.key === key);
      if (!found || found === result) return;
      result = found;
      which.value = key;
      open();
    },
  };
  // The result stands before the others, which another result resets.
  const controls = { result: opened, task, verdict: kind, pictures: withPicture, search };
  for (const [name, control] of Object.entries(controls)) address.keep(name, control);
  view.shown = address.read;
  view.append(scores(), element("h2", {}, "Verdicts"),
    element("div", { class: "controls", role: "group", "aria-label": "Filter the verdicts" },
      results.length > 1 && which.element, task.element, kind.element, search.element, withPicture.element, shown),
    about, cards, pager.element);
  open();
  return view;

  /** The table of all results: a column a task. */
  function scores() {
    const tasks = unique(results.flatMap((each) => each.tasks.map((entry) => entry.task)));
    const columns = [
      { title: "Images", head: true, value: (row) => row.name, cell: nameCell },
      { title: "Detector", value: (row) => row.detector },
      ...tasks.map((name) => scoreColumn(name, (row) => row.tasks.find((entry) => entry.task === name))),
      scoreColumn("Overall ↑", (row) => row.overall),
      { ...scoreColumn("Prompts", (row) => row.prompts), hint: "share of prompts with a correct image" },
      { title: "Images judged", numeric: true, value: (row) => row.n, cell: (row) => lactok.count(row.n) },
    ];
    const notes = [
      "± is half the 95 % interval, prompts resampled; overall is the mean of the tasks.",
      ...unique(results.filter((each) => !each.comparable).map((each) => `* ${each.note}`)),
    ];
    return element("div", {},
      lactok.table(columns, { caption: "GenEval scores", rows: results }).element,
      element("ul", { class: "notes" }, notes.map((note) => element("li", {}, note))));
  }

  /** The star leads to the note under the table. */
  function nameCell(row) {
    return row.comparable ? row.name : `${row.name}*`;
  }

  /** entryOf(row): the entry {value, text} of a row, or undefined. */
  function scoreColumn(title, entryOf) {
    return {
      title, numeric: true, better: "higher",
      value: (row) => entryOf(row)?.value ?? null,
      cell: (row) => (entryOf(row) ? lactok.valueWithSpread(entryOf(row).text) : "–"),
    };
  }

  /** Loads the verdicts of the current result and shows them, unless another was chosen meanwhile. */
  async function open() {
    const wanted = result;
    verdicts = null;
    task.options([["", "all tasks"], ...result.tasks.map((each) => [each.task, each.task])], "");
    withPicture.input.checked = result.pictures > 0;
    about.replaceChildren();
    try {
      if (!result.verdicts) {
        throw new Error("The verdicts of this result could not be read; see what is left out under Tables.");
      }
      const loaded = await lactok.load(result.verdicts);
      if (wanted !== result) return;
      verdicts = loaded;
      if (result.pictures < verdicts.length) {
        about.append(element("p", { class: "about" },
          `${lactok.count(result.pictures)} of ${lactok.count(verdicts.length)} verdicts have a picture; `,
          element("code", {}, "python -m benchmarks.geneval … --annotate all"), " draws the others."));
      }
    } catch (error) {
      if (wanted !== result) return;
      verdicts = [];
      about.append(lactok.failed(error));
    }
    filter();
  }

  function filter() {
    if (!verdicts) return;
    const text = search.value.toLowerCase();
    kept = verdicts.filter((verdict) =>
      (!task.value || verdict.task === task.value)
      && (!kind.value || kindOf(verdict) === kind.value)
      && (!withPicture.input.checked || verdict.picture)
      && (!text || verdict.prompt.toLowerCase().includes(text)));
    shown.textContent = `${lactok.count(kept.length)} of ${lactok.count(verdicts.length)} verdicts`;
    lactok.say(shown.textContent);
    address.write();
    pager.reset(kept.length);
    draw();
  }

  function draw() {
    cards.replaceChildren(...kept.slice(pager.start, pager.end).map(card));
    if (!kept.length) cards.append(element("p", { class: "empty" }, "nothing matches"));
  }

  function kindOf(verdict) {
    if (verdict.correct === null) return "not judged";
    return verdict.correct ? "correct" : "wrong";
  }

  function card(verdict) {
    const { prompt, picture } = verdict;
    const colour = { correct: "right", wrong: "wrong", "not judged": "none" }[kindOf(verdict)];
    const enlarge = () => showDetails(verdict);
    return element("article", { class: "card" },
      picture
        ? lactok.button(thumbnail(verdict), enlarge, { class: "picture", "aria-label": `enlarge: ${prompt}` })
        : lactok.button("no picture stored; show what was found", enlarge, { class: "picture missing" }),
      element("h3", {}, prompt),
      element("p", {},
        element("span", { class: `verdict ${colour}` }, kindOf(verdict)), " ",
        element("span", { class: "task" }, verdict.task), " ",
        element("span", { class: "task" }, verdict.id)),
      reasonOf(verdict));
  }

  /** The picture without the strip below it, which says what the card says; the dialog shows all of it. */
  function thumbnail(verdict) {
    const { thumb, width, height } = verdict.picture;
    return element("img", { src: thumb, alt: altOf(verdict), loading: "lazy", width, height });
  }

  function altOf(verdict) {
    return `detections in the picture of "${verdict.prompt}"`;
  }

  /** Why an image is wrong or could not be judged, if that was said. */
  function reasonOf(verdict) {
    const reason = verdict.error || verdict.reason;
    return reason && element("p", { class: "reason" }, reason);
  }

  /** A dialog with the picture and the objects that were found in it. */
  function showDetails(verdict) {
    const columns = [
      { title: "Object", head: true, value: (object) => object.class },
      { title: "Colour", value: (object) => object.colour },
      {
        title: "Score", numeric: true, better: "higher",
        value: (object) => object.score,
        cell: (object) => lactok.fixed(object.score, 3),
      },
      { title: "Box: left, top, right, bottom", numeric: true, cell: (object) => object.box.join(", ") },
    ];
    const objects = verdict.objects.length
      ? lactok.table(columns, { caption: "Objects that counted", rows: verdict.objects }).element
      : element("p", {}, "Nothing was found in it.");
    lactok.dialog(verdict.prompt,
      element("p", {}, `${kindOf(verdict)}, ${verdict.task}, ${verdict.id}`),
      reasonOf(verdict),
      verdict.picture && element("img", { src: verdict.picture.full, alt: altOf(verdict), class: "large" }),
      objects);
  }
};

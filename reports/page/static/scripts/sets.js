// The set of runs that all views show: those of the same images, prepared and scored alike.
"use strict";

(function () {
  const followers = []; // functions that are called when another set is chosen
  let chosen = null; // the key of the set; the first one until the reader chooses

  /** The rows of the chosen set. */
  lactok.rowsOfSet = (data) => data.rows.filter((row) => row.set === lactok.chosenSet(data).key);

  /** The chosen set. */
  lactok.chosenSet = (data) => data.sets.find((set) => set.key === chosen) || data.sets[0];

  /** Chooses another set, for all views. */
  lactok.chooseSet = (key) => {
    if (key === chosen) return;
    chosen = key;
    for (const follow of followers) follow();
  };

  /** Calls a function whenever another set is chosen, in whatever view. */
  lactok.followSet = (changed) => followers.push(changed);

  /** Keeps the chosen set in the address of a view, unless it is the first; a key that is no set's changes nothing. */
  lactok.keepSet = (address, data) => address.keep("set", {
    get value() { return lactok.chosenSet(data).key; },
    set value(key) {
      const isOther = key !== lactok.chosenSet(data).key;
      if (isOther && data.sets.some((set) => set.key === key)) lactok.chooseSet(key);
    },
  }, data.sets[0].key);

  /** The samples of which the most of these rows have a picture. */
  lactok.ofMost = (samples, rows) => {
    const count = (sample) => rows.filter((row) => sample.rows[row.key]).length;
    const most = Math.max(0, ...samples.map(count));
    return most ? samples.filter((sample) => count(sample) === most) : [];
  };

  /** The choice of the set, null where there is one alone; changed() is called when another is chosen, in any view. */
  lactok.setChoice = (data, changed) => {
    const options = data.sets.map((set) => [set.key, set.title]);
    const select = lactok.select("Data set", options, lactok.chooseSet, lactok.chosenSet(data).key);
    const show = () => {
      select.value = lactok.chosenSet(data).key;
      select.element.title = lactok.chosenSet(data).dataset; // the name with the hash of its content
    };
    show();
    lactok.followSet(() => {
      show();
      changed();
    });
    return data.sets.length > 1 ? select.element : null;
  };
})();

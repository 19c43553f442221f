// What the reader has chosen in a view stands in the page's address, so that a link shows what its sender saw.
"use strict";

(function () {
  const DELAY = 250; // milliseconds; browsers refuse to change the address more often than about ten times a second

  /**
   * Keeps the controls of a view in the address, as #view?name=value.
   * changed(): shows the view anew, after `read` has set its controls.
   * Returns {keep(name, control, initial), write(), read(parameters)}.
   */
  lactok.address = (view, changed) => {
    const kept = new Map(); // name -> {control, initial}
    let timer = 0;
    return {
      /**
       * Keeps a control, an object whose `value` is a text; a value that is `initial` is not written. They are set in the
       * order in which they were first kept; one of the same name takes the place of an earlier one.
       */
      keep(name, control, initial = control.value) {
        kept.set(name, { control, initial });
      },
      /** Brings the address up to date, soon. */
      write: writeSoon,
      /** Sets the controls as the address has them; an address without parameters leaves them as they are. */
      read(parameters) {
        if (parameters.size) {
          for (const name of kept.keys()) {
            const { control, initial } = kept.get(name); // setting one control may have made the next ones anew
            control.value = parameters.get(name) ?? initial;
          }
          changed();
        }
        writeSoon();
      },
    };

    function writeSoon() {
      clearTimeout(timer);
      timer = setTimeout(write, DELAY);
    }

    function write() {
      const section = document.getElementById(`view-${view}`);
      const named = location.hash.slice(1).split("?")[0];
      const isLeft = named !== view && Object.hasOwn(lactok.views, named); // its event, hashchange, comes later
      if (!section || section.hidden || isLeft) return; // another view has been chosen meanwhile
      const differing = [...kept].filter(([, { control, initial }]) => control.value !== initial);
      const parameters = new URLSearchParams(differing.map(([name, { control }]) => [name, control.value]));
      const isPlain = !parameters.size && !location.hash.includes("?");
      if (!isPlain) history.replaceState(null, "", parameters.size ? `#${view}?${parameters}` : `#${view}`);
    }
  };
})();

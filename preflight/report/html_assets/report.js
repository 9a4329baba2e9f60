"use strict";
// Without this script the page has everything: it only hides what a reader does not ask for, unfolds what fits, and copies.
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("#results tbody tr")];
  const folds = [...document.querySelectorAll("#results .fold")];
  const counter = document.getElementById("shown");

  const apply = (asked) => {
    const statuses = new Set([...form.querySelectorAll("input[name=status]:checked")].map((box) => box.value));
    const category = form.elements.category.value;
    const target = form.elements.target.value;
    const words = form.elements.words.value.trim().toLowerCase();
    let count = 0, all = 0;
    for (const row of rows) {
      const targets = row.dataset.target.split("\n");
      const fits = statuses.has(row.dataset.status)
        && (!category || row.closest("[data-category]").dataset.category === category)
        && (!target || targets.includes(target))
        && (!words || row.textContent.toLowerCase().includes(words));
      row.hidden = !fits;
      all += targets.length;
      if (fits) count += target ? 1 : targets.length;
    }
    for (const fold of folds) {
      fold.hidden = !fold.querySelector("tbody tr:not([hidden])");
      fold.open = asked;
    }
    counter.textContent = `${count} of ${all} results shown`;
  };

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // A page opened from a file may have no clipboard: the older way needs a selection.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent;
      button.textContent = (await copied(text)) ? "Copied" : "Select and copy by hand";
      button.focus();
    });
  }
  window.addEventListener("beforeprint", () => folds.forEach((fold) => { fold.open = true; }));
  if (form) {
    form.hidden = false;
    form.addEventListener("input", () => apply(true));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply, 0, false));
    apply(false);
  }
})();

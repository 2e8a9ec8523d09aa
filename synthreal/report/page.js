"use strict";
// The slider over the sheets: one figure at a time is shown, the last at first.

const slider = document.getElementById("time");
if (slider) {
  const sheets = [...document.querySelectorAll("[data-sheet]")];
  const caption = document.getElementById("step");
  const show = () => {
    const at = Number(slider.value);
    sheets.forEach((sheet, i) => { sheet.hidden = i !== at; });
    caption.textContent = sheets[at].dataset.sheet;
    slider.setAttribute("aria-valuetext", sheets[at].dataset.sheet);
  };
  const move = (by) => {
    slider.value = Number(slider.value) + by;
    show();
  };
  slider.addEventListener("input", show);
  document.getElementById("earlier").addEventListener("click", () => move(-1));
  document.getElementById("later").addEventListener("click", () => move(1));
  slider.value = sheets.length - 1; // a reloaded page would keep where it was
  show();
  document.getElementById("controls").hidden = false;
}
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch { // not allowed here: mark it, so that a key copies it
      getSelection().selectAllChildren(text);
      button.textContent = "Press Ctrl-C";
    }
  });
}

"use strict";
// The slider shows one contact sheet at a time, the last one first.
const slider = document.getElementById("time");
if (slider) {
  const sheets = [...document.querySelectorAll("[data-sheet]")];
  const show = () => {
    sheets.forEach((sheet, i) => { sheet.hidden = i !== Number(slider.value); });
    const step = sheets[slider.value].dataset.sheet;
    document.getElementById("step").textContent = step;
    slider.setAttribute("aria-valuetext", step);
  };
  slider.addEventListener("input", show);
  slider.value = sheets.length - 1; // browsers restore the old position when a page is reloaded
  show();
  document.getElementById("controls").hidden = false;
}

"use strict";
// Shows an image, sends the answer, shows the next image. Only the server knows a rater's progress: every tab reads it
// when it becomes visible, and an answer sent twice counts once.

const GUARD_MS = 300; // minimum display time: the second click of a double click must not judge the next image
const PATIENCE_MS = 10_000; // time limit for a response and its image
const SMALL_PX = 72; // examples smaller than this are enlarged where there is room
const AROUND_PX = 190; // space above and below the image, so that the buttons stay in view in a low window
const LEAST_PX = 160;
const KEYS = { r: "real", arrowleft: "real", s: "synthetic", arrowright: "synthetic" };
const study = document.getElementById("study");
const rater = study.dataset.rater;
const width = Number(study.dataset.width);
const height = Number(study.dataset.height);
const frame = document.getElementById("frame");
const image = document.getElementById("image");
const count = document.getElementById("count");
const progress = document.getElementById("progress");
const notice = document.getElementById("notice");

let shown = null; // token of the displayed image
let since = 0; // when it was displayed, ms
let sending = false; // whether an answer is being sent
let asked = 0; // number of requests; only the response to the last one is used

async function ask(path, options) {
  const mine = ++asked;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  try {
    const response = await fetch(path, { ...options, signal });
    const body = await response.json();
    if (mine !== asked) return;
    if (response.ok) await show(body, mine, signal);
    else if (response.status === 404) await load(); // the server was restarted and has new tokens
    else showError(body.error);
  } catch (error) {
    console.warn(error);
    if (mine === asked) showError("The server does not respond.");
  }
}

function load() {
  return ask(`/state?rater=${encodeURIComponent(rater)}`);
}

function refresh() {
  if (!sending) load();
}

async function show(state, mine, signal) {
  if (state.token === null) {
    location.replace(`/result?rater=${encodeURIComponent(rater)}`);
    return;
  }
  if (state.token !== shown) {
    shown = null;
    image.src = `/image/${state.token}`;
    await Promise.race([image.decode(), aborted(signal)]);
    if (mine !== asked) return;
    shown = state.token;
    since = performance.now();
  }
  notice.hidden = true;
  count.textContent = `${state.done + 1} / ${state.total}`;
  progress.max = state.total;
  progress.value = state.done;
}

function aborted(signal) {
  return new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
}

async function choose(answer) {
  if (sending || shown === null || performance.now() - since < GUARD_MS) return;
  sending = true;
  await ask("/answer", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: shown, answer }),
  });
  sending = false;
}

function showError(reason) {
  document.getElementById("reason").textContent = reason;
  notice.hidden = false;
}

// The width of an image in this much room: a whole number of screen pixels for each image pixel, so that all pixels have
// the same size; reduced only if the image does not fit.
function displayWidth(room) {
  const times = Math.floor((room * devicePixelRatio) / width);
  return times >= 1 ? (times * width) / devicePixelRatio : room;
}

function resize(element, room) {
  const across = displayWidth(room);
  element.style.width = `${across}px`;
  element.style.height = `${(across * height) / width}px`;
  element.style.imageRendering = across * devicePixelRatio >= width ? "pixelated" : "auto";
}

function layOut() {
  const tall = Math.min(480, Math.max(LEAST_PX, document.documentElement.clientHeight - AROUND_PX));
  resize(image, Math.min(frame.clientWidth, 480, (tall * width) / height));
  for (const tiles of document.querySelectorAll(".tiles")) {
    const style = getComputedStyle(tiles);
    const gap = parseFloat(style.columnGap);
    const room = (columns) => (tiles.clientWidth + gap) / columns - gap;
    let columns = Number(style.getPropertyValue("--columns"));
    if (columns > 3 && displayWidth(room(columns)) < SMALL_PX) columns = 3;
    for (const example of tiles.children) resize(example, Math.min(room(columns), 160));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const answer = KEYS[event.key.toLowerCase()];
  if (answer || (event.key === "Enter" && event.repeat)) event.preventDefault(); // holding a key down gives one answer
  if (answer && !event.repeat) choose(answer);
});
for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", (event) => {
    if (event.detail <= 1) choose(button.dataset.answer);
  });
}
document.getElementById("again").addEventListener("click", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
window.addEventListener("focus", refresh);
window.addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
window.addEventListener("resize", layOut);
layOut();
load();

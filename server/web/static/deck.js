// Presents a deck: one slide at a time, by keys, buttons, swipes and the address (#3).

const slides = [...document.querySelectorAll(".slide")];
const byId = (id) => document.getElementById(id);
const counter = byId("counter");
const notes = byId("notes");
let current = 0;

function placeInAddress() {
  const number = Number.parseInt(window.location.hash.slice(1), 10);
  return Number.isInteger(number) ? number - 1 : 0;
}

function show(wanted, { address = true } = {}) {
  current = Math.min(Math.max(wanted, 0), slides.length - 1);
  slides.forEach((slide, place) => slide.classList.toggle("current", place === current));
  counter.textContent = `${current + 1} / ${slides.length}`;
  byId("progress").value = current + 1;
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === slides.length - 1;
  // replaceState: leafing through a deck must not fill the browser's history.
  if (address) window.history.replaceState(null, "", `#${current + 1}`);
  window.scrollTo(0, 0);
}

function toggleNotes() {
  const open = notes.getAttribute("aria-pressed") !== "true";
  notes.setAttribute("aria-pressed", String(open));
  document.querySelectorAll("details.notes").forEach((details) => {
    details.open = open;
  });
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}

const KEYS = {
  ArrowRight: () => show(current + 1),
  ArrowDown: () => show(current + 1),
  PageDown: () => show(current + 1),
  ArrowLeft: () => show(current - 1),
  ArrowUp: () => show(current - 1),
  PageUp: () => show(current - 1),
  Home: () => show(0),
  End: () => show(slides.length - 1),
  n: toggleNotes,
  f: toggleFullscreen,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Space on a button presses the button.
  const onControl = event.target.closest?.("button, summary, a");
  if (event.key === " ") {
    if (onControl) return;
    event.preventDefault();
    show(current + (event.shiftKey ? -1 : 1));
    return;
  }
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act) return;
  // A slide taller than the screen scrolls with the arrows up and down.
  const scrolls = document.documentElement.scrollHeight > window.innerHeight + 4;
  if (scrolls && (event.key === "ArrowDown" || event.key === "ArrowUp")) return;
  event.preventDefault();
  act();
}

function listenToSwipes() {
  let start = null;
  const main = byId("slides");
  main.addEventListener("touchstart", ({ touches }) => {
    start = touches.length === 1 ? { x: touches[0].clientX, y: touches[0].clientY } : null;
  }, { passive: true });
  main.addEventListener("touchend", ({ changedTouches }) => {
    if (!start) return;
    const right = changedTouches[0].clientX - start.x;
    const down = changedTouches[0].clientY - start.y;
    start = null;
    if (Math.abs(right) > 50 && Math.abs(right) > 2 * Math.abs(down)) show(current + (right < 0 ? 1 : -1));
  }, { passive: true });
}

if (slides.length > 0) {
  document.documentElement.classList.add("presenting");
  document.querySelector(".controls").hidden = false;
  byId("previous").addEventListener("click", () => show(current - 1));
  byId("next").addEventListener("click", () => show(current + 1));
  byId("print").addEventListener("click", () => window.print());
  byId("fullscreen").addEventListener("click", toggleFullscreen);
  byId("fullscreen").hidden = !document.fullscreenEnabled;
  notes.addEventListener("click", toggleNotes);
  window.addEventListener("hashchange", () => show(placeInAddress(), { address: false }));
  document.addEventListener("keydown", onKey);
  listenToSwipes();
  show(placeInAddress());
}

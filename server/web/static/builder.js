// The page: puts what the conversation tells on it, and what the person does into the conversation. Any workflow's
// conversation is a chat; the builder's has its steps and its outline besides.

import { Conversation, makeId } from "./client.js";
import { STEPS, stepOf, Transcript } from "./transcript.js";
import * as view from "./view.js";

const BUILDER = "builder"; // the workflow of an address that names none
const MAX_TEXT = 16_000;
const COUNT_FROM = 15_000;
const NEAR_PX = 96; // this close to the end, the reader follows it
const TOPICS = [
  "Octopuses, for curious children",
  "A pitch for our neighbourhood bakery",
  "Quarterly results for the whole team",
  "Why cities need more trees",
];
const REASONS = {
  4001: "You need to sign in again.",
  4003: "This conversation does not exist, or it is somebody else’s.",
  4009: "This conversation has ended.",
  4010: "This page is out of date. Reload it.",
  4013: "A message was too long for the server.",
  1009: "A message was too long for the server.",
};
const REFUSALS = {
  outbox_full: "Too many messages are waiting to be sent. Please wait until the connection is back.",
  too_large: "That is too long. Please shorten it.",
};
const LINK = {
  idle: "Connecting…", connecting: "Connecting…", live: "Connected",
  waiting: "Reconnecting", offline: "Offline", stopped: "Stopped",
};
const BLINK_MS = 1200;
// What the server takes for an id: printable characters, joiners among them.
const ID = /^[\p{L}\p{M}\p{N}\p{P}\p{S} \u200c\u200d\u{e0020}-\u{e007f}]{1,255}$/u;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const $ = (id) => document.getElementById(id);
const composer = $("composer-text");
const scroller = $("scroller");
const transcript = new Transcript();
const nodes = new Map(); // id → {node, look}: what is drawn, and of what
const sessionId = takeSessionId();
let workflow = new URLSearchParams(location.search).get("workflow") || BUILDER;
let title = document.title;
const kept = tabStorage(); // this tab's own: the draft and refused lines
let refusedLines = kept.read("refused") ?? [];
let following = true; // the end of the conversation is in view and stays so
let ticking = null; // the timer of the countdown to the next try

const address = new URL("/ws", location.href);
address.protocol = address.protocol.replace("http", "ws");
const talk = new Conversation({
  url: address.href,
  sessionId,
  workflow,
  on: {
    state: showLink,
    sync(payload) {
      $("log").ariaLive = "off"; // what comes now was said before
      if (payload.workflow && payload.workflow !== workflow) follow(payload.workflow);
      transcript.sync(payload);
      drawOutline();
      refresh();
    },
    reset() {
      transcript.reset();
      $("log").replaceChildren();
      nodes.clear();
      drawOutline();
      refresh();
    },
    event(frame, replayed) {
      dropRefused(frame.payload.client_id);
      const { outline, deck } = transcript;
      for (const item of transcript.apply(frame)) draw(item);
      if (transcript.outline !== outline || transcript.deck !== deck) drawOutline(!replayed);
      if (!replayed && !following && frame.role !== "user" && frame.type !== "state_update") $("newer").hidden = false;
      if (!replayed && document.hidden) document.title = `● ${title}`;
      if (!replayed) refresh(); // a replay is drawn once, when it is through
    },
    status(payload) {
      transcript.progress(payload);
      refresh();
    },
    delta: refresh,
    outbox: refresh,
    error: showError,
  },
});

// ---- what is drawn

function draw(item) {
  if (item.kind === "card") return drawCard(item);
  const look = item.kind === "failed" ? String(isLast(item.payload.turn)) : "";
  put(item.id, $("log"), look, () => drawItem(item));
}

function drawItem(item) {
  switch (item.kind) {
    case "line": return view.line(item);
    case "said": return view.said(item);
    case "deck": return view.deckCard(item);
    case "slides": return slidesNote(item);
    case "failed": return failedNote(item);
    case "cancelled": return view.note("cancelled", view.icon("stop"),
      item.payload.reason === "interrupted" ? "Stopped by your next message." : "You stopped this answer.");
  }
}

function slidesNote({ count, changed, first }) {
  const what = first ? "Outline ready" : "Outline updated";
  const text = changed && changed < count ?
    `${view.countSlides(changed)} updated` : `${what} · ${view.countSlides(count)}`;
  return view.note("outlined", view.icon("slides"), text,
    workflow === BUILDER && view.textButton("Show", showOutline));
}

/** A failed turn can be tried again while nothing came after it; the line is said anew, under an id of its own. */
function failedNote({ payload: { turn, correlation_id: reference, retryable } }) {
  const line = [...transcript.items.values()].find((item) => item.kind === "line" && item.seq === turn);
  const { text, action_value, action_message_id } = line?.payload ?? {};
  const again = () => say(text, action_value && { action_value, action_message_id });
  return view.note("failed", view.icon("alert"), `No answer to this${reference ? ` · reference ${reference}` : ""}`,
    line && retryable && isLast(turn) && view.textButton("Try again", again));
}

function isLast(turn) {
  const after = (item) => item.kind === "line" && item.seq > turn;
  return talk.lines.length === 0 && ![...transcript.items.values()].some(after);
}

function drawCard(item) {
  const waiting = talk.lines.find((line) => line.frame.data?.action_message_id === item.id);
  const pressed = item.chosen ?? waiting?.frame.data.action_value ?? null;
  if (pressed && !waiting) rescueWords(nodes.get(item.id)?.node);
  put(item.id, $("log"), `${item.open}|${pressed}`, () => view.card(item, pressed, (action, words) => {
    say(words ?? action.label, { action_value: action.value, action_message_id: item.id });
  }));
}

/** Another tab answered the card: words half written into it go to the message box. */
function rescueWords(node) {
  const input = node?.querySelector("input");
  if (!input?.value) return;
  composer.value = [composer.value, input.value].filter(Boolean).join("\n");
  measure();
}

/** Draw once per look: in place if it is there, else at the end. */
function put(id, parent, look, create) {
  const drawn = nodes.get(id);
  if (drawn?.look === look) return;
  const node = create();
  if (drawn) drawn.node.replaceWith(node);
  else parent.append(node);
  nodes.set(id, { node, look });
}

/** `fresh` when slides have just changed before the reader's eyes: those open by themselves. */
function drawOutline(fresh = false) {
  const details = () => [...document.querySelectorAll("#outline-body details")];
  const open = new Set(details().filter((node) => node.open).map((node) => node.dataset.slide));
  const changed = transcript.outline?.changed;
  const focused = document.activeElement.closest("#outline-body details")?.dataset.slide;
  $("outline-body").replaceChildren(...view.outlinePanel(transcript.outline, transcript.deck,
    (slide) => open.has(slide.slide_id) || (fresh && changed?.has(slide.slide_id))));
  $("outline").classList.toggle("fresh", fresh);
  if (focused) details().find((node) => node.dataset.slide === focused)?.firstChild.focus();
  const count = transcript.outline?.slides.length ?? transcript.deck?.slide_count ?? 0;
  $("slide-count").hidden = !count;
  $("slide-count").replaceChildren(String(count), view.make("span", { className: "unseen" }, " slides"));
}

/** Everything that hangs on more than one frame. */
function refresh() {
  for (const item of transcript.items.values()) if (["card", "failed"].includes(item.kind)) draw(item);
  $("streams").replaceChildren(...[...talk.streams.values()].map((stream) => view.streaming(stream.text)));
  drawPending();
  drawWorking();
  drawSteps();
  $("welcome").hidden = step() !== 0 || transcript.hasLines || talk.lines.length > 0;
  if (following) toEnd();
}

function drawPending() {
  const lines = talk.lines.filter((line) => line.frame.type === "user_message");
  const waits = (line) => {
    if (line.seq !== undefined) return "Sent";
    if (line.trouble) return `${line.trouble} Trying again…`;
    return line.sent || talk.state.name === "live" ? "Sending…" : "Waiting to be sent";
  };
  $("pending").replaceChildren(
    ...lines.map((line) => view.unsent(line.frame.data.text, waits(line))),
    ...refusedLines.map((line) => view.refused(line.text, line.reason, {
      edit: line.button ? null : () => takeBack(line, true), dismiss: () => takeBack(line, false) })));
}

/** Whether a line is a bare press: there are no words in it to edit. */
function isLabel({ text, action_value: value, action_message_id: of }) {
  const actions = transcript.items.get(of)?.payload.actions ?? [];
  return actions.some((action) => action.value === value && action.label === text);
}

function drawWorking() {
  const { status, busy } = transcript;
  const failed = status?.status === "error";
  $("working").hidden = !busy && !failed;
  $("working").classList.toggle("failed", failed);
  const words = status?.text || (failed ? "Something went wrong." : "Working on it…");
  setText($("working-text"), busy || failed ? words : "");
  setText($("working-left"), status?.estimated_time > 0 ? `about ${status.estimated_time} s left` : "");
  const known = busy && Number.isFinite(status?.progress);
  $("working-bar").hidden = !known;
  if (known) $("working-bar").value = status.progress;
  $("stop").hidden = !busy || transcript.running === null;
  $("stop").disabled = talk.lines.some((line) => line.frame.type === "cancel");
}

function drawSteps() {
  const current = step();
  $("steps").hidden = current < 0;
  $("steps").querySelectorAll("li").forEach((node, index) => {
    node.className = index < current ? "done" : index === current ? "current" : "";
    if (index === current) node.setAttribute("aria-current", "step");
    else node.removeAttribute("aria-current");
  });
}

/** How far the builder is; -1 for every other workflow, whatever its states are called. */
function step() {
  return workflow === BUILDER ? stepOf(transcript.state) : -1;
}

/** Put on the page what belongs to the workflow, and take off what belongs to the builder alone. */
function dress() {
  const chatAlone = workflow !== BUILDER;
  document.body.classList.toggle("chat-alone", chatAlone);
  $("outline").hidden = document.querySelector(".panes").hidden = chatAlone;
  $("product").textContent = chatAlone ? workflow : "Presentation builder";
  title = document.title = `${$("product").textContent} · Rejoinder`;
  $("new").href = chatAlone ? `/?${new URLSearchParams({ workflow })}` : "/";
}

/** The session that the address names is of another workflow than the address says: the session is right. */
function follow(name) {
  workflow = talk.workflow = name;
  const query = new URLSearchParams(location.search);
  query.set("workflow", name);
  history.replaceState(null, "", `${location.pathname}?${query}${location.hash}`);
  dress();
}

/** A live region speaks whenever its text is set, so set it only when it differs. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- the connection

function showLink(state) {
  const { name, ms = 0, code, reason } = state;
  const live = name === "live";
  $("link").dataset.state = name;
  setText($("link-text"), LINK[name]);
  const trouble = {
    waiting: "Connection lost. What you write is kept. Reconnecting",
    offline: "You are offline. What you write is kept, and sent when you are back.",
    stopped: `Stopped: ${REASONS[code] ?? (reason || `the server refused the connection (${code}).`)}`,
  }[name];
  if (name === "stopped") announce(trouble);
  if (live) hideTrouble();
  else if (trouble) {
    setText($("trouble-text"), trouble);
    $("trouble").dataset.state = name;
    $("retry").textContent = name === "stopped" ? "Try again" : "Try now";
    // A connection that is back within a blink is not worth a word.
    setTimeout(() => { $("trouble").hidden = talk.state.name === "live"; }, name === "waiting" ? BLINK_MS : 0);
  }
  clearInterval(ticking);
  const next = Date.now() + ms;
  const count = () => setText($("countdown"), name !== "waiting" ? "" :
    next - Date.now() > 900 ? `in ${Math.ceil((next - Date.now()) / 1000)} s…` : "…");
  if (name === "connecting") setText($("countdown"), $("trouble").hidden ? "" : "now…");
  else count();
  if (name === "waiting") ticking = setInterval(count, 250);
  if (live) setTimeout(() => { if (talk.state.name === "live") $("log").ariaLive = "polite"; }, 100);
  refresh();
}

function hideTrouble() {
  if (document.activeElement === $("retry")) focusComposer();
  $("trouble").hidden = true;
}

function showError({ code, message, line, again }) {
  if (line?.type === "cancel") return; // the answer was complete already, and shows
  if (line && !again) {
    refusedLines.push({ id: line.id, text: line.data.text, reason: message ?? code, button: isLabel(line.data) });
    kept.write("refused", refusedLines);
    announce(`Your message was not sent. ${message ?? ""}`);
  } else if (!line && message) announce(message);
}

/** A line that was refused on one connection and taken on another, or sent again by another tab, is there. */
function dropRefused(id) {
  if (!id || !refusedLines.some((line) => line.id === id)) return;
  refusedLines = refusedLines.filter((line) => line.id !== id);
  kept.write("refused", refusedLines);
  drawPending();
}

// ---- what the person does

/** Put a line into the outbox. Says whether it was taken. */
function say(text, action) {
  try {
    talk.send(text, action);
  } catch (error) {
    if (!REFUSALS[error.code]) throw error;
    $("counter").textContent = REFUSALS[error.code];
    $("counter").classList.add("over");
    announce(REFUSALS[error.code]);
    return false;
  }
  following = true;
  $("newer").hidden = true;
  toEnd();
  focusComposer();
  return true;
}

/** Where a finger points, focus would open the keyboard over what was just asked for. */
function focusComposer() {
  if (matchMedia("(pointer: fine)").matches) composer.focus({ preventScroll: true });
}

function submit(event) {
  event?.preventDefault();
  const text = composer.value.trim();
  if (!text || composer.value.length > MAX_TEXT || !say(text)) return;
  composer.value = "";
  measure();
}

/** A refused line goes: back into the message box, or away. */
function takeBack(line, edit) {
  refusedLines = refusedLines.filter((each) => each !== line);
  kept.write("refused", refusedLines);
  if (edit) composer.value = [composer.value, line.text].filter(Boolean).join("\n");
  measure();
  drawPending();
  composer.focus();
}

/** The message box follows its text: height, counter, draft, button. */
function measure() {
  composer.style.height = "auto";
  composer.style.height = `${composer.scrollHeight}px`;
  const length = composer.value.length;
  const over = length > MAX_TEXT;
  $("counter").textContent = length < COUNT_FROM ? "" :
    `${length.toLocaleString()} of ${MAX_TEXT.toLocaleString()} characters${over ? ": please shorten it" : ""}`;
  $("counter").classList.toggle("over", over);
  $("send").disabled = over || !composer.value.trim();
  kept.write("draft", composer.value);
  if (following) toEnd();
}

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

function showPane(name) {
  document.body.dataset.pane = name;
  for (const button of document.querySelectorAll(".panes button")) {
    button.ariaPressed = String(button.dataset.pane === name);
  }
  if (name === "outline") $("outline").focus({ preventScroll: true });
  else if (following) toEnd();
}

function showOutline() {
  showPane("outline");
  const first = document.querySelector("#outline .slide.updated") ?? $("outline-body");
  first.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
}

function announce(text) {
  $("announcer").textContent = "";
  setTimeout(() => { $("announcer").textContent = text; }, 50);
}

async function copyId() {
  try {
    await navigator.clipboard.writeText(sessionId);
    announce("Copied");
    $("copy").classList.add("copied");
    setTimeout(() => $("copy").classList.remove("copied"), 1500);
  } catch { // no permission: leave it selected, to copy by hand
    getSelection().selectAllChildren($("session-id"));
  }
}

// ---- the session and what this tab keeps

function takeSessionId() {
  const query = new URLSearchParams(location.search);
  const given = query.get("session_id");
  if (ID.test(given ?? "")) return given;
  const made = makeId();
  query.set("session_id", made);
  history.replaceState(null, "", `${location.pathname}?${query}${location.hash}`);
  return made;
}

function tabStorage() {
  const key = (name) => `rejoinder.${name}.${sessionId}`;
  return {
    read(name) { try { return JSON.parse(sessionStorage.getItem(key(name))); } catch { return null; } },
    write(name, value) { try { sessionStorage.setItem(key(name), JSON.stringify(value)); } catch { /* barred */ } },
  };
}

// ---- start

$("session-id").textContent = sessionId.slice(0, 8);
$("session-id").title = sessionId;
$("steps").querySelector("ol").append(...STEPS.map((step) => view.make("li", {}, view.make("span", {}, step.label))));
document.querySelector(".suggestions").append(...TOPICS.map((topic) => view.make("li", {},
  view.make("button", { type: "button", className: "suggestion", onclick: () => say(topic) },
    view.make("span", {}, topic), view.icon("arrow")))));
for (const button of document.querySelectorAll(".panes button")) button.onclick = () => showPane(button.dataset.pane);
$("composer").onsubmit = submit;
composer.oninput = measure;
composer.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
};
$("copy").onclick = copyId;
$("retry").onclick = () => talk.connect();
$("stop").onclick = () => { talk.cancel(transcript.running); announce("Stopping"); focusComposer(); };
$("newer").onclick = () => {
  following = true;
  $("newer").hidden = true;
  toEnd();
  focusComposer();
};
scroller.onscroll = () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
  if (following) $("newer").hidden = true;
};
new ResizeObserver(() => { if (following) toEnd(); }).observe(scroller);
addEventListener("pageshow", (event) => { if (event.persisted) talk.wake(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) {
  document.title = title;
  talk.wake();
} });

dress();
composer.value = kept.read("draft") ?? "";
measure();
drawOutline();
focusComposer();
talk.connect();

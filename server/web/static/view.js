// How things look: each function makes one piece of the page from plain values. Text only ever becomes text nodes.

import { isWebAddress, parse, parseSpans } from "./markdown.js";

const SVG = "http://www.w3.org/2000/svg";
const BLOCKS = { paragraph: "p", heading: "p" };
const SPANS = { bold: "strong", italic: "em" };
const KINDS = { analytics_needed: "Chart", visuals_needed: "Image", diagrams_needed: "Diagram" };
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** An element: `props` are properties, or attributes where the name has a dash or is `role`, `for`. */
export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One icon of the page's sprite. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A link that opens in a tab of its own, or nothing when the address is not one to follow. */
export function outwardLink(href, className, ...children) {
  if (!isWebAddress(href, location.href)) return null;
  return make("a", { href, className, target: "_blank", rel: "noopener" }, ...children);
}

/** A text in Markdown, as nodes. */
export function prose(text, format) {
  if (format && format !== "markdown") return make("div", { className: "prose plain" }, String(text ?? ""));
  return make("div", { className: "prose" }, parse(text).map(blockNode));
}

function blockNode(block) {
  if (block.kind === "code") return make("pre", { tabIndex: 0 }, make("code", {}, block.text));
  if (block.kind === "list") {
    const items = block.items.map((spans) => make("li", {}, spans.map(spanNode)));
    return block.ordered ? make("ol", { start: block.start }, items) : make("ul", {}, items);
  }
  return make(BLOCKS[block.kind], { className: block.kind }, block.spans.map(spanNode));
}

function spanNode(span) {
  if (typeof span === "string") return span;
  if (span.kind === "break") return make("br");
  if (span.kind === "code") return make("code", {}, span.text);
  if (span.kind === "link") return outwardLink(span.href, "", span.spans.map(spanNode));
  return make(SPANS[span.kind], {}, span.spans.map(spanNode));
}

function pointNode(text) {
  return make("li", {}, parseSpans(String(text)).map(spanNode));
}

/** A message's time, with the whole date on demand. */
export function stamp(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return null;
  return make("time", { dateTime: iso, title: calendar.format(date) }, clock.format(date));
}

/** What the assistant says. */
export function said({ payload, time }) {
  const { text, sub_title: subTitle, list_items: items, format } = payload;
  const asks = items?.some((item) => item.trimEnd().endsWith("?")); // questions get numbers to answer by
  return theirs(time,
    prose(text, format),
    subTitle && make("p", { className: "sub-title" }, subTitle),
    items?.length > 0 && make(asks ? "ol" : "ul", { className: "points" },
      items.map(pointNode)));
}

/** An answer while it is written. */
export function streaming(text) {
  const node = theirs(null, prose(text));
  node.classList.add("growing");
  return node;
}

function theirs(time, ...children) {
  const byline = make("p", { className: "byline" }, icon("mark"), make("span", {}, "Rejoinder"), time && stamp(time));
  return make("article", { className: "item theirs" }, byline, children);
}

/** What the user said. */
export function line({ payload, time }) {
  return yours(payload.text, make("p", { className: "meta" }, stamp(time)));
}

/** A line that the server has not confirmed: `meta` says what it waits for. */
export function unsent(text, meta) {
  const node = yours(text, make("p", { className: "meta" }, meta));
  node.classList.add("unsent");
  return node;
}

/** A line that was refused for good. */
export function refused(text, reason, { edit, dismiss }) {
  const node = yours(text, make("p", { className: "meta refusal" }, icon("alert"),
    make("span", {}, `Not sent. ${reason}`),
    edit && textButton("Edit", edit), textButton("Dismiss", dismiss)));
  node.classList.add("refused");
  return node;
}

function yours(text, meta) {
  return make("article", { className: "item yours" },
    make("div", { className: "bubble" }, make("span", { className: "unseen" }, "You: "), String(text ?? "")), meta);
}

/**
 * A card of choices; one that was passed over is a line of text. `pressed` is the choice on its way or taken,
 * `press(action, words?)` tells of a choice.
 */
export function card(item, pressed, press) {
  const { prompt_text: prompt, actions = [] } = item.payload;
  if (!item.open && !pressed) return note("passed", `${prompt} (no longer open)`);
  const active = item.open && !pressed;
  const id = `prompt-${item.id}`;
  const form = make("div", { className: "words" });
  const buttons = actions.map((action) => {
    const chosen = action.value === pressed;
    const button = make("button", {
      type: "button", disabled: !active,
      className: ["button", action.primary && "primary", chosen && "chosen"].filter(Boolean).join(" "),
      ...(action.requires_input && active && { "aria-expanded": "false" }),
    }, chosen && icon("check"), action.label, chosen && make("span", { className: "unseen" }, " (your choice)"));
    button.onclick = () => (action.requires_input ? askWords(form, button, action, press) : press(action));
    return button;
  });
  return make("article", { className: "item theirs" }, make("div",
    { className: active ? "card" : "card shut", role: "group", "aria-labelledby": id },
    make("div", { className: "prompt", id }, prose(prompt)),
    make("div", { className: "choices" }, buttons), form));
}

function askWords(form, button, action, press) {
  const close = () => {
    form.replaceChildren();
    button.setAttribute("aria-expanded", "false");
  };
  const before = form.querySelector("form")?.dataset.value;
  form.querySelector("form")?.closeWords();
  if (before === action.value) return;
  const input = make("input",
    { type: "text", id: `words-${action.value}`, autocomplete: "off", placeholder: "In your own words" });
  const node = make("form", { className: "words-form" },
    make("label", { htmlFor: input.id }, action.label),
    make("div", { className: "words-row" }, input,
      make("button", { type: "submit", className: "button primary" }, "Send"),
      make("button", { type: "button", className: "button", onclick: () => { close(); button.focus(); } }, "Cancel")));
  node.dataset.value = action.value;
  node.closeWords = close;
  node.onsubmit = (event) => {
    event.preventDefault();
    if (input.value.trim()) press(action, input.value.trim());
  };
  node.onkeydown = (event) => {
    if (event.key !== "Escape") return;
    close();
    button.focus();
  };
  form.replaceChildren(node);
  button.setAttribute("aria-expanded", "true");
  input.focus();
}

/** A remark between the messages. */
export function note(kind, ...children) {
  return make("p", { className: `item note ${kind}` }, children);
}

/** That the deck is there. */
export function deckCard({ payload }) {
  const message = payload.message || "Your presentation is ready.";
  const count = countSlides(payload.slide_count);
  const counted = count && !message.includes(count);
  return make("article", { className: "item theirs" }, make("div", { className: "card deck" },
    icon("slides"),
    make("div", {}, make("p", { className: "deck-head" }, message), counted && make("p", { className: "soft" }, count)),
    openDeck(payload)));
}

/** A button that looks like a link. */
export function textButton(label, onclick) {
  return make("button", { type: "button", className: "text-button", onclick }, label);
}

/** The link to the deck. */
export function openDeck(deck) {
  return outwardLink(deck.url, "button primary", "Open your presentation", icon("out"));
}

/** "8 slides", or nothing. */
export function countSlides(count) {
  return Number.isInteger(count) ? `${count} ${count === 1 ? "slide" : "slides"}` : "";
}

/** The outline, or what stands there before there is one. `isOpen(slide)` keeps opened slides open. */
export function outlinePanel(outline, deck, isOpen) {
  if (!outline && !deck) {
    return [make("div", { className: "empty" },
      make("div", { className: "ghosts", "aria-hidden": "true" }, make("i"), make("i"), make("i")),
      make("h2", {}, "Your outline will grow here"),
      make("p", {}, "Once the plan is agreed, every slide appears with its story and its key points."))];
  }
  const { metadata = {}, slides = [], changed = new Set(), preview_url: preview } = outline ?? {};
  const facts = [["Theme", metadata.overall_theme], ["For", metadata.target_audience],
    ["Length", metadata.presentation_duration && `${metadata.presentation_duration} min`]].filter(([, value]) => value);
  const draft = preview !== deck?.url && outwardLink(preview, "button", "Preview", icon("out"));
  const links = [deck && openDeck(deck), draft];
  return [
    make("header", { className: "cover" },
      make("p", { className: "cover-kind" }, deck ? "Presentation" : "Outline", " · ",
        countSlides(slides.length || deck?.slide_count)),
      make("h2", {}, metadata.main_title || "Your presentation"),
      facts.length > 0 && make("dl", { className: "facts" },
        facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      links.some(Boolean) && make("p", { className: "cover-links" }, links)),
    metadata.design_suggestions && make("p", { className: "design" },
      make("span", {}, "Design "), metadata.design_suggestions),
    make("ol", { className: "slides", role: "list" }, slides.map((slide) => slideNode(slide, changed, isOpen))),
  ].filter(Boolean);
}

function slideNode(slide, changed, isOpen) {
  const updated = changed.has(slide.slide_id);
  const kinds = Object.entries(KINDS).filter(([key]) => slide[key]);
  const points = slide.key_points ?? [];
  const count = `${points.length} key ${points.length === 1 ? "point" : "points"}`;
  const details = make("details", { open: isOpen(slide) },
    make("summary", {}, points.length ? count : "Details",
      kinds.map(([, name]) => make("span", { className: "tag" }, name))),
    points.length > 0 && make("ul", {}, points.map(pointNode)),
    kinds.map(([key, name]) => make("p", { className: "need" }, make("span", {}, `${name} `), String(slide[key]))));
  details.dataset.slide = slide.slide_id ?? "";
  return make("li", { className: updated ? "slide updated" : "slide" },
    make("span", { className: "thumb", "aria-hidden": "true" }, String(slide.slide_number ?? "")),
    make("div", { className: "slide-body" },
      make("h3", {}, make("span", { className: "unseen" }, `Slide ${slide.slide_number}: `), slide.title ?? "Untitled",
        updated && make("span", { className: "badge" }, "Updated")),
      slide.narrative && make("p", { className: "narrative" }, slide.narrative),
      (points.length > 0 || kinds.length > 0) && details));
}

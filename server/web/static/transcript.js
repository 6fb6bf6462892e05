// What a conversation's frames amount to: items to show, which card is open, the outline, the deck. Pure: no DOM.

/** The way of the builder's workflow, as a person sees it. */
export const STEPS = [
  { label: "Topic", states: ["PROVIDE_GREETING"] },
  { label: "Questions", states: ["ASK_CLARIFYING_QUESTIONS"] },
  { label: "Plan", states: ["CREATE_CONFIRMATION_PLAN"] },
  { label: "Outline", states: ["GENERATE_STRAWMAN"] },
  { label: "Refine", states: ["REFINE_STRAWMAN"] },
  { label: "Deck", states: ["CONTENT_GENERATION", "CONTENT_GENERATED", "COMPLETE"] },
];

const BUSY = ["thinking", "generating"];

/** A conversation as it is shown. Feed it every durable frame in order. */
export class Transcript {
  constructor() { this.reset(); }

  /** Forget everything: the server sends it all again. */
  reset() {
    this.items = new Map(); // message_id → {id, kind, seq, time, …}, in the order of the log
    this.state = null;
    this.status = null; // the last status_update, while it counts
    this.outline = null;
    this.deck = null;
    this.open = null; // the card that may be pressed
    this.unanswered = []; // turn numbers of lines without an answer yet
    this.told = null; // the running turn, as the server told it
    this.ended = -1; // the last turn that came to its end
    this.fresh = null; // the card that the turn under way has made
  }

  /** The number of the running turn, or null. */
  get running() { return this.unanswered[0] ?? this.told; }

  /** Whether an answer is on its way. */
  get busy() { return this.running !== null || BUSY.includes(this.status?.status); }

  get hasLines() { return [...this.items.values()].some((item) => item.kind === "line"); }

  /** Take what the server told at connect. */
  sync(payload) {
    this.state = payload.current_state ?? this.state;
    this.told = payload.running ?? null;
    this.status = null;
    if (payload.presentation_url && !this.deck) {
      this.deck = { url: payload.presentation_url, slide_count: payload.slide_count };
    }
  }

  /** Take a status_update. */
  progress(payload) {
    if (payload.turn <= this.ended) return; // it comes late
    const over = ["idle", "complete"].includes(payload.status);
    this.status = over ? null : payload;
    this.told = over ? null : payload.turn ?? this.told;
  }

  /** Take a durable frame. Returns the items that are new or look different now. */
  apply(frame) {
    const { type, role, payload, seq, message_id: id } = frame;
    const item = { id, seq, time: frame.timestamp, payload };
    switch (type) {
      case "chat_message": return role === "user" ? this.#line(item) : this.#add({ ...item, kind: "said" });
      case "action_request": return this.#card(item);
      case "slide_update": return this.#slides(item);
      case "presentation_url":
        this.deck = payload;
        if (this.outline) this.outline.changed = new Set(); // what was changed on the way is settled
        return this.#add({ ...item, kind: "deck" });
      case "turn_failed": return this.#add({ ...item, kind: "failed" });
      case "turn_cancelled": return this.#add({ ...item, kind: "cancelled" });
      case "state_update": return this.#endTurn(payload);
      default: return [];
    }
  }

  #add(item) {
    this.items.set(item.id, item);
    return [item];
  }

  #line(item) {
    this.unanswered.push(item.seq);
    const { text, action_value: value, action_message_id: of } = item.payload;
    const card = this.items.get(of) ?? this.open;
    const same = (action) => (value ? action.value === value : [action.label, action.value].includes(text));
    const choice = card?.payload.actions?.find(same);
    if (!choice) return this.#add({ ...item, kind: "line" });
    Object.assign(card, { chosen: choice.value, answeredBy: item.seq });
    return [...this.#add({ ...item, kind: "line" }), card];
  }

  #card(item) {
    const before = this.#close(this.open);
    this.open = this.fresh = { ...item, kind: "card", open: true, chosen: null, answeredBy: null };
    return [...before, ...this.#add(this.open)];
  }

  #close(card) {
    if (!card?.open) return [];
    card.open = false;
    return [card];
  }

  #slides(item) {
    const { payload } = item;
    if (payload.is_blank && this.outline) return []; // a blank canvas never covers an outline
    const first = !this.outline;
    this.outline = mergeOutline(this.outline, payload);
    const { slides, changed } = this.outline;
    return this.#add({ ...item, kind: "slides", first, count: slides.length, changed: changed.size });
  }

  /** A card outlives the turn that made it and turns that stay; one that was answered in vain opens again. */
  #endTurn({ from, to, turn, memory = {} }) {
    this.state = to;
    if (memory.presentation_strawman === null) this.outline = null; // a new topic: what was built is another's
    if (memory.presentation_url === null) this.deck = null;
    this.status = this.told = null;
    this.ended = turn;
    this.unanswered = this.unanswered.filter((seq) => seq > turn);
    const { open, fresh } = this;
    this.fresh = null;
    if (!open || open === fresh) return [];
    if (from !== to) {
      this.open = null;
      return this.#close(open);
    }
    if (open.answeredBy === null || open.answeredBy > turn) return [];
    Object.assign(open, { chosen: null, answeredBy: null });
    return [open];
  }
}

/**
 * The outline after a slide_update: {metadata, slides, changed, preview_url}. A partial update brings all slides, or
 * (other servers) the changed ones only: those are none that are not affected, and not numbered 1, 2, 3 ….
 */
export function mergeOutline(before, payload) {
  const slides = payload.slides ?? [];
  const affected = new Set(payload.affected_slides ?? []);
  const partial = payload.operation === "partial_update" && before;
  const counted = slides.every((slide, index) => slide.slide_number === index + 1);
  const whole = !partial || counted || slides.some((slide) => !affected.has(slide.slide_id));
  const kept = whole ? [] : before.slides.filter((old) => !slides.some((slide) => slide.slide_id === old.slide_id));
  const metadata = { ...(partial ? before.metadata : {}), ...payload.metadata };
  return {
    metadata,
    slides: [...kept, ...slides].sort((a, b) => (a.slide_number ?? 0) - (b.slide_number ?? 0)),
    changed: new Set(partial ? slides.map((slide) => slide.slide_id).filter((id) => affected.has(id)) : []),
    preview_url: metadata.preview_url ?? payload.preview_url,
  };
}

/** The index of a state in STEPS, or -1 for a workflow that goes another way. */
export function stepOf(state) {
  return STEPS.findIndex((step) => step.states.includes(state));
}

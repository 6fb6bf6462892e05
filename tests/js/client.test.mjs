// The browser client without a browser: a fake socket, clock and storage. Run: node --test tests/js
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Conversation, makeId } from "../../server/web/static/client.js";
import { isWebAddress, parse } from "../../server/web/static/markdown.js";
import { OutboxError } from "../../server/web/static/outbox.js";
import { mergeOutline, Transcript } from "../../server/web/static/transcript.js";

class FakeSocket {
  static made = [];
  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocols, protocol: protocols[0], readyState: 0, sent: [], closedWith: null });
    FakeSocket.made.push(this);
  }
  open() { this.readyState = 1; }
  send(text) { this.sent.push(JSON.parse(text)); }
  close(code) { this.readyState = 3; this.closedWith = code ?? 1000; }
  hear(frame) { this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) }); }
  lose(code = 1006, reason = "") { this.readyState = 3; this.onclose({ code, reason }); }
  of(type) { return this.sent.filter((frame) => frame.type === type); }
}

class FakeClock {
  now = 0;
  timers = new Map();
  next = 1;
  setTimeout(run, ms) {
    this.timers.set(this.next, { at: this.now + ms, run });
    return this.next++;
  }
  clearTimeout(id) { this.timers.delete(id); }
  pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].run();
    }
    this.now = end;
  }
}

class FakeStorage {
  map = new Map();
  get length() { return this.map.size; }
  key(i) { return [...this.map.keys()].reverse()[i]; } // a storage promises no order
  getItem(key) { return this.map.get(key) ?? null; }
  setItem(key, value) { this.map.set(key, value); }
  removeItem(key) { this.map.delete(key); }
}

function start(options = {}) {
  FakeSocket.made = [];
  const seen = { state: [], sync: [], reset: [], event: [], status: [], delta: [], outbox: [], error: [] };
  const on = Object.fromEntries(Object.keys(seen).map((name) => [name, (...values) => seen[name].push(values)]));
  const clock = new FakeClock();
  const storage = options.storage ?? new FakeStorage();
  const net = { online: true };
  const signals = new EventTarget();
  let made = 0;
  const talk = new Conversation({
    url: "ws://test/ws", sessionId: "s-1", on, Socket: FakeSocket, storage, clock, random: () => 0.5,
    newId: () => `id-${++made}`, signals, isOnline: () => net.online, ...options,
  });
  talk.connect();
  const socket = () => FakeSocket.made.at(-1);
  const live = ({ action = "send_history", head = 0, ...more } = {}) => {
    socket().open();
    socket().hear({ type: "sync_response", payload: { action, heartbeat_ms: 25_000, ...more } });
    socket().hear({ type: "live", payload: { head } });
  };
  return { talk, seen, clock, storage, net, signals, socket, live, sockets: FakeSocket.made };
}

const said = (seq, more = {}) =>
  ({ type: "chat_message", role: "assistant", message_id: `m-${seq}`, seq, payload: { text: `t${seq}` }, ...more });
const own = (seq, id, payload = {}) => said(seq, { role: "user", payload: { text: "x", client_id: id, ...payload } });
const seqs = (seen) => seen.event.map(([frame]) => frame.seq);
const told = (type, payload) => ({ type, payload });

describe("connecting", () => {
  test("a fresh client asks for everything and offers the subprotocol", () => {
    const { socket } = start();
    assert.deepEqual(socket().protocols, ["rejoinder.v1"]);
    assert.equal(socket().url.searchParams.get("session_id"), "s-1");
    assert.equal(socket().url.searchParams.has("after"), false);
  });

  test("a client asks for its workflow each time, and for none without one", () => {
    const { socket, live, clock } = start({ workflow: "tea bar" });
    assert.equal(socket().url.searchParams.get("workflow"), "tea bar");
    live();
    socket().lose();
    clock.pass(250);
    assert.equal(socket().url.searchParams.get("workflow"), "tea bar");
    assert.equal(start().socket().url.searchParams.has("workflow"), false);
  });

  test("a client with events resumes behind its last one", () => {
    const { socket, live, clock } = start();
    live();
    socket().hear(said(1));
    socket().hear(said(2));
    socket().lose();
    clock.pass(250);
    assert.equal(socket().url.searchParams.get("after"), "2");
    assert.equal(socket().url.searchParams.get("last_message_id"), "m-2");
  });

  test("reset drops the cursor and tells before anything else comes", () => {
    const { socket, live, clock, seen } = start();
    live();
    socket().hear(said(1));
    socket().lose();
    clock.pass(250);
    socket().open();
    socket().hear(told("sync_response", { action: "reset" }));
    assert.equal(seen.reset.length, 1);
    socket().hear(said(1, { message_id: "other" }));
    assert.deepEqual(seqs(seen), [1, 1]);
  });

  test("events before live are told as replayed, later ones are not", () => {
    const { socket, seen } = start();
    socket().open();
    socket().hear(told("sync_response", { action: "send_history" }));
    socket().hear(said(1));
    socket().hear(told("live", { head: 1 }));
    socket().hear(said(2));
    assert.deepEqual(seen.event.map(([, replayed]) => replayed), [true, false]);
  });

  test("a server that does not take the subprotocol is live with its sync_response", () => {
    const { socket, talk } = start();
    socket().protocol = "";
    socket().open();
    socket().hear(told("sync_response", { action: "send_history" }));
    assert.equal(talk.state.name, "live");
  });
});

describe("the log", () => {
  test("older is dropped, the next applied, a gap asked for once", () => {
    const { socket, live, seen } = start();
    live();
    for (const seq of [1, 1, 4, 5, 2, 3, 4, 5]) socket().hear(said(seq));
    assert.deepEqual(seqs(seen), [1, 2, 3, 4, 5]);
    assert.deepEqual(socket().of("resume"), [{ type: "resume", after: 1 }]);
  });

  test("a second gap asks again", () => {
    const { socket, live } = start();
    live();
    for (const seq of [1, 3, 2, 3, 6]) socket().hear(said(seq));
    assert.deepEqual(socket().of("resume").map((frame) => frame.after), [1, 3]);
  });

  test("a gap that outlived its connection is asked for anew", () => {
    const { socket, live, clock } = start();
    live();
    socket().hear(said(2));
    socket().lose();
    clock.pass(250);
    live();
    socket().hear(said(2));
    assert.deepEqual(socket().of("resume").map((frame) => frame.after), [0]);
  });

  test("a ping or live whose head is ahead tells of a lost event", () => {
    const { socket, live } = start();
    live({ head: 1 });
    assert.deepEqual(socket().of("resume").map((frame) => frame.after), [0]);
    socket().hear(said(1));
    socket().hear(told("ping", { n: 7, head: 2 }));
    assert.deepEqual(socket().of("pong"), [{ type: "pong", n: 7 }]);
    assert.deepEqual(socket().of("resume").map((frame) => frame.after), [0, 1]);
  });

  test("frames of a socket that was left behind do not count", () => {
    const { socket, live, clock, seen, sockets } = start();
    live();
    socket().lose();
    clock.pass(250);
    sockets[0].hear(said(1));
    assert.deepEqual(seqs(seen), []);
  });

  test("what is not JSON is life and nothing else", () => {
    const { socket, live, talk } = start();
    live();
    socket().hear("pong");
    socket().hear("null");
    assert.equal(talk.state.name, "live");
  });
});

describe("the outbox", () => {
  test("a line waits for live, then goes out once, and its ack lets the next one go", () => {
    const { socket, live, talk } = start();
    talk.send("one");
    socket().open();
    socket().hear(told("sync_response", { action: "send_history" }));
    talk.send("two");
    assert.equal(socket().sent.length, 0);
    live();
    assert.deepEqual(socket().of("user_message").map((frame) => frame.data.text), ["one"]);
    socket().hear(told("ack", { id: "id-1", seq: 1 }));
    assert.deepEqual(socket().of("user_message").map((frame) => frame.data.text), ["one", "two"]);
  });

  test("an acked line stays in view until its frame comes, and is not sent again", () => {
    const { socket, live, talk, storage, clock } = start();
    live();
    talk.send("one");
    socket().hear(told("ack", { id: "id-1", seq: 1 }));
    assert.equal(talk.lines.length, 1);
    assert.equal(storage.length, 0);
    socket().lose();
    clock.pass(250);
    live();
    assert.equal(socket().sent.length, 0);
    socket().hear(own(1, "id-1"));
    assert.equal(talk.lines.length, 0);
  });

  test("a lost connection sends again under the same id", () => {
    const { socket, live, talk, clock } = start();
    live();
    talk.send("one");
    socket().lose();
    clock.pass(250);
    live();
    assert.deepEqual(socket().of("user_message").map((frame) => frame.id), ["id-1"]);
  });

  test("what was not confirmed is sent again, unless the line comes back in the replay", () => {
    const { socket, live, talk, clock } = start();
    live();
    talk.send("one");
    talk.send("two");
    socket().lose();
    clock.pass(250);
    socket().open();
    socket().hear(told("sync_response", { action: "send_history" }));
    socket().hear(own(1, "id-1"));
    socket().hear(told("live", { head: 1 }));
    assert.deepEqual(socket().of("user_message").map((frame) => frame.id), ["id-2"]);
  });

  test("somebody else's line with the same text settles nothing", () => {
    const { socket, live, talk } = start();
    live();
    talk.send("x");
    socket().hear(own(1, "another"));
    socket().hear(said(2, { payload: { text: "x", client_id: "id-1" } }));
    assert.equal(talk.lines.length, 1);
  });

  test("a reload keeps unsent lines, in order, for this conversation only", () => {
    const storage = new FakeStorage();
    const before = start({ storage });
    before.talk.send("one");
    before.talk.send("two", { action_value: "v", action_message_id: "c" });
    const after = start({ storage });
    assert.deepEqual(after.talk.lines.map((line) => line.frame.data),
      [{ text: "one" }, { text: "two", action_value: "v", action_message_id: "c" }]);
    assert.deepEqual(start({ storage, sessionId: "s-2" }).talk.lines, []);
  });

  test("a final refusal takes the line out and tells it", () => {
    const { socket, live, talk, seen, storage } = start();
    live();
    talk.send("one");
    socket().hear(told("error", { code: "too_large", id: "id-1", message: "Too long.", temporary: false }));
    assert.equal(talk.lines.length, 0);
    assert.equal(storage.length, 0);
    assert.equal(seen.error[0][0].line.data.text, "one");
  });

  test("a temporary refusal waits as told, and nothing overtakes it", () => {
    const { socket, live, talk, clock } = start();
    live();
    talk.send("one");
    talk.send("two");
    socket().hear(told("error", { code: "overloaded", id: "id-1", temporary: true, retry_ms: 3000 }));
    talk.send("three");
    clock.pass(2999);
    assert.equal(socket().of("user_message").length, 1);
    clock.pass(1);
    assert.deepEqual(socket().of("user_message").map((frame) => frame.id), ["id-1", "id-1"]);
  });

  test("a line that came beside an answer is not sent again by itself", () => {
    const { socket, live, talk, seen, storage, clock } = start();
    live();
    talk.send("one");
    const refusal = { code: "turn_running", id: "id-1", message: "Please wait.", temporary: true, retry_ms: 500 };
    socket().hear(told("error", refusal));
    clock.pass(10_000);
    assert.deepEqual([talk.lines.length, storage.length, socket().of("user_message").length], [0, 0, 1]);
    const [{ line, again }] = seen.error[0];
    assert.deepEqual([line.id, line.data.text, again], ["id-1", "one", false]);
  });

  test("a cancel goes past a waiting line and leaves with its ack or refusal", () => {
    const { socket, live, talk } = start();
    live();
    talk.send("one");
    talk.cancel(7);
    assert.deepEqual(socket().of("cancel"), [{ type: "cancel", id: "id-2", turn: 7 }]);
    socket().hear(told("ack", { id: "id-2", seq: 9 }));
    talk.cancel(7);
    socket().hear(told("error", { code: "not_running", id: "id-3", temporary: false }));
    assert.deepEqual(talk.lines.map((line) => line.id), ["id-1"]);
  });

  test("the outbox is bounded, and so is a frame", () => {
    const { talk } = start({ bound: 2 });
    assert.throws(() => talk.send("x".repeat(70_000)), (error) => error instanceof OutboxError && error.code === "too_large");
    talk.send("one");
    talk.send("two");
    assert.throws(() => talk.send("three"), { code: "outbox_full" });
    assert.equal(talk.lines.length, 2);
  });

  test("without storage lines live in memory", () => {
    const barred = { get length() { throw new Error("barred"); }, setItem() { throw new Error("barred"); } };
    const { talk, socket, live } = start({ storage: barred });
    talk.send("one");
    live();
    assert.equal(socket().of("user_message").length, 1);
  });
});

describe("coming back", () => {
  const delays = (code, times) => {
    const { socket, clock, seen } = start();
    return Array.from({ length: times }, () => {
      socket().lose(code);
      const { ms } = seen.state.at(-1)[0];
      clock.pass(ms);
      return ms;
    });
  };

  test("backs off with full jitter up to 30 s", () => {
    assert.deepEqual(delays(1006, 8), [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  });

  test("41xx asks for room from the first time on", () => {
    assert.equal(delays(4101, 1)[0], 1000);
  });

  test("42xx comes back at once, but not for ever", () => {
    const [first, second, third, fourth] = delays(4200, 4);
    assert.deepEqual([first, second, third], [150, 150, 150]);
    assert.ok(fourth > 1000);
  });

  for (const code of [4000, 4001, 4003, 4099, 1002, 1007, 1009]) {
    test(`${code} stops and says so`, () => {
      const { socket, clock, talk, sockets } = start();
      socket().lose(code, "because");
      clock.pass(600_000);
      assert.deepEqual(talk.state, { name: "stopped", code, reason: "because" });
      assert.equal(sockets.length, 1);
    });
  }

  test("a connection that held starts the back-off anew, a short one does not", () => {
    const { socket, clock, live, seen } = start();
    for (let i = 0; i < 3; i += 1) {
      socket().lose();
      clock.pass(seen.state.at(-1)[0].ms);
    }
    live();
    clock.pass(29_000);
    socket().lose();
    assert.equal(seen.state.at(-1)[0].ms, 2000);
    clock.pass(2000);
    live();
    clock.pass(30_000);
    socket().lose();
    assert.equal(seen.state.at(-1)[0].ms, 250);
  });

  test("offline it waits for the network, then connects at once", () => {
    const { socket, clock, net, signals, talk, sockets } = start();
    net.online = false;
    socket().lose();
    clock.pass(600_000);
    assert.equal(talk.state.name, "offline");
    assert.equal(sockets.length, 1);
    net.online = true;
    signals.dispatchEvent(new Event("online"));
    assert.equal(sockets.length, 2);
  });

  test("silence past the heartbeat is a dead connection; any frame is life", () => {
    const { socket, clock, live, talk } = start();
    live();
    clock.pass(34_000);
    socket().hear(told("presence", {}));
    clock.pass(34_000);
    assert.equal(talk.state.name, "live");
    const dead = socket();
    clock.pass(1000);
    assert.equal(talk.state.name, "waiting");
    assert.equal(dead.readyState, 3);
  });

  test("a server that never says anything is given up", () => {
    const { clock, talk, socket } = start();
    socket().open();
    clock.pass(15_000);
    assert.equal(talk.state.name, "waiting");
  });

  test("going offline probes a connection that may be dead", () => {
    const { clock, talk, socket, live, signals } = start();
    live();
    signals.dispatchEvent(new Event("offline"));
    assert.equal(socket().of("ping").length, 1);
    clock.pass(5000);
    assert.equal(talk.state.name, "waiting");
  });

  test("drain says when to come back, also when the server closes earlier", () => {
    const { clock, socket, live, sockets } = start();
    live();
    socket().hear(told("drain", { after_ms: 2000 }));
    clock.pass(500);
    socket().lose(4200);
    clock.pass(1499);
    assert.equal(sockets.length, 1);
    clock.pass(1);
    assert.equal(sockets.length, 2);
  });

  test("close leaves for good", () => {
    const { clock, talk, socket, live, sockets } = start();
    live();
    const first = socket();
    talk.close();
    clock.pass(600_000);
    assert.equal(first.closedWith, 1000);
    assert.equal(sockets.length, 1);
  });
});

describe("answers being written", () => {
  const delta = (n, text, more = {}) =>
    ({ type: "stream_delta", message_id: "a", payload: { turn: 1, attempt: 1, n, text, reset: false, ...more } });
  const text = (talk, id = "a") => talk.streams.get(id)?.text;

  test("pieces add up, doubles and pieces behind a hole are dropped", () => {
    const { talk, socket, live } = start();
    live();
    for (const frame of [delta(1, "Oc"), delta(2, "to"), delta(2, "to"), delta(4, "?")]) socket().hear(frame);
    assert.equal(text(talk), "Octo");
  });

  test("reset or a higher attempt replaces, an older attempt is dropped", () => {
    const { talk, socket, live } = start();
    live();
    socket().hear(delta(1, "one"));
    socket().hear(delta(5, "all so far", { reset: true }));
    assert.equal(text(talk), "all so far");
    socket().hear(delta(1, "anew", { attempt: 2 }));
    socket().hear(delta(6, "late"));
    assert.equal(text(talk), "anew");
  });

  test("the final message takes its place, and the end of the turn takes the rest", () => {
    const { talk, socket, live } = start();
    live();
    socket().hear(delta(1, "one"));
    socket().hear(said(1, { message_id: "a" }));
    assert.equal(text(talk), undefined);
    socket().hear(delta(2, "one"));
    socket().hear({ type: "state_update", role: "system", message_id: "m-2", seq: 2, payload: { from: "A", to: "A", turn: 1 } });
    assert.equal(talk.streams.size, 0);
  });
});

describe("the transcript", () => {
  const frame = (seq, type, payload, role = "assistant") =>
    ({ seq, type, role, payload, message_id: `m-${seq}`, timestamp: "2026-01-01T00:00:00.000Z" });
  const actions = [{ label: "Yes!", value: "yes" }, { label: "No", value: "no", requires_input: true }];
  const ask = (seq) => frame(seq, "action_request", { prompt_text: "?", actions });
  const move = (seq, from, to, turn) => frame(seq, "state_update", { from, to, turn, memory: {} }, "system");
  const press = (seq, of) =>
    frame(seq, "chat_message", { text: "Yes!", action_value: "yes", action_message_id: of }, "user");
  const fold = (...frames) => {
    const transcript = new Transcript();
    for (const each of frames) transcript.apply(each);
    return transcript;
  };
  const card = (transcript, seq) => transcript.items.get(`m-${seq}`);

  test("the card that a move brings stays open, a later move closes it", () => {
    const before = [ask(1), move(2, "A", "B", 0)];
    assert.equal(card(fold(...before), 1).open, true);
    assert.equal(card(fold(...before, move(3, "B", "C", 3)), 1).open, false);
  });

  test("a turn that stays keeps the card; a newer card closes it", () => {
    const kept = [ask(1), move(2, "A", "B", 0), move(4, "B", "B", 3)];
    assert.equal(card(fold(...kept), 1).open, true);
    const renewed = fold(...kept, ask(5));
    assert.deepEqual([card(renewed, 1).open, card(renewed, 5).open], [false, true]);
  });

  test("a choice is marked; answered in vain, the card opens again", () => {
    const asked = [ask(1), move(2, "A", "B", 0), press(3, "m-1")];
    assert.equal(card(fold(...asked), 1).chosen, "yes");
    const failed = card(fold(...asked, move(4, "B", "B", 3)), 1);
    assert.deepEqual([failed.open, failed.chosen], [true, null]);
    const moved = card(fold(...asked, move(4, "B", "C", 3)), 1);
    assert.deepEqual([moved.open, moved.chosen], [false, "yes"]);
  });

  test("a line is being answered until a turn of its number ends", () => {
    const line = (seq) => frame(seq, "chat_message", { text: "x" }, "user");
    const transcript = fold(line(1), line(2), move(3, "A", "A", 1));
    assert.equal(transcript.running, 2);
    transcript.apply(move(4, "A", "A", 2));
    assert.equal(transcript.busy, false);
    transcript.progress({ status: "generating", turn: 2 });
    assert.equal(transcript.busy, false);
  });

  test("unknown events change nothing", () => {
    assert.deepEqual(new Transcript().apply(frame(1, "theme_sync", {})), []);
  });

  test("a partial update merges changed slides, or replaces all when it brings all", () => {
    const slide = (n, title) => ({ slide_id: `s${n}`, slide_number: n, title });
    const first = mergeOutline(null, { operation: "full_update", metadata: { main_title: "T" }, slides: [slide(1, "a"), slide(2, "b")] });
    const merged = mergeOutline(first, { operation: "partial_update", slides: [slide(2, "B")], affected_slides: ["s2"] });
    assert.deepEqual(merged.slides.map((each) => each.title), ["a", "B"]);
    assert.equal(merged.metadata.main_title, "T");
    assert.deepEqual([...merged.changed], ["s2"]);
    const whole = mergeOutline(merged, { operation: "partial_update", slides: [slide(1, "A")], affected_slides: ["s9"] });
    assert.deepEqual(whole.slides.map((each) => each.title), ["A"]);
    const shortened = mergeOutline(first, { operation: "partial_update", slides: [slide(1, "b")], affected_slides: ["s1"] });
    assert.deepEqual(shortened.slides.map((each) => each.title), ["b"]);
  });

  test("a new topic takes the outline and the deck away, and nothing else does", () => {
    const built = [
      frame(1, "slide_update", { operation: "full_update", metadata: { main_title: "T" }, slides: [] }),
      frame(2, "presentation_url", { url: "https://a.b/c" }), move(3, "A", "B", 0)];
    assert.ok(fold(...built).outline && fold(...built).deck);
    const memory = { presentation_strawman: null, presentation_url: null };
    const anew = fold(...built, frame(4, "state_update", { from: "B", to: "A", turn: 4, memory }));
    assert.deepEqual([anew.outline, anew.deck], [null, null]);
  });

  test("a blank canvas never covers an outline", () => {
    const transcript = fold(
      frame(1, "slide_update", { operation: "full_update", metadata: { main_title: "T" }, slides: [] }),
      frame(2, "slide_update", { operation: "full_update", is_blank: true, metadata: {}, slides: [] }));
    assert.equal(transcript.outline.metadata.main_title, "T");
  });
});

describe("Markdown", () => {
  test("spans, lists, code and line breaks", () => {
    assert.deepEqual(parse("a **b *c*** `d*`\ne"), [{ kind: "paragraph", text: "a **b *c*** `d*`\ne", spans: [
      "a ", { kind: "bold", spans: ["b ", { kind: "italic", spans: ["c"] }] }, " ", { kind: "code", text: "d*" }, { kind: "break" }, "e"] }]);
    const [list] = parse("2. x\n\n3. y");
    assert.deepEqual([list.kind, list.ordered, list.start, list.items], ["list", true, 2, [["x"], ["y"]]]);
    assert.deepEqual(parse("```\n**x**\n```"), [{ kind: "code", text: "**x**" }]);
  });

  test("only http(s) becomes a link", () => {
    assert.equal(parse("[a](https://b.c/)")[0].spans[0].href, "https://b.c/");
    assert.deepEqual(parse("[a](javascript:alert(1)) [b](javascript:b) <b>")[0].spans.filter((span) => typeof span !== "string"), []);
    for (const address of ["javascript:1", "data:text/html,x", "//b.c", "https://u:p@b.c/", null]) {
      assert.equal(isWebAddress(address), false, address);
    }
  });

  test("words with underscores and lone stars stay as they are", () => {
    assert.deepEqual(parse("snake_case_name 2 * 3 * 4")[0].spans, ["snake_case_name 2 * 3 * 4"]);
  });

  test("a long hostile text is quick", () => {
    const before = performance.now();
    for (const piece of ["**a ", "`", "[a](", "_a ", "*a", "\n", "https://"]) parse(piece.repeat(16_000 / piece.length));
    assert.ok(performance.now() - before < 2000);
  });
});

test("an id is a UUID, also without randomUUID", () => {
  const { crypto } = globalThis;
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(makeId(), form);
  Object.defineProperty(globalThis, "crypto", { value: { getRandomValues: (bytes) => crypto.getRandomValues(bytes) }, configurable: true });
  try { assert.match(makeId(), form); } finally { Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true }); }
});

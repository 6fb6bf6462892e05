// A conversation's client: one WebSocket, one cursor, one outbox. No DOM: it runs in a page, a worker or Node.
//
//     const talk = new Conversation({ url: "wss://host/ws", sessionId, on: { event: draw, state: show } });
//     talk.connect();
//     talk.send("Octopuses, for children");

import { Outbox } from "./outbox.js";

const PROTOCOL = "rejoinder.v1";
const FIRST_FRAME_MS = 15_000;
const GRACE_MS = 10_000; // on top of the server's heartbeat
const PROBE_MS = 5_000;
const STABLE_MS = 30_000; // a connection that held this long starts the back-off anew
const BACKOFF_MS = { first: 500, most: 30_000, soon: 300 };
const RETRY_MS = 2_000; // for a temporary refusal that does not say when
const STOP_CODES = [1002, 1007, 1009];

/**
 * One conversation with the server; a new one is of `workflow`, or of the server's usual one. `on` takes functions, all optional:
 * state({name: connecting|live|waiting|offline|stopped, ms?, code?, reason?}), sync(payload), reset(),
 * event(frame, replayed), status(payload), delta(streams), outbox(lines),
 * error({code, message, temporary, line?, again?}): `again` when the refused line will be sent again by itself.
 * `lines` (see Outbox) is what the server has not confirmed; it is sent again until it is, also after a reload.
 */
export class Conversation {
  last = 0; // seq of the last durable frame that was told to `on.event`
  streams = new Map(); // message_id → {turn, attempt, n, text}: answers still being written
  state = { name: "idle" };
  #lastId = "";
  #socket = null;
  #live = false;
  #attempt = 0;
  #heartbeat = 25_000;
  #gapAt = -1; // `last` when a resume was asked for, so that one gap asks once
  #drained = 0; // when a drained connection is to come back
  #timers = {};
  #outbox;

  constructor({ url, sessionId, workflow = null, on = {}, Socket = globalThis.WebSocket, storage = null,
    clock = globalThis, random = Math.random, newId = makeId, signals = globalThis,
    isOnline = () => globalThis.navigator?.onLine !== false, bound = 50 }) {
    Object.assign(this, { url, sessionId, workflow, on, Socket, clock, random, newId, isOnline });
    this.#outbox = new Outbox(storage, sessionId, bound);
    for (const name of ["online", "offline"]) signals.addEventListener?.(name, () => this.wake());
  }

  get lines() { return this.#outbox.lines; }

  /** Connect now; also what "try now" means. */
  connect() {
    this.#leave();
    const query = new URLSearchParams({ session_id: this.sessionId });
    if (this.workflow) query.set("workflow", this.workflow);
    if (this.last) {
      query.set("after", this.last);
      query.set("last_message_id", this.#lastId);
    }
    const socket = new this.Socket(`${this.url}?${query}`, [PROTOCOL]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#closed(code, reason);
    this.#expectFrame(FIRST_FRAME_MS);
    this.#become({ name: "connecting" });
  }

  /** Something changed outside (network, sleep): connect if we wait, else see whether the server is still there. */
  wake() {
    if (this.#socket) {
      if (this.#send({ type: "ping", n: 0 })) this.#expectFrame(PROBE_MS);
    } else if (this.isOnline() && ["waiting", "offline"].includes(this.state.name)) this.connect();
  }

  /** Leave for good. */
  close() {
    this.#leave(1000);
    this.#become({ name: "stopped", code: 1000, reason: "" });
  }

  /** Say a line, or press a button with `{action_value, action_message_id}`. Returns its id; throws OutboxError. */
  send(text, action = {}) {
    return this.#put({ type: "user_message", id: this.newId(), data: { text, ...action } });
  }

  /** Stop the running turn. Returns the id of the request. */
  cancel(turn) {
    return this.#put({ type: "cancel", id: this.newId(), turn });
  }

  #put(frame) {
    this.#outbox.add(frame);
    this.#flush();
    this.#emit("outbox", this.lines);
    return frame.id;
  }

  #receive(text) {
    let frame = null;
    try { frame = JSON.parse(text); } catch { /* not ours; it is life all the same */ }
    const payload = frame?.payload ?? {};
    if (frame?.type === "sync_response") this.#sync(payload);
    this.#expectFrame(this.#heartbeat + GRACE_MS);
    if (frame?.seq) return this.#take(frame, payload);
    switch (frame?.type) {
      case "live": return this.#goLive(payload.head);
      case "ack": return this.#acked(payload);
      case "error": return this.#refused(payload);
      case "stream_delta": return this.#grow(frame.message_id, payload);
      case "status_update": return this.#emit("status", payload);
      case "drain": return this.#drain(payload.after_ms ?? 0);
      case "ping":
        this.#send({ type: "pong", n: payload.n ?? frame.n });
        if (this.#live && payload.head > this.last) this.#resume(true);
    }
  }

  #sync(payload) {
    this.#heartbeat = payload.heartbeat_ms ?? this.#heartbeat;
    this.#live = false;
    this.#gapAt = -1;
    this.streams.clear(); // a running turn is told afresh
    if (payload.action === "reset") {
      this.last = 0;
      this.#lastId = "";
      this.#emit("reset");
    }
    this.#emit("sync", payload);
    if (this.#socket.protocol !== PROTOCOL) this.#goLive(); // the other dialect has no `live`
  }

  #goLive(head = 0) {
    this.#live = true;
    this.#timer("stable", STABLE_MS, () => { this.#attempt = 0; });
    this.#become({ name: "live" });
    if (head > this.last) this.#resume();
    this.#flush();
  }

  /** The one rule of the log: older is dropped, the next is applied, a gap is asked for. */
  #take(frame, payload) {
    if (frame.seq <= this.last) return;
    if (frame.seq > this.last + 1) return this.#resume();
    this.last = frame.seq;
    this.#lastId = frame.message_id;
    this.streams.delete(frame.message_id);
    if (frame.type === "state_update") this.#endStreams((stream) => stream.turn <= payload.turn);
    const mine = (line) => (frame.role === "user" && line.id === payload.client_id) || line.seq <= frame.seq;
    const settled = this.lines.filter(mine);
    this.#emit("event", frame, !this.#live);
    for (const line of settled) this.#settle(line);
  }

  #resume(again = false) {
    if (this.#gapAt === this.last && !again) return;
    this.#gapAt = this.last;
    this.#send({ type: "resume", after: this.last });
  }

  #grow(id, { turn, attempt = 0, n = 0, text = "", reset = false }) {
    const have = this.streams.get(id);
    if (have && attempt < have.attempt) return; // of a process that does not know yet that another took over
    if (reset || !have || attempt > have.attempt) {
      this.#endStreams((stream) => stream.turn === turn && stream.attempt < attempt); // it may write another message
      this.streams.set(id, { turn, attempt, n, text });
    } else if (attempt === have.attempt && n === have.n + 1) {
      this.streams.set(id, { ...have, n, text: have.text + text });
    } else return; // seen before, of an older attempt, or behind a lost piece: the final message tells all
    this.#emit("delta", this.streams);
  }

  #endStreams(ends) {
    for (const [id, stream] of this.streams) if (ends(stream)) this.streams.delete(id);
  }

  #flush() {
    if (!this.#live || this.#timers.hold !== undefined) return;
    for (const line of this.#outbox.due()) Object.assign(line, { sent: this.#send(line.frame), trouble: undefined });
  }

  #acked({ id, seq }) {
    const line = this.#outbox.find(id);
    if (!line) return;
    if (line.frame.type === "cancel" || !(seq > this.last)) return this.#settle(line);
    this.#outbox.confirm(line, seq);
    this.#flush();
    this.#emit("outbox", this.lines);
  }

  #refused(error) {
    const line = this.#outbox.find(error.id);
    // Behind an answer it may not be what is meant any more: that is for whoever wrote it to say.
    const again = Boolean(line && error.temporary && error.code !== "turn_running");
    if (again) {
      Object.assign(line, { sent: false, trouble: error.message });
      this.#timer("hold", error.retry_ms ?? RETRY_MS, () => this.#flush());
    }
    this.#emit("error", { ...error, line: line?.frame, again });
    if (line && !again) this.#settle(line);
    else this.#emit("outbox", this.lines);
  }

  #settle(line) {
    this.#outbox.remove(line);
    this.#flush();
    this.#emit("outbox", this.lines);
  }

  #closed(code, reason = "") {
    const drained = this.#timers.retry !== undefined; // a drain said when to come back
    const stop = STOP_CODES.includes(code) || (code >= 4000 && code < 4100);
    this.#leave(undefined, drained && !stop);
    if (stop) return this.#become({ name: "stopped", code, reason });
    if (drained) return this.#become({ name: "waiting", ms: Math.max(0, this.#drained - Date.now()) });
    if (!this.isOnline()) return this.#become({ name: "offline" });
    const soon = code >= 4200 && code < 4300 && this.#attempt < 3;
    if (code >= 4100 && code < 4200) this.#attempt = Math.max(this.#attempt, 2); // the server asked for room
    const ceiling = soon ? BACKOFF_MS.soon : Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempt);
    const ms = Math.round(this.random() * ceiling);
    this.#attempt += 1;
    this.#timer("retry", ms, () => this.connect());
    this.#become({ name: "waiting", ms });
  }

  #drain(ms) {
    this.#drained = Date.now() + ms;
    this.#timer("retry", ms, () => this.connect());
  }

  #leave(code, keepRetry = false) {
    for (const name of ["life", "stable", "hold", ...(keepRetry ? [] : ["retry"])]) this.#timer(name);
    const socket = this.#socket;
    this.#socket = null; // what it still says no longer counts
    this.#live = false;
    this.#outbox.unsend();
    socket?.close(code);
  }

  #expectFrame(ms) {
    if (this.#socket) this.#timer("life", ms, () => this.#closed(4109, "no sign of life"));
  }

  #timer(name, ms, run) {
    this.clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = ms === undefined ? undefined : this.clock.setTimeout(() => {
      this.#timers[name] = undefined;
      run();
    }, ms);
  }

  #send(frame) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #become(state) {
    this.state = state;
    this.#emit("state", state);
  }

  #emit(name, ...values) { this.on[name]?.(...values); }
}

/** A random UUID, also where the page is not a secure context and has no `randomUUID`. */
export function makeId() {
  if (globalThis.crypto.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

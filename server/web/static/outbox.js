// What was said and is not confirmed yet: a list that survives a reload. It knows nothing of connections.

const FRAME_BYTES = 65_536; // what the server reads at most

/** Why a line was not taken: `outbox_full` or `too_large`. Nothing was kept. */
export class OutboxError extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** The unconfirmed lines of one conversation, oldest first: `lines` of {id, frame, at, sent, seq?, trouble?}. */
export class Outbox {
  #storage;
  #prefix;
  #bound;

  constructor(storage, sessionId, bound) {
    this.#storage = storage;
    this.#prefix = `rejoinder.outbox.${sessionId}.`;
    this.#bound = bound;
    this.lines = this.#stored();
  }

  /** Take a frame in. Throws OutboxError when there is no room for it. */
  add(frame) {
    if (this.lines.length >= this.#bound) throw new OutboxError("outbox_full");
    if (new TextEncoder().encode(JSON.stringify(frame)).length > FRAME_BYTES) throw new OutboxError("too_large");
    const at = Math.max(Date.now(), (this.lines.at(-1)?.at ?? 0) + 1);
    this.lines.push({ id: frame.id, frame, at, sent: false });
    this.#keep((storage) => storage.setItem(this.#prefix + frame.id, JSON.stringify({ at, frame })));
  }

  find(id) { return this.lines.find((line) => line.id === id); }

  /** The server has the line, as event `seq`: no reload needs it, but it stays in view until that event comes. */
  confirm(line, seq) {
    line.seq = seq;
    this.#keep((storage) => storage.removeItem(this.#prefix + line.id));
  }

  remove(line) {
    this.lines = this.lines.filter((each) => each !== line);
    this.#keep((storage) => storage.removeItem(this.#prefix + line.id));
  }

  /** The connection is gone: whatever was on its way has to be sent again. */
  unsend() {
    for (const line of this.lines) line.sent = false;
  }

  /**
   * What may be sent now. One line is in flight at a time, so that a line refused for the moment is never overtaken by
   * a later one; a cancel waits for nothing.
   */
  due() {
    const first = this.lines.find((line) => line.seq === undefined && line.frame.type !== "cancel");
    return this.lines.filter((line) => !line.sent && (line === first || line.frame.type === "cancel"));
  }

  /** A key per line: two tabs never overwrite each other, and a line that both send takes effect once. */
  #stored() {
    const found = [];
    this.#keep((storage) => {
      const keys = Array.from({ length: storage.length }, (_, i) => storage.key(i));
      for (const key of keys.filter((each) => each.startsWith(this.#prefix))) {
        const { at, frame } = JSON.parse(storage.getItem(key));
        found.push({ id: frame.id, frame, at, sent: false });
      }
    });
    return found.sort((a, b) => a.at - b.at);
  }

  #keep(use) {
    try { use(this.#storage ?? globalThis.localStorage); } catch { /* barred or full: the line lives in memory */ }
  }
}

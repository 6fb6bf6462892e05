// A conversation server written by hand on Socket.IO: what a careful team writes in an afternoon. A line and its answer
// are one transaction of better-sqlite3 (where that could not be built, of node:sqlite), WAL, synchronous=FULL; a line's
// id takes effect once; frames go after the commit. `node socketio_server.mjs PORT`, BENCH_DATABASE, BENCH_DRIVER.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";

// The packages stand in a folder of the bench's own, not beside this file.
const require = createRequire(process.env.BENCH_PACKAGES + "/");
const { Server } = require("socket.io");
const path = process.env.BENCH_DATABASE;
const database =
  process.env.BENCH_DRIVER === "node:sqlite"
    ? new (await import("node:sqlite")).DatabaseSync(path)
    : new (require("better-sqlite3"))(path);

database.exec(`
  pragma journal_mode = wal;
  pragma synchronous = full;
  create table if not exists sessions (id text primary key, user text not null, state text not null, seq integer not null);
  create table if not exists events (session text not null, seq integer not null, role text not null, id text not null,
    client_id text, text text not null, created_at integer not null, primary key (session, seq)) without rowid;
  create unique index if not exists events_by_client on events (session, client_id) where client_id is not null;
`);
const load = database.prepare("select user, state, seq from sessions where id = ?");
const create = database.prepare("insert into sessions values (?, ?, 'HELLO', 0)");
const move = database.prepare("update sessions set state = ?, seq = ? where id = ? and user = ?");
const used = database.prepare("select seq from events where session = ? and client_id = ?");
const append = database.prepare("insert into events values (?, ?, ?, ?, ?, ?, ?)");
const behind = database.prepare("select seq, role, id, text from events where session = ? and seq > ? order by seq");

function transaction(work) {
  database.exec("begin immediate");
  try {
    const outcome = work();
    database.exec("commit");
    return outcome;
  } catch (error) {
    database.exec("rollback");
    throw error;
  }
}

function turn(session, user, line) {
  return transaction(() => {
    const before = used.get(session, line.id);
    if (before) return { seq: before.seq, duplicate: true };
    const { seq } = load.get(session);
    const answer = { id: randomUUID(), text: `you said ${line.text}`, seq: seq + 2 };
    const now = Date.now();
    append.run(session, seq + 1, "user", randomUUID(), line.id, line.text, now);
    append.run(session, seq + 2, "assistant", answer.id, null, answer.text, now + 1);
    move.run("HELLO", seq + 2, session, user);
    return { seq: seq + 1, duplicate: false, answer };
  });
}

const http = createServer((_, response) => response.end());
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  const { session_id: session, user_id: user, after } = socket.handshake.query;
  const known = load.get(session);
  if (known && known.user !== user) return socket.disconnect(true);
  if (!known) create.run(session, user);
  for (const event of behind.all(session, Number(after ?? 0))) socket.emit("history", event);
  socket.join(session);
  socket.on("user_message", (line) => {
    const { seq, duplicate, answer } = turn(session, user, line);
    socket.emit("ack", { id: line.id, seq, duplicate });
    if (answer) io.to(session).emit("chat_message", { ...answer, session_id: session, role: "assistant" });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));

"""The shortest story of a violation: of its session's history, the lines that have to do with it, for a person."""

import json
from collections.abc import Iterator, Sequence

from tests.soak.history import Record
from tests.soak.view import FINAL, Violation

#: Process events this long before and after the session's own lines belong to its story.
AROUND_S = 0.5
TEXT_CHARS = 110
LINES = 60


def tell(records: Sequence[Record], processes: Sequence[Record], violation: Violation) -> str:
    """What happened, one line each, in order; the last of it if it is long."""
    told = [record for record in records if _belongs(record, violation)]
    lived = {(record.c, record.n) for record in told if record.c != FINAL}
    told = [r for r in records if r in told or ((r.c, r.n) in lived and r.e in ("connect", "close", "drop", "leave"))]
    times = [record.t for record in told if record.c != FINAL]
    if times:
        told += [record for record in processes if times[0] - AROUND_S <= record.t <= times[-1] + AROUND_S]
    lines = [_line(record) for record in sorted(told, key=lambda record: record.t)]
    if len(lines) > LINES:
        lines = [*lines[: LINES // 3], f"      … {len(lines) - LINES} lines …", *lines[-2 * LINES // 3 :]]
    head = f"The story of session {violation.session}: {violation.check} – {violation.says}"
    return "\n".join([head, *lines])


def _belongs(record: Record, violation: Violation) -> bool:
    """Whether a line is about the events or ids of the violation, or begins and ends its connection."""
    frame = record.frame
    payload = frame.get("payload") or {}
    if record.e in ("send", "garbage"):
        body = frame.get("data") or {}
        is_resume = frame.get("type") == "resume" and (record.c, record.n) == violation.where
        return is_resume or bool({frame.get("id"), body.get("handoff_idempotency_key")} & set(violation.ids))
    if record.e != "recv":
        return (record.c, record.n) == violation.where
    here = (record.c, record.n) == violation.where
    if frame.get("type") in ("sync_response", "live"):
        return here
    if frame.get("type") in ("ack", "error"):
        return payload.get("id") in violation.ids
    is_about = frame.get("seq") in violation.seqs or bool(violation.ids and payload.get("client_id") in violation.ids)
    return is_about and (here or record.c == FINAL or violation.where is None)


def _line(record: Record) -> str:
    where = f"{record.c} #{record.n}" if record.c else "server"
    return f"{record.t:10.3f} s  {where:<14} {' '.join(_words(record))}"


def _words(record: Record) -> Iterator[str]:
    frame, known = record.frame, record.q
    match record.e:
        case "connect":
            query = {k: v for k, v in known["query"].items() if k not in ("session_id", "user_id", "workflow")}
            yield f"connects to process {known['number']} ({known['dialect']}) {_short(query) if query else ''}"
        case "close" if known["ours"]:
            yield "is gone"
        case "close":
            yield f"is closed with {known['code']}"
        case "send":
            yield f"→ {frame.get('type')} {frame.get('id', '')} {_short(frame.get('data') or frame.get('after', ''))}"
        case "recv" if frame:
            seq = f"seq {frame['seq']} " if "seq" in frame else ""
            yield f"← {seq}{frame['type']} {_short(frame['payload'])}"
        case "" | "recv":
            yield f"← {record.text}"
        case event:
            yield f"{event} {_short(known) if known else ''}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= TEXT_CHARS else text[:TEXT_CHARS] + "…"

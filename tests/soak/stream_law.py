"""The law of streams: the pieces of an answer, put together, are the answer, or its beginning."""

from collections.abc import Iterator, Sequence

from tests.soak.history import Record


def streams(records: Sequence[Record]) -> Iterator[str]:
    """What is wrong with the streams of one connection; one that lacks a piece cannot be judged."""
    texts: dict[str, tuple[int, str] | None] = {}
    for record in records:
        if record.e != "recv":
            continue
        frame = record.frame
        message_id, payload = frame.get("message_id", ""), frame.get("payload", {})
        if frame.get("type") == "stream_delta":
            before = texts.get(message_id)
            if payload["reset"] or payload["n"] == 1:
                texts[message_id] = payload["n"], payload["text"]
            elif before is not None and payload["n"] == before[0] + 1:
                texts[message_id] = payload["n"], before[1] + payload["text"]
            else:
                texts[message_id] = None
        elif frame.get("type") == "chat_message":
            # The last pieces may be missing, too: whoever replays hears none.
            streamed = texts.pop(message_id, None)
            if streamed is not None and not payload["text"].startswith(streamed[1]):
                yield f"{message_id} was streamed as {streamed[1]!r} and is {payload['text']!r}"

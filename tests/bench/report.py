"""What a run found, as a table for people and as JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tests.bench.bench import Found
from tests.bench.samples import (
    SESSIONS,
    Samples,
    Spread,
    ack_over_floor_ms,
    cpu_ratios,
    flat,
    quiet_ack_over_floor_ms,
    ratios,
)


class Column(NamedTuple):
    """A metric under its heading, with so many digits after the point."""

    metric: str
    heading: str
    digits: int
    scale: float = 1.0


_LATENCIES: Final = (
    Column("ack_p50_ms", "ack p50 ms", 2),
    Column("ack_p99_ms", "p99", 2),
    Column("reply_p50_ms", "reply p50 ms", 2),
    Column("reply_p99_ms", "p99", 2),
)
_RATE: Final = Column("turns_per_s", "turns/s", 0)
#: Of each figure: its title, and its columns.
COLUMNS: Final[Mapping[str, tuple[str, Sequence[Column]]]] = {
    "turns": (
        "Turns, by sessions at a time",
        (
            _RATE,
            Column("server_cpu_s", "CPU s/1,000", 3),
            Column("store_cpu_s", "of store", 3),
            *_LATENCIES,
            Column("client_share", "client CPU", 2),
        ),
    ),
    "latency": (
        f"Latency at half load, {SESSIONS} sessions",
        (
            _RATE,
            *_LATENCIES,
            Column("quiet_ack_p99_ms", "ack p99 in quiet", 2),
            Column("quiet_share", "of all", 2),
            Column("client_share", "client CPU", 2),
        ),
    ),
    "storage": (
        "As a conversation grows",
        (Column("turn", "at turn", 0), Column("bytes_per_turn", "bytes a turn", 0), _RATE),
    ),
    "reconnect": ("Reconnect", (Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2))),
    "idle": ("Idle connections", (Column("bytes_per_connection", "KiB each", 1, 1 / 1024),)),
    "storm": (
        "Everybody reconnects after a restart",
        (
            Column("to_99_percent_s", "s to 99 %", 2),
            Column("accepted_per_s", "accepted/s", 0),
            Column("server_cpu_s", "CPU s/1,000", 3),
            Column("store_calls_each", "store calls each", 3),
        ),
    ),
    "streaming": (
        "Streaming to all tabs",
        (
            Column("deltas_per_s", "deltas/s", 0),
            Column("frames_per_s", "frames/s", 0),
            Column("delivered", "delivered", 3),
        ),
    ),
    "syncs": ("Syncs to the disk, by sessions at a time", (Column("syncs_per_turn", "a turn", 2),)),
    "startup": ("Start", (Column("seconds", "s to ready", 2),)),
}


def table(found: Found) -> str:
    """All figures, as text."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Found) -> Iterator[str]:
    machine = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    yield f"{found.seconds:.0f} s; {machine}"
    yield ""
    yield from (f"{name}: {policy}" for name, policy in found.policies.items())
    yield from (f"{name}: absent, {reason.splitlines()[0]}" for name, reason in found.absent.items())
    for figure in COLUMNS:
        yield from _figure(found.samples, figure)
    if found.client:
        yield ""
        yield f"The client: two of them get {found.client['two_vs_one']:.2f} of what one gets out of the floor."
    yield from ("", "Ratios (median of the rounds' own, and their extremes)")
    for name, spread in ratios(found.samples).items():
        yield f"  {name:28} {_cell(spread, 3)}"
    yield f"  {'ack p99 over floor, ms':28} {_cell(ack_over_floor_ms(found.samples), 2)}"
    yield f"  {'the same in quiet, ms':28} {_cell(quiet_ack_over_floor_ms(found.samples), 2)}"
    yield from ("", "The same by processor time of the server, which neighbours blur less")
    for name, spread in cpu_ratios(found.samples).items():
        yield f"  {name:28} {_cell(spread, 3)}"


def _figure(samples: Samples, figure: str) -> Iterator[str]:
    title, columns = COLUMNS[figure]
    rows = [("", "", *(column.heading for column in columns))]
    for case in samples.cases(figure):
        for contender in samples.contenders(figure):
            spreads = [samples.spread(figure, case, contender, column.metric) for column in columns]
            if any(spreads):
                cells = [_cell(one, column.digits, column.scale) for one, column in zip(spreads, columns, strict=True)]
                rows.append((case, contender, *cells))
    if len(rows) > 1:
        yield from ("", f"{title} (median, and the extremes of the rounds)")
        yield from _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _cell(spread: Spread | None, digits: int, scale: float = 1.0) -> str:
    if spread is None:
        return "–"
    middle, low, high = (f"{value * scale:,.{digits}f}" for value in spread)
    return f"{middle} ({low}–{high})"


def as_json(found: Found) -> bytes:
    """Every round, and the ratios: `ratios` is flat, null where one side was not measured."""
    judged, late = ratios(found.samples), ack_over_floor_ms(found.samples)
    quiet = quiet_ack_over_floor_ms(found.samples)
    content = {
        "seconds": round(found.seconds, 1),
        "machine": found.machine,
        "policies": found.policies,
        "absent": found.absent,
        "client": found.client,
        "ratios": flat(judged),
        "cpu_ratios": flat(cpu_ratios(found.samples)),
        "ack_p99_over_floor_ms": late.median if late else None,
        "quiet_ack_p99_over_floor_ms": quiet.median if quiet else None,
        "ratio_spreads": {name: [spread.low, spread.high] for name, spread in judged.items() if spread},
        "medians": _medians(found.samples),
        "rounds": found.samples.all,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _medians(samples: Samples) -> dict[str, float]:
    """By `figure / case / contender / metric`."""
    keys = dict.fromkeys((one.figure, one.case, one.contender, one.metric) for one in samples.all)
    found = ((key, samples.spread(*key)) for key in keys)
    return {" / ".join(key): spread.median for key, spread in found if spread}

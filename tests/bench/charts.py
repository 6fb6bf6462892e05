"""Charts of a run as SVG, written by hand: bars with the spread of their rounds, legible on light and on dark."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from tests.bench.samples import HALF, OURS, SESSIONS, Samples, Spread

_OURS: Final = (OURS, "postgres", "redis", "supabase")
WIDTH: Final = 720
_LABEL: Final = 210
_VALUE: Final = 110
_ROW: Final = 26
_BAR: Final = 14
_TOP: Final = 58
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-size: 15px; font-weight: 600; fill: #24292f }
.bar { fill: #8c959f } .ours { fill: #0969da } .spread { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title { fill: #f0f6fc }
  .bar { fill: #656c76 } .ours { fill: #4493f8 } .spread { stroke: #d1d7e0 }
}
"""


class Bar(NamedTuple):
    """One row: whose it is, and how long. `text` is what stands at its end."""

    label: str
    spread: Spread
    text: str
    is_ours: bool


def bars(title: str, subtitle: str, rows: Sequence[Bar]) -> str:
    """A chart of horizontal bars from zero, the longest of which fills the width."""
    height = _TOP + _ROW * len(rows) + 12
    longest = max((row.spread.high for row in rows), default=0.0) or 1.0
    scale = (WIDTH - _LABEL - _VALUE) / longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
        f'<text x="12" y="44">{escape(subtitle)}</text>',
    ]
    for place, row in enumerate(rows):
        parts += _row(row, _TOP + _ROW * place, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: Bar, top: int, scale: float) -> list[str]:
    middle = top + _ROW / 2
    end, low, high = (_LABEL + value * scale for value in row.spread)
    return [
        f'<text x="{_LABEL - 8}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(row.label)}</text>',
        f'<rect class="{"ours" if row.is_ours else "bar"}" x="{_LABEL}" y="{middle - _BAR / 2:.1f}"'
        f' width="{max(1.0, end - _LABEL):.1f}" height="{_BAR}" rx="2"/>',
        f'<line class="spread" x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{middle + 4.5:.1f}">{escape(row.text)}</text>',
    ]


class Chart(NamedTuple):
    """One file: what it shows, under which words, and how its numbers are written."""

    file: str
    figure: str
    case: str
    metric: str
    title: str
    subtitle: str
    words: str
    scale: float = 1.0


_RECONNECT: Final = Chart(
    "bench-reconnect.svg",
    *("reconnect", "", "p50_ms"),
    "From a reconnect to live",
    "SQLite; shorter is better",
    "{:,.1f} ms",
)
_GROWTH: Final = Chart(
    "bench-growth.svg",
    *("storage", "", "turns_per_s"),
    "Turns a second, as a conversation grows",
    "young: its first turns; old: a thousand later",
    "{:,.0f}",
)


def _by_contender(samples: Samples) -> Sequence[Chart]:
    most = (samples.cases("idle") or [""])[-1]
    return (
        Chart(
            "bench-turns.svg",
            *("turns", str(SESSIONS), "turns_per_s"),
            "Turns a second",
            f"{SESSIONS} sessions; the floor keeps nothing",
            "{:,.0f}",
        ),
        Chart(
            "bench-latency.svg",
            *("latency", HALF, "ack_p99_ms"),
            "99th percentile from a line to its ack",
            "at half of what each can do; shorter is better",
            "{:,.1f} ms",
        ),
        Chart(
            "bench-memory.svg",
            *("idle", most, "bytes_per_connection"),
            "Resident memory of an idle connection",
            f"{most}; shorter is better",
            "{:,.1f} KiB",
            1 / 1024,
        ),
    )


def charts(samples: Samples) -> Mapping[str, str]:
    """Every chart that there are figures for, by the name of its file."""
    drawn: dict[str, str] = {}
    for chart in _by_contender(samples):
        rows = _bars(
            chart,
            (
                (name, samples.spread(chart.figure, chart.case, name, chart.metric), name.startswith(_OURS))
                for name in samples.contenders(chart.figure)
            ),
        )
        if rows:
            drawn[chart.file] = bars(chart.title, chart.subtitle, rows)
    cases = ((case, samples.spread("reconnect", case, OURS, "p50_ms"), True) for case in samples.cases("reconnect"))
    ages = (
        (f"{name}, {age}", samples.spread("storage", case, name, "turns_per_s"), name.startswith(_OURS))
        for name in samples.contenders("storage")
        for case, age in (("early", "young"), ("late", "old"))
    )
    for chart, found in ((_RECONNECT, cases), (_GROWTH, ages)):
        if rows := _bars(chart, found):
            drawn[chart.file] = bars(chart.title, chart.subtitle, rows)
    return drawn


def write_charts(samples: Samples, folder: Path) -> None:
    """Write them, over those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts(samples).items():
        (folder / name).write_text(chart, encoding="utf-8")


def _bars(chart: Chart, found: Iterable[tuple[str, Spread | None, bool]]) -> list[Bar]:
    """A bar for each that was measured."""
    drawn: list[Bar] = []
    for label, spread, is_ours in found:
        if spread is not None:
            scaled = Spread(*(value * chart.scale for value in spread))
            drawn.append(Bar(label, scaled, chart.words.format(scaled.median), is_ours))
    return drawn

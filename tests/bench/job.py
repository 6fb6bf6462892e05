"""What the client program is asked to do: one JSON text, the same for whoever serves."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

Kind = Literal["turns", "paced", "fill", "reconnect", "hold", "stream"]


class Target(Struct, frozen=True, kw_only=True):
    """A server. `{session}` and `{user}` in the path are each tab's own."""

    port: int
    path: str
    speech: str
    headers: Mapping[str, str] = {}


class Job(Struct, frozen=True, kw_only=True):
    """One measurement.

    `turns`      `tabs` say a line as soon as the last one is answered, for `seconds` behind `warm_s`, and longer where
                 that is less than two turns a tab.
    `paced`      `tabs` say `rate` lines a second at random moments, whether or not the last one is answered.
    `fill`       each of `tabs` says lines up to each of `stops`, and there waits for a word.
    `reconnect`  one connection after the other to each of `paths`, `tabs` times, until it is told that it is live.
    `hold`       opens tabs up to each of `stops`, at most `in_flight` at once, and there waits for a word.
    `stream`     `tabs` watch one session, in which one asks for `words` deltas again and again, for `seconds`.

    The sessions of the tabs follow from `seed` and their number; with 0 they are new ones.
    """

    kind: Kind
    target: Target
    tabs: int = 1
    seconds: float = 1.0
    warm_s: float = 0.3
    rate: float = 0.0
    stops: Sequence[int] = ()
    paths: Sequence[str] = ()
    in_flight: int = 256
    words: int = 0
    seed: int = 0


class Mark(Struct, frozen=True, kw_only=True):
    """A moment that the client tells of. `waits`: it goes on when it is told to."""

    mark: str
    waits: bool = False


class Told(Struct, frozen=True, kw_only=True):
    """What the client program found; seconds, and for `reconnect` those of each path, in their order."""

    seconds: float = 0.0
    #: Processor time of the client program in that time.
    cpu_s: float = 0.0
    turns: int = 0
    #: Of `fill`: how long it took from each stop to the next.
    stretches: Sequence[float] = ()
    acks: Sequence[float] = ()
    replies: Sequence[float] = ()
    #: Of `paced`: those of the acks for which the machine was as fast as usual.
    quiet_acks: Sequence[float] = ()
    opened: Sequence[float] = ()
    paths: Sequence[Sequence[float]] = ()
    missed: Sequence[int] = ()
    deltas: int = 0
    pieces: int = 0


def session_of(seed: int, number: int) -> str:
    """The id of a session that several programs know of."""
    return f"{seed:08x}-0000-4000-8000-{number:012x}"


def user_of(number: int) -> str:
    """Whose session it is."""
    return f"user-{number}"

"""Settings: one table of environment variables, read in one place into a frozen object.

The fields of `Settings` are the table: name (in capitals, the variable), type, default, bounds, one sentence. A bad
value or a misspelt name stops the start and lists every complaint, so that the operator can mend all of them at
once. An empty value is the same as none.

No I/O here, and `os.environ` is not read: the environment arrives as a mapping.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import urlsplit

from server.assistant.prices import parse_prices
from server.assistant.vendors import EXPECTED as AN_ASSISTANT
from server.assistant.vendors import EXTRAS, RULES, Spec, parse_spec
from server.errors import ConfigError

DAY_MS: Final = 86_400_000
MILLION: Final = 1_000_000
#: How like one of ours an unknown name must be to count as a slip; and how long, for PORTS is no slip of PORT.
NEAR_MISS: Final = 0.85
NEAR_MISS_LENGTH: Final = 6
#: Other names that people know a variable by. Its own comes first, then these in their order.
ALIASES: Final = {
    "SUPABASE_SERVICE_KEY": ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
    "SUPABASE_ANON_KEY": ("SUPABASE_PUBLISHABLE_KEY",),
}
#: Names that are like ours and are not: Supabase itself gives this one out.
FOREIGN: Final = frozenset({"SUPABASE_DB_URL", *(name for names in ALIASES.values() for name in names)})
#: (smaller, larger, whether they may be equal)
IN_ORDER: Final = (
    ("send_queue_soft_bytes", "send_queue_hard_bytes", False),
    ("frame_max_bytes", "socket_max_bytes", True),
    ("heartbeat_ms", "heartbeat_lost_ms", False),
)


@dataclass(frozen=True, slots=True)
class Row:
    """The table's entry of a variable, without its default. `parse` raises ValueError for a text not as `expected`."""

    expected: str
    parse: Callable[[str], Any]
    sentence: str
    mask: Callable[[str], str] = str


def _whole(low: int, high: int, sentence: str, *, clamp: bool = False) -> Row:
    """A whole number from `low` to `high`; with `clamp`, one beyond them counts as the nearer of the two."""

    def parse(text: str) -> int:
        number = int(_match(text, r"-?[0-9]{1,15}"))
        nearest = min(max(number, low), high)
        if number != nearest and not clamp:
            raise ValueError
        return nearest

    beyond = "; what is beyond counts as the nearest" if clamp else ""
    return Row(f"a whole number from {low} to {high}{beyond}", parse, sentence)


def _text(sentence: str) -> Row:
    return Row("a text without blanks", partial(_match, pattern=r"\S+"), sentence)


def _secret(sentence: str, *schemes: str) -> Row:
    """A key that is never shown, or a URL of one of these schemes that is never shown."""
    pattern = f"({'|'.join(schemes)})://\\S+" if schemes else r"\S+"
    expected = "a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes)
    return Row(expected if schemes else "a key without blanks", partial(_match, pattern=pattern), sentence, mask)


def _store(sentence: str) -> Row:
    """The URL of a store, or the word `supabase`."""
    parse = partial(_match, pattern=r"[a-z][a-z0-9+]*:\S+|supabase")
    return Row("a URL like sqlite:///var/rejoinder.db, or supabase", parse, sentence, mask_url)


def _words(sentence: str) -> Row:
    """Any text."""
    return Row("a text", str, sentence)


def _checked(expected: str, check: Callable[[str], object], sentence: str) -> Row:
    """A text that `check` accepts; `check` raises ValueError for any other."""

    def parse(text: str) -> str:
        check(text)
        return text

    return Row(expected, parse, sentence)


def _choice(sentence: str, *choices: str) -> Row:
    """One of a few words, in small or capital letters."""
    words = {choice.lower(): choice for choice in choices}
    return Row("one of " + ", ".join(choices), lambda text: words[_match(text.lower(), "|".join(words))], sentence)


def _flag(sentence: str) -> Row:
    """Yes or no."""
    yes, no = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
    return Row("true or false", lambda text: _match(text.lower(), "|".join(yes + no)) in yes, sentence)


def _url(sentence: str) -> Row:
    """An http(s) address; a slash at its end is dropped."""
    return Row("an http:// or https:// address without user, password, ? or #", _web_address, sentence, mask_url)


def _origins(sentence: str) -> Row:
    """A list of origins, or `*`."""

    def parse(text: str) -> tuple[str, ...]:
        return tuple(origin if origin == "*" else _origin(origin) for origin in re.split(r"\s*,\s*", text))

    return Row("* or origins with commas between them, like https://app.example.com", parse, sentence, mask_url)


def _match(text: str, pattern: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    port_is_fit = parts.port is None or parts.port > 0  # `port` raises ValueError by itself beyond 65535
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fit or re.search(r"[\s@?#*]", text):
        raise ValueError
    return text.rstrip("/")


def _origin(text: str) -> str:
    return _match(_web_address(text.lower()), r"[a-z]+://[^/]+")


def mask(text: str) -> str:
    """The mask of a secret: "***", or "" when it is not set."""
    return "***" if text else ""


def mask_url(text: str) -> str:
    """A URL without its user, password and query."""
    return re.sub(r"\?.*", "?***", re.sub(r"^([a-z+]*://)?.*@", r"\1***@", text))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The table. Values in code are as good as values from the environment: `Settings(port=0)` in a test."""

    host: Annotated[str, _text("The address to listen on; 0.0.0.0 in a container.")] = "127.0.0.1"
    port: Annotated[int, _whole(0, 65535, "The port to listen on; 0 takes a free one.")] = 8000
    public_url: Annotated[str, _url("This server as browsers know it; unset: Railway's domain, else localhost.")] = (
        "http://localhost:8000"
    )
    allowed_origins: Annotated[tuple[str, ...], _origins("The sites whose pages may connect; * is all of them.")] = (
        "*",
    )
    ws_compression: Annotated[bool, _flag("Compress WebSocket messages: less traffic, more memory.")] = False
    store_url: Annotated[
        str, _store("Where conversations are kept; unset: Supabase, else DATABASE_URL, else SQLite.")
    ] = "sqlite:///var/rejoinder.db"
    supabase_url: Annotated[str, _url("The address of the Supabase project.")] = ""
    supabase_service_key: Annotated[
        str, _secret("Its secret key; also as SUPABASE_SECRET_KEY or SUPABASE_SERVICE_ROLE_KEY.")
    ] = ""
    supabase_anon_key: Annotated[str, _secret("Its key for browsers, which the server does not use.")] = ""
    database_url: Annotated[str, _secret("The address of a PostgreSQL database.", "postgresql", "postgres")] = ""
    migrate_on_start: Annotated[bool, _flag("Bring a PostgreSQL database to the server's schema at start.")] = False
    redis_url: Annotated[str, _secret("The address of the Redis between processes.", "redis", "rediss")] = ""
    web_concurrency: Annotated[int, _whole(1, 1_000, "Processes that this server starts.")] = 1
    store_connections: Annotated[int, _whole(1, 1_000, "Connections of one process to PostgreSQL or Redis.")] = 8
    supabase_calls: Annotated[int, _whole(2, 100, "Calls of one process to Supabase at a time.")] = 4
    sqlite_synchronous: Annotated[
        str, _choice("With NORMAL, a power cut can take acknowledged lines.", "FULL", "EXTRA", "NORMAL")
    ] = "FULL"
    store_timeout_ms: Annotated[int, _whole(1, DAY_MS, "How long one call to the store may take.")] = 10_000
    store_retry_ms: Annotated[int, _whole(0, DAY_MS, "The wait before a failed call is tried again.")] = 500

    assistant: Annotated[
        str, _checked(AN_ASSISTANT, parse_spec, "Who answers: the server's own rules, or a model.")
    ] = RULES
    openai_api_key: Annotated[str, _secret("The key for openai and openai-responses.")] = ""
    openai_base_url: Annotated[str, _url("Where those are; unset: OpenAI itself.")] = ""
    anthropic_api_key: Annotated[str, _secret("The key for anthropic.")] = ""
    anthropic_base_url: Annotated[str, _url("Where that is; unset: Anthropic itself.")] = ""
    google_api_key: Annotated[str, _secret("The key for google.")] = ""
    google_base_url: Annotated[str, _url("Where that is; unset: Google itself.")] = ""
    chat_system_prompt: Annotated[str, _words("What a model is told of how to talk; unset: the server's own.")] = ""
    classifier_system_prompt: Annotated[
        str, _words("What a model is told that names the intent of a line; unset: the server's own.")
    ] = ""
    classifier_context_limit: Annotated[int, _whole(0, 200, "Messages that it sees besides.", clamp=True)] = 6
    context_token_budget: Annotated[int, _whole(100, 10 * MILLION, "Tokens (estimated) of a model's window.")] = 16_000
    answer_max_tokens: Annotated[int, _whole(1, MILLION, "Tokens of one answer of a model.")] = 16_000
    assistant_connections: Annotated[int, _whole(1, 100_000, "Calls of one process to a model at a time.")] = 1_000
    assistant_prices: Annotated[
        str,
        _checked(
            "model=input/output in USD a million tokens, with commas between them",
            parse_prices,
            "What models cost, before the server's own list.",
        ),
    ] = ""

    log_level: Annotated[str, _choice("The least that is logged.", "debug", "info", "warning", "error")] = "info"
    log_format: Annotated[str, _choice("auto: console on a terminal, else json.", "auto", "json", "console")] = "auto"

    frame_max_bytes: Annotated[int, _whole(256, 2**26, "The longest frame from a client.")] = 65_536
    text_max_chars: Annotated[int, _whole(1, 2**24, "The longest text of a user's line.")] = 16_000
    socket_max_bytes: Annotated[int, _whole(256, 2**28, "What is read of a message before the socket is cut.")] = (
        4_194_304
    )
    line_rate_per_s: Annotated[int, _whole(1, MILLION, "Lines a second from one connection.")] = 30
    line_burst: Annotated[int, _whole(1, MILLION, "Lines at once from one connection.")] = 60
    frame_rate_per_s: Annotated[int, _whole(1, MILLION, "Frames a second from one connection.")] = 100
    frame_burst: Annotated[int, _whole(1, MILLION, "Frames at once from one connection.")] = 200
    connection_limit: Annotated[int, _whole(1, MILLION, "Connections to this process.")] = 12_000
    connections_per_session_limit: Annotated[int, _whole(1, MILLION, "Connections to one session.")] = 32
    send_queue_soft_bytes: Annotated[int, _whole(1, 2**30, "What may wait before a reader is fed from the store.")] = (
        262_144
    )
    send_queue_hard_bytes: Annotated[int, _whole(2, 2**31, "What may wait before a slow reader is cut.")] = 1_048_576
    send_stall_ms: Annotated[int, _whole(1, DAY_MS, "How long a reader may take nothing before it is cut.")] = 10_000
    heartbeat_ms: Annotated[int, _whole(1, DAY_MS, "The time between two heartbeats.")] = 25_000
    heartbeat_lost_ms: Annotated[int, _whole(2, DAY_MS, "The silence after which a connection is lost.")] = 35_000

    session_max_concurrent: Annotated[int, _whole(1, MILLION, "Sessions that are awake in this process.")] = 10_000
    session_idle_ms: Annotated[int, _whole(0, DAY_MS, "How long a session stays awake with nothing to do.")] = 60_000
    inbox_limit: Annotated[int, _whole(1, 10_000, "Unanswered lines of one session.")] = 20
    batch_limit: Annotated[int, _whole(1, 10_000, "Writes in one transaction.")] = 128
    commit_queue_limit: Annotated[int, _whole(1, MILLION, "Writes that may wait for a transaction.")] = 10_000
    replay_page_limit: Annotated[int, _whole(1, 10_000, "Events that a replay reads at a time.")] = 500
    chat_context_limit: Annotated[int, _whole(1, 200, "Events that a step sees, or messages a model.", clamp=True)] = 20
    delta_ms: Annotated[int, _whole(0, 10_000, "Pieces of a streamed answer that come so close go as one.")] = 40
    delta_max_chars: Annotated[int, _whole(1, MILLION, "A piece of this length goes at once.")] = 256
    step_timeout_ms: Annotated[int, _whole(1, DAY_MS, "How long a step may take.")] = 120_000
    tool_timeout_ms: Annotated[int, _whole(1, DAY_MS, "How long a call of a tool may take, and its closing.")] = 30_000
    tool_input_max_bytes: Annotated[int, _whole(2, 2**26, "The size of what a tool is given.")] = 65_536
    tool_output_max_bytes: Annotated[int, _whole(2, 2**26, "The size of what a tool answers.")] = 262_144
    tool_calls_max: Annotated[int, _whole(0, 1_000, "Calls of tools in one answer.")] = 20
    trace_entry_chars: Annotated[
        int, _whole(0, 10_000, "How much of a tool's input, and of its output, stands in the trace.")
    ] = 200
    turn_max_frames: Annotated[int, _whole(1, 10_000, "Frames in one answer.")] = 100
    turn_max_bytes: Annotated[int, _whole(256, 2**28, "The size of one answer.")] = 1_048_576
    status_after_ms: Annotated[int, _whole(0, DAY_MS, "How long a step may be silent before a status is shown.")] = 400
    takeover_ms: Annotated[int, _whole(0, DAY_MS, "How long another process's line may lie unanswered.")] = 5_000
    sweep_ms: Annotated[int, _whole(1, DAY_MS, "The time between two searches for unanswered lines.")] = 2_000
    sweep_limit: Annotated[int, _whole(1, 100_000, "Sessions that one such search may wake.")] = 1_000
    head_check_ms: Annotated[int, _whole(1, DAY_MS, "The time between two searches for news that were lost.")] = 10_000
    head_poll_ms: Annotated[int, _whole(1, DAY_MS, "The same while there is no Redis between the processes.")] = 1_000
    heads_limit: Annotated[int, _whole(1, 10_000, "Sessions that one such search asks for at a time.")] = 1_000
    broker_queue_limit: Annotated[int, _whole(1, MILLION, "News that may wait for Redis; more are not sent.")] = 10_000
    broker_timeout_ms: Annotated[int, _whole(1, DAY_MS, "How long one call to Redis may take.")] = 2_000
    hint_max_bytes: Annotated[int, _whole(64, 2**20, "News longer than this go as a mere number.")] = 8_192
    drain_ms: Annotated[int, _whole(0, DAY_MS, "How long running turns may take when the server stops.")] = 10_000
    builder_frame_gap_ms: Annotated[int, _whole(0, 60_000, "The pause between frames for the builder page.")] = 100
    builder_replay_gap_ms: Annotated[int, _whole(0, 60_000, "The same for replayed frames.")] = 10

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings from an environment. Raises ConfigError with every complaint about it."""
        complaints = dict(_near_misses(environ))
        values: dict[str, Any] = {}
        for variable, row in ROWS.items():
            name, text = _given(environ, variable)
            try:
                values |= {variable.lower(): row.parse(text)} if text else {}
            except ValueError:
                complaints[variable] = f"{name}={row.mask(text)}: expected {row.expected}"
        complaints |= dict(_disagreements(values, complaints.keys()))
        if complaints:
            raise ConfigError(list(complaints.values()))
        domain = environ.get("RAILWAY_PUBLIC_DOMAIN", "").strip()
        return cls(**{"public_url": _public_url(domain, values), "store_url": _store_url(values), **values})

    def describe(self) -> list[str]:
        """`VARIABLE=value` for each variable, for a log: secrets are masked."""
        return [f"{variable}={row.mask(_shown(getattr(self, variable.lower())))}" for variable, row in ROWS.items()]

    @property
    def spec(self) -> Spec | None:
        """The model that answers; None: the rules do."""
        return parse_spec(self.assistant)

    def vendor(self, name: str) -> tuple[str, str]:
        """The key and the address ("": its own) of a vendor."""
        stem = EXTRAS[name]
        return getattr(self, f"{stem}_api_key"), getattr(self, f"{stem}_base_url")

    def __repr__(self) -> str:
        return f"Settings({', '.join(self.describe())})"


ROWS: Final[dict[str, Row]] = {
    name.upper(): hint.__metadata__[0] for name, hint in get_type_hints(Settings, include_extras=True).items()
}


def example() -> str:
    """The text of `.env.example`."""
    entries = [
        f"# {row.sentence} Expected: {row.expected}.\n#{line}\n"
        for row, line in zip(ROWS.values(), Settings().describe(), strict=True)
    ]
    opening = (
        "# Every variable that the server reads, with its default. None is required; an empty one counts as unset.\n"
    )
    return "\n".join([opening, *entries])


def _given(environ: Mapping[str, str], variable: str) -> tuple[str, str]:
    """The name under which a variable is set, and its text; its own name and no text when it is not set."""
    for name in (variable, *ALIASES.get(variable, ())):
        if text := environ.get(name, "").strip():
            return name, text
    return variable, ""


def _public_url(domain: str, values: Mapping[str, Any]) -> str:
    return f"https://{domain}" if domain else f"http://localhost:{values.get('port', Settings().port)}"


def _store_url(values: Mapping[str, Any]) -> str:
    """Where conversations go when STORE_URL does not say it."""
    if values.get("supabase_url") and values.get("supabase_service_key"):
        return "supabase"
    return str(values.get("database_url") or Settings().store_url)


def _near_misses(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A complaint for every variable that the server does not read and that looks like one of ours."""
    ours = [variable for variable in ROWS if len(variable) >= NEAR_MISS_LENGTH]
    for name in sorted(environ.keys() - ROWS.keys() - FOREIGN):
        for meant in get_close_matches(name.upper(), ours, n=1, cutoff=NEAR_MISS):
            yield name, f"{name}={ROWS[meant].mask(environ[name])}: unknown; expected {meant}, if that is what it means"


def _disagreements(values: Mapping[str, Any], refused: Set[str]) -> Iterator[tuple[str, str]]:
    """Complaints about values that are fit alone but not together, each under the variable to mend."""
    settings = Settings(**values)
    for small, large, equal in IN_ORDER:
        low, high = getattr(settings, small), getattr(settings, large)
        if (low > high or (low == high and not equal)) and not refused & {small.upper(), large.upper()}:
            relation = "at most" if equal else "less than"
            yield small.upper(), f"{small.upper()}={low}: expected {relation} {large.upper()}, which is {high}"
    yield from _about_supabase(settings, values, refused)
    yield from _about_the_model(settings, refused)
    store_url = values.get("store_url") or _store_url(values)
    if (
        settings.migrate_on_start
        and store_url == "supabase"
        and not settings.database_url
        and "DATABASE_URL" not in refused
    ):
        reason = "as MIGRATE_ON_START is true, and Supabase's Data API cannot change a schema"
        yield "DATABASE_URL", f"DATABASE_URL=: expected a value, {reason}"


def _about_supabase(settings: Settings, values: Mapping[str, Any], refused: Set[str]) -> Iterator[tuple[str, str]]:
    pair = {"SUPABASE_URL": settings.supabase_url, "SUPABASE_SERVICE_KEY": settings.supabase_service_key}
    unset = [variable for variable, value in pair.items() if not value]
    if values.get("store_url") == "supabase":
        reason = "as STORE_URL is supabase"
    elif len(unset) == 1 and "store_url" not in values:
        # One of the two alone would quietly keep conversations in a file.
        reason = f"as {' and '.join(pair)} go together; or set STORE_URL"
    else:
        unset = []
    for variable in unset:
        if variable not in refused:
            yield variable, f"{variable}=: expected a value, {reason}"
    if settings.supabase_anon_key and settings.supabase_anon_key == settings.supabase_service_key:
        reason = "expected the secret key; this one is SUPABASE_ANON_KEY, too, which is for browsers"
        yield "SUPABASE_SERVICE_KEY", f"SUPABASE_SERVICE_KEY=***: {reason}"


def _about_the_model(settings: Settings, refused: Set[str]) -> Iterator[tuple[str, str]]:
    if (spec := settings.spec) is None:
        return
    variable, (key, address) = f"{EXTRAS[spec.vendor].upper()}_API_KEY", settings.vendor(spec.vendor)
    # A server of one's own, which speaks as OpenAI does, may want no key.
    if not key and not (address and spec.vendor.startswith("openai")) and variable not in refused:
        yield variable, f"{variable}=: expected a value, as ASSISTANT is {spec}"


def _shown(value: Any) -> str:
    """A value as one would write it in the environment."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case _:
            return str(value)

"""Which assistant is meant (`rules`, `openai:gpt-5-mini`), and opening it.

pydantic-ai and the vendors' packages are imported only when a model is opened: without one, the server needs none.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from server.errors import ConfigError

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.models import Model

    from server.assistant.model import LanguageModel

RULES: Final = "rules"
#: What stands before the colon, and the extra of pydantic-ai-slim that it needs. `openai` is the chat completions
#: interface, which nearly every other vendor and local server has too; `openai-responses` is OpenAI's newer one.
EXTRAS: Final = {"openai": "openai", "openai-responses": "openai", "anthropic": "anthropic", "google": "google"}
EXPECTED: Final = f"{RULES}, or {', '.join(f'{vendor}:…' for vendor in EXTRAS)} with the name of a model"
#: To open a connection; the rest of a call has the call's own deadline.
_CONNECT_S: Final = 5.0
#: The SDKs need some limit of their own. Ours comes first: it is the call's deadline.
_SILENCE_S: Final = 600.0
#: What the SDKs send when a local server wants no key; they refuse an empty one.
_NO_KEY: Final = "none"


@dataclass(frozen=True, slots=True)
class Spec:
    """A model and who has it."""

    vendor: str
    model: str

    def __str__(self) -> str:
        return f"{self.vendor}:{self.model}"


def parse_spec(text: str) -> Spec | None:
    """The model that `vendor:model` means, None for `rules`. Raises ValueError for anything else.

    Only the first colon divides: `openai:llama3.2:3b` is the model `llama3.2:3b`.
    """
    vendor, _, model = text.partition(":")
    if text == RULES:
        return None
    if vendor not in EXTRAS or not model or any(c.isspace() for c in model):
        raise ValueError(f"expected {EXPECTED}")
    return Spec(vendor, model)


def open_model(spec: Spec, *, api_key: str, base_url: str = "", connection_limit: int = 1_000) -> "LanguageModel":
    """Open a language model; nothing is sent yet.

    `base_url` "" is the vendor's own address. `connection_limit` bounds the calls at one time; the next ones wait, in
    their deadlines. Raises ConfigError when a package or the key is missing, in one sentence. The packages take one to
    three seconds to import: open it at start.
    """
    if not api_key and not (base_url and spec.vendor.startswith("openai")):
        raise ConfigError([f"{spec}: there is no key for {EXTRAS[spec.vendor]}"])
    try:
        import httpx2
        from pydantic_ai.models import create_async_httpx2_client

        from server.assistant.model import LanguageModel, note_response

        http = create_async_httpx2_client(
            timeout=httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S),
            limits=httpx2.Limits(max_connections=connection_limit, max_keepalive_connections=100),
        )
        http.event_hooks["response"].append(note_response)
        model = _model(spec, api_key or _NO_KEY, base_url or None, http)
    except ImportError as error:
        extra = EXTRAS[spec.vendor]
        raise ConfigError([f'{spec} needs more packages: pip install "pydantic-ai-slim[{extra}]>=2.68"']) from error
    return LanguageModel(model, close=http.aclose)


def _model(spec: Spec, api_key: str, base_url: str | None, http: "httpx2.AsyncClient") -> "Model":
    match spec.vendor:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            anthropic = AnthropicProvider(api_key=api_key, base_url=base_url, http_client=http)
            return AnthropicModel(spec.model, provider=anthropic)
        case "google":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            google = GoogleProvider(api_key=api_key, base_url=base_url, http_client=http)
            return GoogleModel(spec.model, provider=google)
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    # Another address is another vendor: it gets none of the parameters that only OpenAI itself knows.
    openai = (
        OpenAICompatibleProvider("openai-compatible", base_url=base_url, api_key=api_key, http_client=http)
        if base_url
        else OpenAIProvider(api_key=api_key, http_client=http)
    )
    if spec.vendor == "openai-responses":
        return OpenAIResponsesModel(spec.model, provider=openai)
    # Else pydantic-ai takes an answer that stops in the middle for a whole one.
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    return OpenAIChatModel(spec.model, provider=openai, profile=profile)

"""Choosing and opening an assistant; and that nothing of it is needed by a server on rules."""

import subprocess
import sys
from pathlib import Path

import pytest

from server.assistant.vendors import EXTRAS, Spec, open_model, parse_spec
from server.errors import ConfigError
from tests.assistant.calls import call
from tests.vendors import Vendors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("rules", None),
        ("openai:gpt-5-mini", Spec("openai", "gpt-5-mini")),
        ("openai:llama3.2:3b", Spec("openai", "llama3.2:3b")),
        ("openai:org/model@x", Spec("openai", "org/model@x")),
        ("openai-responses:gpt-5", Spec("openai-responses", "gpt-5")),
        ("anthropic:claude-haiku-4-5", Spec("anthropic", "claude-haiku-4-5")),
        ("google:gemini-2.5-flash", Spec("google", "gemini-2.5-flash")),
    ],
)
def test_a_spec_is_read(text: str, spec: Spec | None) -> None:
    assert parse_spec(text) == spec
    assert spec is None or str(spec) == text


@pytest.mark.parametrize(
    "text", ["", "Rules", "rules:x", "openai", "openai:", "mistral:x", ":x", "openai:a b", "gpt-5"]
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="expected rules, or openai:…, openai-responses:…, anthropic:…, google:… with"):
        parse_spec(text)


@pytest.mark.parametrize("vendor", EXTRAS)
def test_a_key_is_needed(vendor: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(Spec(vendor, "m"), api_key="")
    assert caught.value.complaints == [f"{vendor}:m: there is no key for {EXTRAS[vendor]}"]


async def test_a_local_server_needs_no_key(vendors: Vendors) -> None:
    model = open_model(Spec("openai", "m"), api_key="", base_url=vendors.url("openai"))
    assert (await call(model, "Hello?")).error is None
    assert vendors.calls[0].headers["authorization"] == "Bearer none"
    await model.aclose()


async def test_another_address_gets_no_parameters_of_openais_own(vendors: Vendors) -> None:
    model = open_model(Spec("openai", "gpt-5-mini"), api_key="k", base_url=vendors.url("openai"))
    await call(model, "Hello?")
    assert vendors.calls[0].body.keys() == {
        "messages", "model", "stream", "stream_options", "max_completion_tokens"
    }  # fmt: skip
    await model.aclose()


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("vendor", EXTRAS)
@pytest.mark.parametrize("missing", ["pydantic_ai", "httpx2", "the vendor's"])
def test_a_missing_package_is_one_sentence(vendor: str, missing: str) -> None:
    package = {"google": "google.genai"}.get(EXTRAS[vendor], EXTRAS[vendor]) if missing[:3] == "the" else missing
    code = f"""
import sys
sys.modules[{package!r}] = None
from server.assistant.vendors import Spec, open_model
from server.errors import ConfigError
try:
    open_model(Spec({vendor!r}, "m"), api_key="k")
except ConfigError as error:
    print(error)
"""
    done = run(code)
    assert done.stdout == f'{vendor}:m needs more packages: pip install "pydantic-ai-slim[{EXTRAS[vendor]}]>=2.68"\n'


def test_nothing_but_opening_a_model_needs_the_packages() -> None:
    code = """
import sys
for name in ("pydantic_ai", "httpx2", "openai", "anthropic", "google.genai"):
    sys.modules[name] = None
import server.assistant.classifier, server.assistant.guarded, server.assistant.objects, server.assistant.prices
import server.assistant.summary, server.assistant.vendors, server.assistant.window
print(server.assistant.vendors.parse_spec("rules"))
"""
    assert run(code).stdout == "None\n"

"""What a request says, in one form for all vendors."""

from typing import Any


def said(vendor: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """The request's messages as (role, text), the system prompt first."""
    if vendor == "google":
        system = [("system", part["text"]) for part in body.get("systemInstruction", {}).get("parts", [])]
        roles = {"user": "user", "model": "assistant"}
        return system + [(roles[turn["role"]], turn["parts"][0]["text"]) for turn in body["contents"]]
    system = [("system", _words(value)) for name in ("system", "instructions") if (value := body.get(name))]
    turns = body.get("messages") or body["input"]
    return system + [(turn["role"], _words(turn["content"])) for turn in turns]


def _words(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)

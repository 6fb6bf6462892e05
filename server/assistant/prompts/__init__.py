"""The prompts, each in a file of its own, so that they can be read, changed and compared as the texts that they are.

`{{name}}` is a place for `quotes.fill`. No place is for what a person wrote: that is a message of its own.
"""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()


#: How to talk, where a workflow has nothing special to say (`CHAT_SYSTEM_PROMPT` replaces it).
CHAT: Final = _read("chat")
#: Which intent a line has (`CLASSIFIER_SYSTEM_PROMPT` replaces it; the intents stand below either).
CLASSIFIER: Final = _read("classifier")
#: Shortening the older part of a conversation.
SUMMARY: Final = _read("summary")
#: What a model is told whose object did not fit: {{problem}}.
REPAIR: Final = _read("repair")
#: The builder's tasks, one each.
QUESTIONS: Final = _read("questions")
PLAN: Final = _read("plan")
SLIDES: Final = _read("slides")
REFINE: Final = _read("refine")
ANSWER: Final = _read("answer")

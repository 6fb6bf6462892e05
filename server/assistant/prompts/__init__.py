"""The prompts of every workflow, each in a file of its own, so that they can be read, changed and compared as texts.

`{{name}}` is a place for `quotes.fill`. No place is for what a person wrote: that is a message of its own.
"""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent


def read_prompt(folder: Path, name: str) -> str:
    """The text of `name`.md in the folder of a package of prompts. Raises OSError when there is no such file."""
    return (folder / f"{name}.md").read_text(encoding="utf-8").strip()


#: How to talk, where a workflow has nothing special to say (`CHAT_SYSTEM_PROMPT` replaces it).
CHAT: Final = read_prompt(_FOLDER, "chat")
#: Which intent a line has (`CLASSIFIER_SYSTEM_PROMPT` replaces it; the intents stand below either).
CLASSIFIER: Final = read_prompt(_FOLDER, "classifier")
#: Shortening the older part of a conversation.
SUMMARY: Final = read_prompt(_FOLDER, "summary")
#: What a model is told whose object did not fit: {{problem}}.
REPAIR: Final = read_prompt(_FOLDER, "repair")

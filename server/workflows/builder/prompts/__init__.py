"""The builder's prompts, one a task, each in a file of its own."""

from pathlib import Path
from typing import Final

from server.assistant.prompts import read_prompt

_FOLDER: Final = Path(__file__).parent

#: What to ask about a topic.
QUESTIONS: Final = read_prompt(_FOLDER, "questions")
#: A plan of all that was said.
PLAN: Final = read_prompt(_FOLDER, "plan")
#: The slides of a plan.
SLIDES: Final = read_prompt(_FOLDER, "slides")
#: The slides after a person's wish.
REFINE: Final = read_prompt(_FOLDER, "refine")
#: An answer to a line that changes nothing.
ANSWER: Final = read_prompt(_FOLDER, "answer")

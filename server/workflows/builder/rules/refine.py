"""Refinement: changing in a presentation what a person wants changed, and just that."""

import re
from dataclasses import dataclass
from typing import Final

from server.workflows.builder.rules.brief import MAX_READ_CHARS
from server.workflows.builder.rules.consent import read_consent
from server.workflows.builder.rules.phrases import fulfil
from server.workflows.builder.rules.slides import Strawman, arrange
from server.workflows.builder.rules.wording import clean, has_words, strip_courtesy, tidy

_MAX_PARTS: Final = 12
_MAX_PART_CHARS: Final = 400

_VERB: Final = (
    r"(?:add|remove|delete|drop|swap|switch|move|change|rename|make|insert|include|replace|put|call|shorten|expand|set|"
    r"cut|mention|exchange|skip|turn|give|leave out)"
)
_QUOTED: Final = re.compile(r"\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”|«[^»\n]{1,300}»")
_SPLIT: Final = re.compile(
    rf"[;\n]+|[.!?]\s+|,\s*(?:(?:and|then|also|but)\s+)*"
    rf"(?={_VERB}\b|(?:more|less|much|a bit)\s+\w|shorter|longer|simpler|for\s|\d{{1,3}}\s+(?:slides|min))"
    rf"|\s+(?:and|then|but|plus)(?:\s+(?:then|also))?\s+"
    rf"(?={_VERB}\s+(?:the|a|an|slides?|it|this|title|all|more|another|one|two|some|\d|\x00)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Refined:
    """A presentation after a wish.

    `done` says what changed, `problems` what could not be done, `missed` what was not understood. `affected` are the
    ids of the slides that differ, or None when slides came, went or moved.
    """

    strawman: Strawman
    done: tuple[str, ...]
    problems: tuple[str, ...]
    missed: tuple[str, ...]
    affected: tuple[str, ...] | None


def refine(strawman: Strawman, words: str) -> Refined:
    """Make the changes that `words` asks for; slide numbers are those that the person sees now."""
    current = strawman
    done: list[str] = []
    problems: list[str] = []
    missed: list[str] = []
    parts = split_wishes(words)
    for part in parts[:_MAX_PARTS]:
        edited = fulfil(current, strawman, part)
        if edited is None:
            missed.append(tidy(part, 80))
            continue
        current = edited.strawman
        done += [edited.note] if edited.note else []
        problems += [edited.problem] if edited.problem else []
    if len(parts) > _MAX_PARTS:
        problems.append(f"that was a lot at once, so I stopped after {_MAX_PARTS} changes")
    current = arrange(current) if done else strawman
    return Refined(
        current, tuple(done), tuple(dict.fromkeys(problems)), tuple(missed), _find_affected(strawman, current)
    )


def split_wishes(words: str) -> list[str]:
    """The single wishes in a text. Quoted text is never split."""
    quoted: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quoted.append(match[0])
        # A control character marks the place: `clean` has taken all others out.
        return f"\x00{len(quoted) - 1}\x00"

    text = _QUOTED.sub(hide, clean(words, MAX_READ_CHARS))
    parts = [re.sub(r"\x00(\d+)\x00", lambda match: quoted[int(match[1])], part) for part in _SPLIT.split(text)]
    parts = [strip_courtesy(part) for part in parts]
    return [part[:_MAX_PART_CHARS] for part in parts if has_words(part) and read_consent(part) is None]


def _find_affected(before: Strawman, after: Strawman) -> tuple[str, ...] | None:
    if [slide.slide_id for slide in before.slides] != [slide.slide_id for slide in after.slides]:
        return None
    return tuple(new.slide_id for old, new in zip(before.slides, after.slides, strict=True) if old != new)

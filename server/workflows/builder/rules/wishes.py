"""Wishes: one thing that a person wants changed in their slides, turned into an edit."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.workflows.builder.rules import edits
from server.workflows.builder.rules.amounts import NUMBER, number_of
from server.workflows.builder.rules.brief import read_details
from server.workflows.builder.rules.edits import Edited
from server.workflows.builder.rules.references import find_slides, names_slide
from server.workflows.builder.rules.slides import Strawman
from server.workflows.builder.rules.wording import count_of, has_words, tidy


@dataclass(frozen=True, slots=True)
class Wish:
    """A matched wish: the presentation as it is `now`, as the person has `seen` it, and the words."""

    now: Strawman
    seen: Strawman
    match: re.Match[str]

    def word(self, name: str) -> str:
        """What a group of the pattern matched, without quotes; "" if it did not."""
        return (self.match.groupdict().get(name) or "").strip(" .,\"'“”‘’«»")


class RefusedWish(Exception):
    """A wish is understood but cannot be granted; carries the reason for the person."""


Places = tuple[int, ...]
Grant = Callable[[Wish], Edited | None]


def compile_phrase(text: str) -> re.Pattern[str]:
    """A pattern for a phrase: any case, line breaks are spaces."""
    return re.compile(text, re.IGNORECASE | re.DOTALL)


FIGURES: Final = r"(?P<what>charts?|graphs?|diagrams?|pictures?|images?|photos?|photographs?|illustrations?|visuals?)"
_FIGURE: Final = compile_phrase(rf"(?:(?:an?|the|some|more|another)\s+)?{FIGURES}")
_SLIDE_ON: Final = compile_phrase(
    r"^(?:(?:an?|one|another|the|some|more|new|extra|short|further|separate|my)\s+)*(?:slides?|sections?|pages?|"
    r"parts?|bits?|"
    r"something|more|information|info|points?)\s+(?:on|about|for|with|covering|regarding|of|called|titled|explaining|"
    r"showing|that (?:shows|explains))\s+"
)
_ARTICLE: Final = compile_phrase(r"^(?:(?:an?|another|one|some|new)\s+)+(?=\S)")
_SOME_SLIDES: Final = compile_phrase(
    rf"(?:(?P<one>another|one more|a|an)(?:\s+new)?\s+slide|(?:(?P<number>{NUMBER})|some|a few)\s+(?:more\s+|new\s+|"
    r"extra\s+)*slides?|"
    r"more\s+slides)"
)


def _find_places(wish: Wish, phrase: str) -> Places:
    """The places, now, of the slides that a phrase names; none if it names none. Raises RefusedWish for missing "
    "ones."""
    reference = find_slides(phrase, wish.seen.slides)
    if reference.beyond:
        have = count_of(len(wish.seen.slides), "slide")
        raise RefusedWish(f"there is no slide {reference.beyond[0]}: the presentation has {have}")
    ids = [slide.slide_id for slide in wish.now.slides]
    wanted = [wish.seen.slides[place] for place in reference.places]
    gone = [slide for slide in wanted if slide.slide_id not in ids]
    if gone:
        raise RefusedWish(f"{edits.name_slide(gone[0])} was removed just before")
    return tuple(ids.index(slide.slide_id) for slide in wanted)


def _need_places(wish: Wish, phrase: str) -> Places:
    places = _find_places(wish, phrase)
    if not places:
        raise RefusedWish(f"I could not find a slide for “{tidy(phrase, 60)}”")
    return places


def retitle(wish: Wish) -> Edited | None:
    """Give a slide, or the presentation, a title."""
    which, title = wish.word("which"), wish.word("title")
    if not has_words(title):
        return None
    places = _need_places(wish, which) if which else ()
    return edits.set_title(wish.now, places, title)


def rewrite(wish: Wish) -> Edited | None:
    """Make slides be about something else; None if no slide or only a tone is named."""
    subject = _SLIDE_ON.sub("", wish.word("subject"))
    places = _find_places(wish, wish.word("which"))
    if not places or not has_words(subject) or _is_style(subject):
        return None
    return edits.set_subject(wish.now, places, subject)


def remove(wish: Wish) -> Edited | None:
    """Take out slides, by what they are or by how many."""
    which = wish.word("which")
    number = re.fullmatch(rf"({NUMBER})(?:\s+(?:more|of the))?\s+slides?", which, re.IGNORECASE)
    if number:
        return edits.resize(wish.now, len(wish.now.slides) - int(number_of(number[1])))
    return edits.remove(wish.now, _need_places(wish, which))


def remove_named(wish: Wish) -> Edited | None:
    """ "no agenda", "without slide 2": only what clearly is a slide."""
    return remove(wish) if names_slide(wish.word("which")) else None


def remove_point(wish: Wish) -> Edited:
    """Take a key point out of a slide."""
    nth = wish.word("nth").lower() or wish.word("number") or "last"
    number = (
        -1 if nth == "last" else int({"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}.get(nth, nth)) - 1
    )
    return edits.remove_point(wish.now, _need_places(wish, wish.word("which")), number)


def hide(wish: Wish) -> Edited:
    """Take a picture, chart or diagram off a slide."""
    return edits.hide(wish.now, _need_places(wish, wish.word("which")), wish.word("what"))


def add(wish: Wish) -> Edited | None:
    """Add a slide, or several; None if what to add is no subject."""
    what = re.sub(r"\s+to (?:it|the (?:deck|presentation|slides))$", "", wish.word("what"), flags=re.IGNORECASE)
    anchor, edge = wish.word("anchor"), wish.word("edge").lower()
    some = _SOME_SLIDES.fullmatch(what)
    if some:
        number = int(number_of(some["number"])) if some["number"] else 1 if some["one"] else 2
        return edits.resize(wish.now, len(wish.now.slides) + number)
    subject = _ARTICLE.sub("", re.sub(r"\s+slide$", "", _SLIDE_ON.sub("", what), flags=re.IGNORECASE), count=1)
    if not has_words(subject) or _is_style(subject) or names_slide(subject):
        return None
    if anchor:
        place = _need_places(wish, anchor)[0] + (wish.word("where").lower() != "before")
    elif wish.word("as"):
        place = int(wish.word("as")) - 1
    else:
        return edits.add(wish.now, subject, {"": None, "end": len(wish.now.slides)}.get(edge, 1))
    return edits.add(wish.now, subject, place)


def swap(wish: Wish) -> Edited | None:
    """Let two slides change places; None if two are not named."""
    places = _find_places(wish, wish.word("which"))
    if len(places) != 2:
        first, _, second = re.sub(r"\s+(?:and|with|for)\s+", "\0", wish.word("which"), count=1).partition("\0")
        places = (*_need_places(wish, first)[:1], *_need_places(wish, second)[:1]) if second else ()
    return edits.swap(wish.now, *places) if len(set(places)) == 2 else None


def move(wish: Wish) -> Edited | None:
    """Move a slide to an end, to a number, or next to another slide."""
    place = _need_places(wish, wish.word("which"))[0]
    if wish.word("edge"):
        is_front = wish.word("edge").lower() in ("front", "start", "beginning", "top", "first")
        return edits.move(wish.now, place, 0 if is_front else len(wish.now.slides) - 1)
    if wish.word("to"):
        return edits.move(wish.now, place, _need_places(wish, f"slide {wish.word('to')}")[0])
    anchor = wish.word("anchor")
    target = _need_places(wish, f"slide {anchor}" if anchor.isdigit() else anchor)[0]
    # Taking the slide out shifts what stands behind it by one.
    return edits.move(wish.now, place, target + (wish.word("where").lower() != "before") - (place < target))


def detail(wish: Wish) -> Edited | None:
    """Put more or less on slides; on all that have content if none is named."""
    which = wish.word("which")
    everywhere = not which or re.fullmatch(
        r"(?:all|every|each|the)?\s*(?:slides?|deck|presentation|everything)", which, re.IGNORECASE
    )
    places = edits.content_places(wish.now) if everywhere else _need_places(wish, which)
    more = re.search(r"less|fewer|simpl|short|trim|condense|brief", wish.word("way"), re.IGNORECASE) is None
    return edits.detail(wish.now, places, more=more)


def add_point(wish: Wish) -> Edited | None:
    """Add a key point or a picture to a slide; None if none is named."""
    point = wish.word("point")
    if not has_words(point) or not names_slide(wish.word("which")):
        return None
    places = _need_places(wish, wish.word("which"))
    shown = _FIGURE.fullmatch(point)
    return edits.show(wish.now, places, shown["what"]) if shown else edits.add_point(wish.now, places, point)


def show_everywhere(wish: Wish) -> Edited:
    """Ask for pictures, charts or diagrams on all slides that have content."""
    return edits.show(wish.now, edits.content_places(wish.now), wish.word("what"))


def scale(factor: float) -> Grant:
    """A grant that makes the presentation shorter or longer by a factor."""

    def grant(wish: Wish) -> Edited:
        a_little = re.search(r"\b(?:a bit|a little|slightly)\b", wish.match[0], re.IGNORECASE)
        return edits.scale(wish.now, (1 + factor) / 2 if a_little else factor)

    return grant


def resize(wish: Wish) -> Edited:
    """Make it a certain number of slides."""
    return edits.resize(wish.now, int(number_of(wish.word("number"))))


def _is_style(subject: str) -> bool:
    """Whether words only ask for a tone ("more formal"): that is no subject."""
    details = read_details(subject)
    return bool(details.tone) and not details.rest and not details.focus

"""Phrases: how people word a wish about their slides, and the function of `wishes` that grants it."""

import re
from typing import Final

from server.workflows.builder.rules import edits
from server.workflows.builder.rules.amounts import NUMBER
from server.workflows.builder.rules.brief import read_details
from server.workflows.builder.rules.edits import Edited
from server.workflows.builder.rules.references import names_slide
from server.workflows.builder.rules.slides import Strawman
from server.workflows.builder.rules.wishes import (
    FIGURES,
    Grant,
    RefusedWish,
    Wish,
    add,
    add_point,
    compile_phrase,
    detail,
    hide,
    move,
    remove,
    remove_named,
    remove_point,
    resize,
    retitle,
    rewrite,
    scale,
    show_everywhere,
    swap,
)


def fulfil(now: Strawman, seen: Strawman, part: str) -> Edited | None:
    """Grant one wish; None when it is not understood. Slide numbers count as in `seen`."""
    for pattern, grant in _GRANTS:
        match = pattern.match(part)
        if match is None:
            continue
        try:
            edited = grant(Wish(now, seen, match))
        except RefusedWish as refusal:
            return Edited(now, problem=str(refusal))
        if edited is not None:
            return edited
    details = read_details(part)
    if names_slide(part):
        tone = f"say “more {details.tone}” without a slide number to change all of them"
        return Edited(now, problem=f"I set the tone for all slides together; {tone}") if details.tone else None
    if not details.said():
        return None
    edited = edits.restyle(now, part)
    return edited if edited.note or edited.problem else None


_SLIDE: Final = (
    r"(?:(?:the\s+)?(?:slides?|pages?)\s+[^,]{1,30}?|(?:the\s+)?[\w&]{1,12}\s+(?:slide|page)|(?:the\s+)?agenda)"
)
_DECK: Final = r"(?:it|this|the\s+(?:presentation|deck|whole thing|slides))"
_BE: Final = r"(?:to|into|as|be|should be|must be|shall be|:|=)"
_ADD_VERB: Final = r"(?:add|insert|include|append|put in|create|i need|we need|i want|need|there should be|have)"
_AT: Final = (
    r"(?:\s+(?:(?:right\s+)?(?P<where>after|before|behind|following)\s+(?P<anchor>(?:the\s+)?.{1,80}?)|(?:at|to|"
    r"near)\s+the\s+"
    r"(?:very\s+)?(?P<edge>end|beginning|start|front)(?:\s+of\s+.{1,30})?|as\s+slide\s+#?(?P<as>\d{1,3})))?$"
)
_EDGE: Final = r"(?P<edge>front|start|beginning|top|first|end|back|bottom|last)"

#: The first pattern that matches and whose function knows what to do grants the wish; narrow ones come first.
_GRANTS: Final[list[tuple[re.Pattern[str], Grant]]] = [
    (
        compile_phrase(
            r"(?:change|rename|set|update|edit|make)\s+(?:the\s+)?(?:title|heading|headline|name)\s+(?:of|on|"
            rf"for)\s+{_DECK}\s+{_BE}\s*(?P<title>.+)$"
        ),
        retitle,
    ),
    (
        compile_phrase(
            r"(?:change|rename|set|update|edit|make)\s+(?:the\s+)?(?:title|heading|headline|name)\s+(?:of|on|"
            rf"for)\s+(?P<which>.{{1,80}}?)\s+{_BE}\s*(?P<title>.+)$"
        ),
        retitle,
    ),
    (
        compile_phrase(
            r"(?:(?:change|set|make|update)\s+)?(?:the\s+)?(?:(?:main|presentation|deck|overall)"
            rf"\s+)?title\s*{_BE}\s*(?P<title>.+)$"
        ),
        retitle,
    ),
    (compile_phrase(rf"(?:rename|retitle|call|title|name)\s+{_DECK}\s+(?:{_BE}\s+)?(?P<title>.+)$"), retitle),
    (
        compile_phrase(
            rf"(?:(?:change|set|make|update)\s+)?(?P<which>{_SLIDE})(?:(?:'|’)s)?\s+(?:title|heading|"
            rf"headline)\s*{_BE}\s*(?P<title>.+)$"
        ),
        retitle,
    ),
    (compile_phrase(rf"(?:rename|retitle|call|title|name)\s+(?P<which>.{{1,80}}?)\s+{_BE}\s*(?P<title>.+)$"), retitle),
    (compile_phrase(r"(?:call|title|name)\s+(?P<which>(?:the\s+)?slide\s+\w{1,8})\s+(?P<title>.+)$"), retitle),
    (
        compile_phrase(
            r"(?:remove|delete|drop|cut)\s+(?:the\s+)?(?:(?P<nth>last|first|second|third|fourth|fifth|"
            r"\d)(?:st|nd|rd|th)?\s+)?(?:key\s+|bullet\s+)?(?:point|bullet|line)s?\s*(?P<number>\d)?"
            r"\s+(?:from|on|of|in)\s+(?P<which>.{1,80})$"
        ),
        remove_point,
    ),
    (
        compile_phrase(
            rf"(?:remove|delete|drop|cut)\s+(?:the\s+)?{FIGURES}\s+(?:from|on|of|in)\s+(?P<which>.{{1,80}})$"
        ),
        hide,
    ),
    (
        compile_phrase(
            r"(?:(?:add|give|put|show|need|with)\s+)?(?:some\s+|a bit\s+|a little\s+|much\s+)?(?P<way>more|"
            r"less|fewer|further)\s+(?:details?|depth|information|info|examples?|content|text|points?|"
            r"facts)(?:\s+(?:on|to|in|for|about|of)\s+(?P<which>.{1,80}))?$"
        ),
        detail,
    ),
    (
        compile_phrase(
            r"(?P<way>expand|elaborate|enrich|deepen|simplify|shorten|trim|condense)\s+(?:on"
            rf"\s+)?(?P<which>{_SLIDE})$"
        ),
        detail,
    ),
    (
        compile_phrase(
            rf"make\s+(?P<which>{_SLIDE})\s+(?:a bit\s+|much\s+|a little\s+)?(?P<way>shorter|simpler|longer|"
            r"more detailed|less detailed|richer|briefer|deeper)$"
        ),
        detail,
    ),
    (
        compile_phrase(
            r"(?:(?:add|use|with|include|put in)\s+)?(?:more|lots of|plenty of|some)\s+" + FIGURES + r"(?:"
            r"\s+(?:everywhere|please|in general))?$"
        ),
        show_everywhere,
    ),
    (compile_phrase(r"(?:swap|switch|exchange|flip)\s+(?P<which>.{1,120})$"), swap),
    (
        compile_phrase(
            rf"(?:move|put|bring|shift|place)\s+(?P<which>.{{1,80}}?)\s+(?:(?:right\s+)?(?P<where>after|before|"
            rf"behind)\s+(?P<anchor>.{{1,80}})|(?:to|at|in|as)\s+(?:the\s+)?(?:very\s+)?{_EDGE}(?:\s+\w+)?|"
            r"(?:to|as|at)\s+(?:be(?:come)?\s+)?(?:(?:position|place|number|slide|spot)"
            rf"\s+)?#?(?P<to>\d{{1,3}}))$"
        ),
        move,
    ),
    (
        compile_phrase(
            rf"(?P<where>after|before)\s+(?P<anchor>.{{1,60}}?),?"
            rf"\s+{_ADD_VERB}\s+(?P<what>.{{1,300}})$"
        ),
        add,
    ),
    (
        compile_phrase(
            rf"{_ADD_VERB}\s+(?P<what>(?:(?:an?|one|another|some|more|new|extra|{NUMBER})\s+)+(?:slides?|"
            rf"sections?|pages?)\b.{{0,300}}?){_AT}"
        ),
        add,
    ),
    (compile_phrase(r"(?:replace|exchange)\s+(?P<which>.{1,80}?)\s+(?:with|by)\s+(?P<subject>.+)$"), rewrite),
    (
        compile_phrase(
            rf"(?:make|change|turn|have|let|rewrite|redo)\s+(?P<which>{_SLIDE})\s+(?:to\s+)?(?:be"
            r"\s+)?(?:instead\s+)?(?:about|focus on|cover|talk about|into|on|to)\s+(?P<subject>.+)$"
        ),
        rewrite,
    ),
    (
        compile_phrase(
            rf"(?P<which>{_SLIDE})\s+(?:should|must|could|can|shall)\s+(?:rather\s+)?(?:be\s+)?(?:about|"
            r"focus on|cover|talk about|on)\s+(?P<subject>.+)$"
        ),
        rewrite,
    ),
    (compile_phrase(r"(?P<which>slide\s+#?\d{1,3})\s*(?::|=|\s[-–]\s)\s*(?:about\s+)?(?P<subject>.+)$"), rewrite),
    (
        compile_phrase(
            r"(?:add|include|put|mention|insert|write|say)\s+(?:(?:an?|another|the)\s+)?(?:(?:key\s+|bullet"
            r"\s+)?(?:point|bullet|line|note|something|sentence)\s+(?:(?:about|on|that says|saying|that|for|"
            rf"of|regarding)\s+)?)?(?P<point>.{{1,300}}?)\s+(?:to|on|in|onto|for)\s+(?P<which>{_SLIDE})$"
        ),
        add_point,
    ),
    (
        compile_phrase(
            rf"(?:on|in|to|for)\s+(?P<which>{_SLIDE}),?\s+(?:please\s+)?(?:add|mention|include|say|write|"
            rf"put)\s+(?:(?:a|another)\s+point\s+(?:about|on)\s+|that\s+)?(?P<point>.{{1,300}})$"
        ),
        add_point,
    ),
    (
        compile_phrase(
            r"(?:cut|reduce|shorten|trim|shrink|extend|expand|limit|get|bring|keep|grow|"
            rf"stretch)\b.{{0,40}}?\b(?:to|at)\s+(?:just\s+|only\s+|about\s+)?(?P<number>{NUMBER})(?:"
            r"\s+slides?)?$"
        ),
        resize,
    ),
    (
        compile_phrase(
            rf"(?:(?:make|keep|cut)\s+)?(?:{_DECK}\s+)?(?:is\s+|be\s+)?(?:(?:a bit|a little|much|slightly|even|"
            r"way)\s+)?(?:shorter|more concise|briefer|down|too long|fewer slides|less slides|"
            r"too many slides)$|(?:use |with )?(?:fewer|less) slides$|(?:shorten|condense|trim|cut)"
            rf"\s+{_DECK}(?:\s+down)?(?:\s+a (?:bit|little))?$"
        ),
        scale(2 / 3),
    ),
    (
        compile_phrase(
            rf"(?:make\s+)?(?:{_DECK}\s+)?(?:is\s+|be\s+)?(?:(?:a bit|a little|much|slightly|even)"
            rf"\s+)?(?:longer|too short)$|(?:expand|extend|lengthen)\s+{_DECK}(?:\s+a (?:bit|little))?$|"
            r"(?:(?:make|add|use|with)\s+)?more slides$"
        ),
        scale(1.4),
    ),
    (
        compile_phrase(
            r"(?:remove|delete|drop|skip|cut|take out|get rid of|lose|omit|leave out|erase)\s+(?:out"
            r"\s+)?(?P<which>.{1,120})$"
        ),
        remove,
    ),
    (compile_phrase(r"(?:no|without|i don(?:'|’)?t (?:need|want|like))\s+(?P<which>.{1,80})$"), remove_named),
    (compile_phrase(rf"{_ADD_VERB}\s+(?P<what>.{{1,300}}?){_AT}"), add),
]

"""Fitting slides to audience and tone: the lines that are added, and the look that is suggested."""

from dataclasses import replace
from typing import Final

from server.workflows.builder.rules.audience import group_of, speak_of
from server.workflows.builder.rules.brief import Brief
from server.workflows.builder.rules.plan import audience_of, duration_of, tone_of
from server.workflows.builder.rules.slide import Slide
from server.workflows.builder.rules.tone import family_of

#: Group → key points that speak to it; slides take them in turn.
_FOR_GROUP: Final[dict[str, tuple[str, ...]]] = {
    "children": (
        "Ask the room: what would you have done?",
        "Hands up: who has seen or heard this before?",
        "Say one sentence together, loudly and then in a whisper",
        "Look closely at the picture: what do you discover?",
        "Act it out together for ten seconds",
        "Guess first: how does it go on?",
    ),
    "teenagers": (
        "Vote by show of hands before the answer comes",
        "Find an example from your own week",
        "What would you post about it in one line?",
        "Discuss with your neighbour for thirty seconds",
        "Where have you met this online?",
        "What would you change about it?",
    ),
    "students": (
        "A term worth writing down",
        "How this could come up in an exam",
        "Link to what was learned before",
        "A question to discuss in pairs",
        "Where to read more about this",
        "How one would check it",
    ),
    "executives": (
        "What it means for the decision in this room",
        "Effect on cost, risk and time",
        "Who is responsible, and until when",
        "What happens if we wait",
        "The one figure to keep in mind",
        "What we recommend",
    ),
    "investors": (
        "The proof behind it",
        "What it means for growth",
        "The risk, and how it is covered",
        "Why this is hard to copy",
        "What is reached by when",
        "What a partner can add",
    ),
    "customers": (
        "What you get out of it",
        "An example from somebody like you",
        "How much effort it saves",
        "What others say about it",
        "How to try it without risk",
        "Whom to ask",
    ),
    "experts": (
        "Evidence, and how strong it is",
        "Assumptions that it depends on",
        "Open questions and limits",
        "Method in one line, details in the appendix",
        "How it compares with the state of the art",
        "What would prove it wrong",
    ),
    "team": (
        "What it changes in our daily work",
        "Who can help with it",
        "A question to the team",
        "What we can try this week",
        "What we know already, and what is new",
        "What should be agreed now",
    ),
    "general": (
        "An example from everyday life",
        "One thing that may surprise you",
        "What it has to do with us",
        "A sentence to remember",
        "A question to think about",
        "Where you can see it for yourself",
    ),
}
#: Tone → sentences that close a narrative; slides take them in turn.
_FOR_TONE: Final[dict[str, tuple[str, ...]]] = {
    "playful": ("Keep it light, and leave room for a laugh.", "A small surprise belongs here.", "Told with a smile."),
    "formal": ("Precise and to the point.", "Stated calmly, with the source.", "One message, no decoration."),
    "inspiring": ("Let it touch people before it explains.", "End on what is possible.", "Give the moment silence."),
    "technical": ("Exact terms, exact figures.", "Show how it is known.", "Say what is measured and what is assumed."),
    "friendly": ("Spoken as if to a friend.", "Warm, simple and honest.", "With an example that everybody knows."),
    "persuasive": ("Lead to one conclusion.", "Show the gain, then the proof.", "Make the next step easy."),
    "simple": ("Short words, one idea.", "No jargon.", "If it can be shown, show it."),
    "serious": ("Calm, with respect for the subject.", "Facts first.", "No exaggeration."),
    "narrative": (
        "Told as a scene, with people in it.",
        "Leave the end open until the next slide.",
        "Show it, then name it.",
    ),
}
_LOOK: Final[dict[str, tuple[str, str]]] = {
    "playful": ("Bright and playful", "Strong colours, round shapes and large pictures; a few words a slide."),
    "formal": (
        "Clear and professional",
        "Dark blue on white, one typeface, generous margins, a chart instead of a list.",
    ),
    "inspiring": ("Warm and inspiring", "Full-page photographs with one sentence each; calm colours, much space."),
    "technical": ("Precise and factual", "A neutral palette, labelled diagrams, sources in the corner of each slide."),
    "friendly": ("Friendly and fresh", "Light background, a warm accent colour, real photographs, short lines."),
    "persuasive": (
        "Bold and convincing",
        "One message a slide in large type; strong contrast; proof right next to the claim.",
    ),
    "simple": ("Plain and clear", "Black on white, one accent colour, one idea a slide."),
    "serious": ("Calm and respectful", "Muted colours, much space, no effects."),
    "narrative": ("Told like a story", "Full-page pictures, little text, a thread that runs from slide to slide."),
}
_FOR_LOOK: Final = {
    "children": "Letters that can be read from the back row.",
    "executives": "The answer in the title, details in the notes.",
    "experts": "Room for data, and references at the end.",
    "investors": "One number a slide, large.",
}
_VOICE: Final = (
    "Say the title as a question first, then go through the points one by one.",
    "Begin with the example, and let the points follow from it.",
    "Pause after the first point; let people look at the slide.",
    "Link back to the slide before, then say what is new here.",
)
_GROUP_LINES: Final = frozenset(line for lines in _FOR_GROUP.values() for line in lines)
_TONE_LINES: Final = tuple(line for lines in _FOR_TONE.values() for line in lines)
#: Slides that are dressed: title, agenda and end have words of their own.
_DRESSED: Final = frozenset({"visual_heavy", "data_driven", "diagram_focused", "content_heavy"})


def dress(slide: Slide, brief: Brief, share_min: float) -> Slide:
    """The slide with lines for the brief's audience and tone in place of those it had, and with speaker notes.

    `share_min` is the slide's share of the time.
    """
    turn = int("".join(filter(str.isdigit, slide.slide_id)) or 0)
    manner = f"Tone: {tone_of(brief)}, for {speak_of(audience_of(brief))}."
    notes = f"{_spell_share(share_min)}. {_VOICE[turn % len(_VOICE)]} {manner}"
    if slide.slide_type not in _DRESSED:
        return replace(slide, speaker_notes=notes)
    group_lines = _FOR_GROUP[group_of(brief.audience)]
    tone_lines = _FOR_TONE[family_of(tone_of(brief))]
    own = tuple(point for point in slide.key_points if point not in _GROUP_LINES)[:5]
    narrative = slide.narrative
    for line in _TONE_LINES:
        narrative = narrative.removesuffix(line).rstrip()
    return replace(
        slide,
        narrative=f"{narrative} {tone_lines[turn % len(tone_lines)]}",
        key_points=(*own, group_lines[turn % len(group_lines)])[: max(3, len(own) + 1)],
        speaker_notes=notes,
    )


def undressed_points(slide: Slide) -> tuple[str, ...]:
    """The slide's own key points, without the line for the audience."""
    return tuple(point for point in slide.key_points if point not in _GROUP_LINES)


def suggest_look(brief: Brief) -> tuple[str, str]:
    """The overall theme and the design suggestions for a brief."""
    theme, design = _LOOK[family_of(tone_of(brief))]
    return theme, " ".join(filter(None, (design, _FOR_LOOK.get(group_of(brief.audience)))))


def share_min(brief: Brief, count: int) -> float:
    """Minutes for each of `count` slides."""
    return duration_of(brief) / max(1, count)


def _spell_share(minutes: float) -> str:
    if minutes < 0.875:
        return f"About {max(10, round(minutes * 60 / 5) * 5)} seconds"
    quarters = round(minutes * 4) / 4
    return f"About {quarters:g} {'minute' if quarters == 1 else 'minutes'}"

"""The words of the assistant of rules: audiences, tones, wording."""

from server.workflows.builder.rules.amounts import spell_duration
from server.workflows.builder.rules.audience import group_of, label_of, speak_of
from server.workflows.builder.rules.tone import family_of, find_tone
from server.workflows.builder.rules.wording import clean, is_gibberish, listing, plain, tidy


def test_lengths_are_spelled_out() -> None:
    assert [spell_duration(n) for n in (1, 10, 60, 90, 120)] == [
        "1 minute", "10 minutes", "1 hour", "1 hour 30 minutes", "2 hours",
    ]  # fmt: skip


def test_audiences_belong_to_groups_and_are_spoken_of() -> None:
    groups = {
        text: group_of(text) for text in ("8-10 year olds", "16 year olds", "20 executives", "my team", "kids", "xyz")
    }
    assert list(groups.values()) == ["children", "teenagers", "executives", "team", "children", "general"]
    assert (speak_of("my Team"), label_of("my team"), speak_of("Children")) == ("your Team", "Team", "children")
    assert speak_of("VCs") == "VCs"


def test_tones_belong_to_families() -> None:
    assert [family_of(word) for word in ("fun", "formal", None, "xyz")] == ["playful", "formal", "friendly", "friendly"]
    tone = find_tone("please, less formal")
    assert tone is not None
    assert tone.word == "friendly"
    assert find_tone("nothing here") is None


def test_wording() -> None:
    assert tidy("  a\t b\n c ", 80) == "a b c"
    assert len(tidy("word " * 100, 50)) <= 50
    assert clean("a\x00b\u202ec\nd", 10) == "a b c\nd"
    assert clean("\ud800x", 10).encode() == b" x"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert plain("a*b<c") == "a\\*b\\<c"
    assert [is_gibberish(text) for text in ("asdf", "sdfghj", "tea", "rhythm", "Дети")] == [
        True,
        True,
        False,
        False,
        False,
    ]

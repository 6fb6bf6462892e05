"""What a call costs: exact sums in micro-USD, and the table against the vendors' list prices."""

from decimal import Decimal

import pytest
from genai_prices import calc_price
from genai_prices.types import Usage as TheirUsage

from server.assistant import Usage
from server.assistant.prices import PRICES, Price, cost_micro_usd, parse_prices

TABLE = {"m": Price(250_000, 2_000_000)}  # $0.25 and $2 a million


@pytest.mark.parametrize(
    ("given", "taken", "cost"),
    [(0, 0, 0), (1_000_000, 0, 250_000), (0, 1_000_000, 2_000_000), (1_000, 500, 1_250), (2, 0, 1), (1, 0, 0)],
)
def test_a_cost_is_whole_micro_dollars(given: int, taken: int, cost: int) -> None:
    assert cost_micro_usd(Usage("m", given, taken), TABLE) == cost


@pytest.mark.parametrize("name", ["m", "m-2025-08-07", "m-20251001", "m-001", "m-latest"])
def test_a_dated_name_has_the_price_of_its_model(name: str) -> None:
    assert cost_micro_usd(Usage(name, 1_000, 0), TABLE) == 250


def test_a_price_for_the_dated_name_goes_first() -> None:
    assert cost_micro_usd(Usage("m-001", 1_000_000, 0), {**TABLE, "m-001": Price(7, 7)}) == 7


@pytest.mark.parametrize("name", ["n", "m-mini", "m-20", ""])
def test_without_a_price_the_cost_is_not_known(name: str) -> None:
    assert cost_micro_usd(Usage(name, 1_000, 0), TABLE) is None


def test_prices_are_read_as_an_operator_writes_them() -> None:
    assert parse_prices("m=0.25/2, org/model:free=0/0,x=10.000001/0.5") == {
        "m": Price(250_000, 2_000_000), "org/model:free": Price(0, 0), "x": Price(10_000_001, 500_000),
    }  # fmt: skip
    assert parse_prices(" ") == {}


@pytest.mark.parametrize("text", ["m", "m=1", "m=1/", "m=-1/2", "m=1/2,", "m=a/b", "m=0.0000001/1", "=1/2", "m=1/2/3"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected model=input/output"):
        parse_prices(text)


@pytest.mark.parametrize("model", PRICES)
def test_the_table_has_the_vendors_list_prices(model: str) -> None:
    """Against the prices that come with pydantic-ai."""
    vendor = {"gpt": "openai", "claude": "anthropic", "gemini": "google"}[model.partition("-")[0]]
    theirs = calc_price(TheirUsage(input_tokens=10_000, output_tokens=10_000), model, provider_id=vendor)
    ours = cost_micro_usd(Usage(model, 10_000, 10_000), PRICES)
    assert ours == theirs.total_price * Decimal(1_000_000)

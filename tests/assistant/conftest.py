"""The vendors' server, once for all tests here, and the models that speak to it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from server.assistant.model import LanguageModel
from server.assistant.vendors import Spec, open_model
from tests.vendors import Vendors

MODELS = {
    "openai": "gpt-test",
    "openai-responses": "gpt-test",
    "anthropic": "claude-test",
    "google": "gemini-test",
}

Open = Callable[[str], LanguageModel]


@pytest.fixture(scope="session")
def all_vendors() -> Iterator[Vendors]:
    with Vendors() as vendors:
        yield vendors


@pytest.fixture
def vendors(all_vendors: Vendors) -> Vendors:
    all_vendors.reset()
    return all_vendors


@pytest_asyncio.fixture
async def open_vendor(vendors: Vendors) -> AsyncIterator[Open]:
    """Opens a vendor's model, and closes what was opened."""
    opened: list[LanguageModel] = []

    def open_one(vendor: str) -> LanguageModel:
        opened.append(open_model(Spec(vendor, MODELS[vendor]), api_key="secret", base_url=vendors.url(vendor)))
        return opened[-1]

    yield open_one
    for model in opened:
        await model.aclose()

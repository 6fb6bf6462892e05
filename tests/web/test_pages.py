"""Published pages over HTTP: whatever workflow publishes them, under whatever path."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette

from server.errors import WorkflowError
from server.web.pages import pages
from server.workflows.page import Page
from server.workflows.table import Workflow
from tests.support.dict_store import DictStore
from tests.support.example_workflows import ECHO
from tests.support.writes import committed, event, open_session, turn


def drawing(name: str, path: str) -> Workflow:
    kind = f"{name}_drawing"
    page = Page(path, kind, lambda payload: f"<p>{name} draws {payload['of']}</p>")
    return replace(ECHO, name=name, frames={kind: str}, page=page)


async def test_each_workflow_serves_its_own_page_and_no_other() -> None:
    store = DictStore()
    await store.open()
    before = await open_session(store)
    made = event(before.session_id, "ann_drawing", payload={"of": "a bee"})
    said = event(before.session_id)
    await committed(store, turn(before, made, said))
    app = Starlette(routes=pages(store, [ECHO, drawing("ann", "drawings"), drawing("bob", "sketches")]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        found = await http.get(f"/drawings/{made.message_id}")
        assert (found.status_code, found.text) == (200, "<p>ann draws a bee</p>")
        assert "default-src 'self'" in found.headers["content-security-policy"]
        assert found.headers["x-robots-tag"] == "noindex"
        for path in (f"/sketches/{made.message_id}", f"/drawings/{said.message_id}", "/drawings/unknown"):
            missing = await http.get(path)
            assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        await store.close()
        away = await http.get(f"/drawings/{made.message_id}")
        assert (away.status_code, away.json()["code"]) == (503, "store_unavailable")


def gives_up(payload: object) -> str:
    raise SystemExit(1)


@pytest.mark.parametrize("render", [gives_up, lambda payload: payload["nothing"], lambda _: 5])
async def test_a_page_that_cannot_be_made_says_so_and_is_in_the_log(render: Any) -> None:
    store = DictStore()
    await store.open()
    made = event((before := await open_session(store)).session_id, "ann_drawing", payload={"of": "a bee"})
    await committed(store, turn(before, made))
    broken = replace(ECHO, name="ann", frames={"ann_drawing": str}, page=Page("drawings", "ann_drawing", render))
    app = Starlette(routes=pages(store, [broken, drawing("bob", "sketches")]))
    with structlog.testing.capture_logs() as records:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            answer = await http.get(f"/drawings/{made.message_id}")
    assert (answer.status_code, answer.json()["code"]) == (500, "page_broken")
    [record] = records
    assert (record["event"], record["message_id"]) == ("page_broken", made.message_id)
    assert record["correlation_id"][:8] in answer.json()["detail"]


@pytest.mark.parametrize("paths", [("drawings", "drawings"), ("drawings", "static"), ("api", "drawings")])
def test_two_things_at_one_path_stop_the_start(paths: tuple[str, str]) -> None:
    with pytest.raises(WorkflowError, match="that path is taken"):
        pages(DictStore(), [drawing("ann", paths[0]), drawing("bob", paths[1])])

"""Published pages over HTTP: whatever workflow publishes them, under whatever path."""

from dataclasses import replace

import httpx
import pytest
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


@pytest.mark.parametrize("paths", [("drawings", "drawings"), ("drawings", "static"), ("api", "drawings")])
def test_two_things_at_one_path_stop_the_start(paths: tuple[str, str]) -> None:
    with pytest.raises(WorkflowError, match="that path is taken"):
        pages(DictStore(), [drawing("ann", paths[0]), drawing("bob", paths[1])])

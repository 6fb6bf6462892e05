"""Bad input gets its stable code, the socket stays open, the others do not notice, the log has no traceback."""

import uuid

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.e2e.conftest import Start
from tests.support.process import ServerProcess
from tests.support.wire import Client

BAD: dict[str, tuple[str | bytes, str]] = {
    "not JSON": ("{oops", "invalid_json"),
    "an array": ("[]", "invalid_frame"),
    "a string": ('"hello"', "invalid_frame"),
    "null data": ('{"type":"user_message","data":null}', "empty_text"),
    "a binary frame": (b"\x00\x01", "binary_frame"),
    "100,000 brackets": ("[" * 100_000, "too_large"),
    "30,000 brackets": ('{"type":"ping","x":' + "[" * 30_000 + "]" * 30_000 + "}", "invalid_json"),
    "1 MiB of text": ('{"type":"user_message","data":{"text":"' + "x" * 2**20 + '"}}', "too_large"),
    "a text over the limit": ('{"type":"user_message","data":{"text":"' + "x" * 16_001 + '"}}', "too_large"),
    "an unknown type": ('{"type":"dance"}', "unknown_type"),
    "an empty text": ('{"type":"user_message","id":"e","data":{"text":"  \\n "}}', "empty_text"),
    "no text": ('{"type":"user_message","id":"e"}', "empty_text"),
    "a text that is a number": ('{"type":"user_message","data":{"text":5}}', "invalid_frame"),
    "a 200-character id": ('{"type":"user_message","id":"' + "i" * 200 + '","data":{"text":"x"}}', "invalid_id"),
    "an empty id": ('{"type":"user_message","id":"","data":{"text":"x"}}', "invalid_id"),
    "a lone surrogate": ('{"type":"user_message","data":{"text":"\\ud800"}}', "invalid_json"),
    "a negative resume": ('{"type":"resume","after":-1}', "invalid_frame"),
    "a resume without a place": ('{"type":"resume"}', "invalid_frame"),
    "a cancel without an id": ('{"type":"cancel","turn":3}', "invalid_id"),
    "a token nobody wants": ('{"type":"auth","token":"t"}', "auth_not_enabled"),
    "NaN": ('{"type":"ping","n":NaN}', "invalid_json"),
}


async def test_each_bad_frame_gets_its_code_and_the_socket_lives(server: ServerProcess) -> None:
    async with Client(server.port) as other, Client(server.port) as client:
        await other.until_type("live")
        await client.until_type("live")
        unnoticed = len(other.frames)
        for name, (message, code) in BAD.items():
            await client.send_raw(message)
            error = await client.until_type("error")
            assert error["payload"]["code"] == code, name
            assert error["payload"]["message"], name
        await client.turn("still here")
        assert client.texts() == ["Welcome.", "you said still here"]
        assert client.texts("user") == ["still here"]
        assert len(other.frames) == unnoticed
    assert "Traceback" not in server.log()


async def test_the_existing_builder_reads_a_refusal_as_a_message(server: ServerProcess) -> None:
    async with Client(server.port, native=False, session_id=uuid.uuid4()) as client:
        await client.send({"type": "user_message", "data": {"text": ""}})
        spoken = await client.until(lambda f: f.get("payload", {}).get("ephemeral") is True, "a spoken refusal")
        assert (spoken["type"], spoken["role"], spoken.get("seq")) == ("chat_message", "assistant", None)
        assert isinstance(spoken["payload"]["text"], str)


@pytest.mark.parametrize(
    "query",
    [
        "session_id=" + "s" * 256,
        "session_id=a%00b",
        "session_id=%E2%80%AEb",
        "user_id=%ff",
        "after=-1",
        "after=x",
        "workflow=none",
        "user_id=" + "u" * 300,
        "user_id=a%0Ab",
    ],
)
async def test_a_bad_query_is_refused_before_the_upgrade(server: ServerProcess, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{server.port}/ws?{query}", proxy=None):
            pass
    response = refused.value.response
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert b'"code":"bad_request"' in (response.body or b"")
    assert '"level": "error"' not in server.log()


async def test_unknown_parameters_are_ignored_and_a_missing_session_is_made(server: ServerProcess) -> None:
    async with Client(server.port, colour="blue") as client:
        sync = await client.until_type("sync_response")
        assert uuid.UUID(sync["session_id"])


async def test_an_unknown_version_is_told_so(server: ServerProcess) -> None:
    future = [Subprotocol("rejoinder.v99")]
    async with connect(f"ws://127.0.0.1:{server.port}/ws", subprotocols=future, proxy=None) as socket:
        await socket.wait_closed()
        assert socket.close_code == 4010


async def test_two_users_of_one_id_have_a_session_each(server: ServerProcess) -> None:
    """Each is greeted once, and hears, resumes and finds again what is their own."""
    session_id = "session_456"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    async with Client(server.port, session_id=session_id, user_id="alice") as alice:
        await alice.until_type("live")
        await alice.turn("my secret")
        async with Client(server.port, session_id=session_id, user_id=family) as mallory:
            await mallory.until_type("live")
            await mallory.turn("my own words")
            await alice.turn("still mine")
            assert mallory.texts() == ["Welcome.", "you said my own words"]
            assert mallory.texts("user") == ["my own words"]
            assert [frame["seq"] for frame in mallory.durable] == list(range(1, len(mallory.durable) + 1))
        assert alice.texts() == ["Welcome.", "you said my secret", "you said still mine"]
        assert {frame["session_id"] for frame in [*alice.frames, *mallory.frames]} == {session_id}
    for user_id, said in (("alice", ["my secret", "still mine"]), (family, ["my own words"])):
        async with Client(server.port, session_id=session_id, user_id=user_id) as again:
            await again.until_type("live")
            assert again.texts("user") == said
            assert again.texts().count("Welcome.") == 1


@pytest.mark.parametrize("session_id", ["e2e-ingest:chromium:17-ab", " a 'b' %41 {*} ", "\U0001f469" * 255])
async def test_an_id_is_taken_to_the_letter(server: ServerProcess, session_id: str) -> None:
    for said in ([], ["one"]):
        async with Client(server.port, session_id=session_id, user_id=session_id) as client:
            await client.until_type("live")
            assert client.texts("user") == said
            await client.turn("one")
            assert {frame["session_id"] for frame in client.frames} == {session_id}


async def test_a_uuid_in_capitals_is_the_one_in_small_letters(server: ServerProcess) -> None:
    """As it always was: sessions of clients that write it so are stored in small letters."""
    session_id = uuid.uuid4()
    async with Client(server.port, session_id=session_id) as client:
        await client.turn("one")
    async with Client(server.port, session_id=str(session_id).upper()) as client:
        await client.until_type("live")
        assert client.texts("user") == ["one"]
        assert {frame["session_id"] for frame in client.frames} == {str(session_id)}


async def test_a_page_of_a_foreign_site_may_not_connect(start: Start) -> None:
    process = await start(ALLOWED_ORIGINS="https://app.example.com")
    url = f"ws://127.0.0.1:{process.port}/ws?workflow=echo"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, origin=Origin("https://app.example.com.evil.example"), proxy=None):
            pass
    assert refused.value.response.status_code == 403
    async with connect(url, origin=Origin("https://app.example.com"), proxy=None):
        pass


async def test_health_and_the_unknown(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/healthz")).json()["status"] == "ok"
        assert (await http.get("/health")).json()["service"] == "rejoinder"
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert (await http.get("/version")).json()["version"]
        missing = await http.get("/decks/nothing")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")

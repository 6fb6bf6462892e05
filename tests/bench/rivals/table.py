"""Who the rivals are: how each is started, and what it keeps."""

import http.client
import shutil
from collections.abc import Mapping
from typing import Final

from tests.bench import backings
from tests.bench.contenders import FULL, NATIVE, OURS, Contender
from tests.bench.rivals.environment import HERE, NODE, PLACE, PYTHON, node_driver, why_no_python

_CHAINLIT: Final = PLACE / "chainlit"
_AFTERWARDS: Final = f"{FULL}, but written after the answer, by tasks that nobody waits for"


def rivals() -> dict[str, Contender | str]:
    """Each of them, or why it is absent."""
    driver, why_no_node = node_driver()
    return {
        "chainlit": why_no_python("chainlit") or _chainlit(),
        "langgraph": why_no_python("langgraph-checkpoint-sqlite") or _langgraph(),
        "socketio": why_no_node or _socketio(driver),
    }


def _chainlit() -> Contender:
    _CHAINLIT.mkdir(exist_ok=True)
    app, program = str(HERE / "chainlit_app.py"), str(PYTHON / "bin" / "chainlit")
    return Contender(
        name="chainlit",
        policy=_AFTERWARDS,
        command=(program, "run", app, "--headless", "--host", "127.0.0.1", "--port", "{port}"),
        open=backings.file("chainlit.db"),
        path="/ws/socket.io/?EIO=4&transport=websocket",
        speech="chainlit",
        environ={"CHAINLIT_AUTH_SECRET": "a secret of the bench, long enough for HMAC-SHA256"},
        ready="/health",
        cwd=_CHAINLIT,
        enter=_log_in,
    )


def _langgraph() -> Contender:
    return Contender(
        name="langgraph",
        policy=f"{FULL}, durability=sync",
        command=(str(PYTHON / "bin" / "python"), "-m", "tests.bench.rivals.langgraph_server", "{port}"),
        open=backings.file("langgraph.db"),
        path=OURS,
        speech="plain",
        headers=NATIVE,
    )


def _socketio(driver: str) -> Contender:
    return Contender(
        name="socketio",
        policy=f"{FULL} ({driver})",
        command=(shutil.which("node") or "node", str(HERE / "socketio_server.mjs"), "{port}"),
        open=backings.file("socketio.db"),
        path="/socket.io/?EIO=4&transport=websocket&session_id={session}&user_id={user}",
        speech="socketio",
        environ={"BENCH_PACKAGES": str(NODE), "BENCH_DRIVER": driver},
        ready="/readyz",
    )


def _log_in(port: int) -> Mapping[str, str]:
    """Chainlit's cookie. Raises RuntimeError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/auth/header")
        answer = connection.getresponse()
        cookies = [value.partition(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    finally:
        connection.close()
    if answer.status != 200 or not cookies:
        raise RuntimeError(f"Chainlit does not let us in: {answer.status}")
    return {"Cookie": "; ".join(cookies)}

"""The README's example runs as it stands, and what it names is there."""

import re
from pathlib import Path

import pytest

from tests.support.process import ROOT, ServerProcess

README = (ROOT / "README.md").read_text()


@pytest.fixture
async def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    process = ServerProcess(tmp_path)
    await process.start()
    yield process
    await process.close()


async def test_the_example_client_runs(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    [source] = re.findall(r"```python\n(import asyncio.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(source.replace("asyncio.run(main())", ""), names)
    await names["main"](f"ws://127.0.0.1:{server.port}/ws")  # type: ignore[operator]
    assert "state_update" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:server|scripts|docs|tests)/[\w./-]*\w", README)) | {".env.example"})
)
def test_what_the_readme_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()

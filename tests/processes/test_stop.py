"""A process that is told to stop while its database, or a step, stands still."""

from pathlib import Path

from tests.services.gateway import Fault
from tests.services.postgres import running_server
from tests.services.proxy import Proxy
from tests.services.supabase import SECRET_KEY, empty_project
from tests.support.process import ServerProcess
from tests.support.wire import Client


async def test_a_drain_ends_within_the_stores_deadline_and_leaves_nothing_behind(tmp_path: Path) -> None:
    postgres = running_server()
    with postgres.database() as url:
        async with Proxy(postgres.port) as proxy:
            behind = url.replace(f":{postgres.port}/", f":{proxy.port}/")
            server = ServerProcess(tmp_path, {"STORE_URL": behind, "STORE_TIMEOUT_MS": "2000", "DRAIN_MS": "500"})
            await server.start()
            async with Client(server.port) as client:
                await client.until_type("live")
                await client.turn("before")
                proxy.stall()
                await client.say("into the silence")
                assert await server.stop() == 0
                assert await client.until_closed() == 4200
            assert "stopped_in_haste" in server.log()
            assert "destroyed" not in server.log()
            assert "Traceback" not in server.log()


async def test_a_drain_leaves_no_connection_to_supabase_behind(tmp_path: Path) -> None:
    project = empty_project()
    environ = {
        "STORE_URL": "supabase",
        "SUPABASE_URL": project.url,
        "SUPABASE_SERVICE_KEY": SECRET_KEY,
        "STORE_TIMEOUT_MS": "2000",
        "DRAIN_MS": "500",
    }
    server = ServerProcess(tmp_path, environ)
    await server.start()
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn("before")
        project.gateway.fail(Fault.STALLED, times=1_000)
        await client.say("into the silence")
        assert await server.stop() == 0
        assert await client.until_closed() == 4200
    assert "stopped_in_haste" in server.log()
    assert "Unclosed" not in server.log()
    assert "Traceback" not in server.log()


async def test_a_step_that_swallows_its_cancellation_does_not_keep_the_process(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {"STEP_TIMEOUT_MS": "1000", "DRAIN_MS": "500"})
    await server.start()
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.say("cling")
        await client.until_type("ack")
        assert await server.stop() == 0
    assert "tasks_left" in server.log()
    assert "step " in server.log()

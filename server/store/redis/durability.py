"""Judges from a Redis server's INFO and CONFIG which failures its writes survive. No I/O here.

Redis answers a command when it has executed it, which need not be on the disk. With `appendonly yes` and `appendfsync
always` it writes and syncs its append-only file before it answers. With any other settings a crash may lose
acknowledged writes.
"""

from collections.abc import Mapping
from typing import Final

#: Older versions ignored a failed fsync and could log a script as its text instead of its effects.
OLDEST: Final = (6, 2)
PROMISE: Final = "process and system crash (Redis, appendfsync always)"

_APPENDFSYNC: Final = {
    "everysec": "the last two seconds may be lost (appendfsync everysec)",
    "no": "what the system did not write yet may be lost (appendfsync no)",
}


def fields_of(info: bytes) -> dict[str, str]:
    """Parse the answer to INFO: field → value."""
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, _, value in lines if name}


def refusal(info: Mapping[str, str]) -> str | None:
    """Why this server cannot be used as a store, for ever or for now; None when it can. `info`: the fields of INFO."""
    if info.get("loading") == "1":
        # While it loads, Redis also reports that it has no append-only file.
        return "it was just started and still reads what it keeps"
    version = info.get("redis_version", "")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        return f"it is Redis {version}; this server needs 6.2 or later"
    if info.get("cluster_enabled") == "1":
        return "it is a Redis Cluster; the keys of a conversation must be on one server"
    if info.get("role", "master") != "master":
        return "it is a replica; name the server that takes writes"
    return None


def weaknesses(info: Mapping[str, str], config: Mapping[str, str] | None) -> list[str]:
    """The ways in which the server may lose acknowledged writes, as text for people; empty when it keeps PROMISE.

    `info`: the fields of INFO; `config`: the answer to CONFIG GET *appendfsync*, None when CONFIG is forbidden.
    """
    found: list[str] = []
    if info.get("aof_enabled") != "1":
        found.append("everything may be lost: Redis keeps it in memory (appendonly no)")
    elif config is None or "appendfsync" not in config:
        found.append("how much may be lost is unknown: CONFIG is forbidden here, so appendfsync cannot be read")
    elif config["appendfsync"] != "always":
        found.append(_APPENDFSYNC.get(config["appendfsync"], f"appendfsync is {config['appendfsync']}"))
    elif config.get("no-appendfsync-on-rewrite") != "no":
        found.append("what is written while Redis rewrites its file may be lost (no-appendfsync-on-rewrite yes)")
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status", "ok") != "ok":
        found.append("Redis could not write its append-only file (aof_last_write_status err)")
    # The volatile policies evict only keys with a time to live, and the store's keys have none.
    if (policy := info.get("maxmemory_policy", "noeviction")).startswith("allkeys"):
        found.append(f"Redis drops conversations when its memory is full (maxmemory-policy {policy})")
    return found

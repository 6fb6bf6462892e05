"""`python -m server check-workflow NAME [LINE …]`: say these lines to a workflow, without a server, and show its moves.

Ends with 0 when nothing is wrong, 1 when something is, 2 when there is no such workflow or a table is wrong.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from server.errors import WorkflowError
from server.workflows.check import Move, check_workflow
from server.workflows.registry import find_workflows


def main(arguments: Sequence[str]) -> int:
    """Run the command with what stands behind its name on the command line; the exit status says how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m server check-workflow", description="Say lines to a workflow and show what it makes of them."
    )
    parser.add_argument("name", help="the name of the workflow")
    parser.add_argument("lines", nargs="*", metavar="line", help="a text, or the value or label of an open button")
    chosen = parser.parse_args(arguments)
    try:
        workflows = find_workflows()
    except WorkflowError as error:
        print(*error.complaints, sep="\n", file=sys.stderr)  # noqa: T201
        return 2
    if chosen.name not in workflows:
        print(f"There is no workflow {chosen.name!r}, but {', '.join(workflows)}.", file=sys.stderr)  # noqa: T201
        return 2
    checked = check_workflow(workflows[chosen.name], chosen.lines)
    print(*(_told(move) for move in checked.moves), sep="\n")  # noqa: T201
    for complaint in checked.complaints:
        print(f"wrong: {complaint}", file=sys.stderr)  # noqa: T201
    return 1 if checked.complaints else 0


def _told(move: Move) -> str:
    said = [f"  {text}" for text in move.texts]
    buttons = [
        f"  {frame.payload.get('prompt_text')}  " + "  ".join(f"[{label}]" for label in _labels(frame.payload))
        for frame in move.frames
        if frame.type == "action_request"
    ]
    others = [f"  ({frame.type})" for frame in move.frames if frame.type not in ("chat_message", "action_request")]
    head = f"{move.line or '(the session opens)'}   {move.came_from} → {move.to}, {move.intent}"
    return "\n".join([head, *said, *buttons, *others])


def _labels(payload: Mapping[str, Any]) -> list[object]:
    """The labels of an action request, which may be a Frame of the workflow's own making."""
    actions = payload.get("actions")
    return [one.get("label") for one in actions if isinstance(one, dict)] if isinstance(actions, list) else []

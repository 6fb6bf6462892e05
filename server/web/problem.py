"""Errors of HTTP."""

from starlette.responses import JSONResponse

from server.errors import ErrorCode, describe_problem


def problem(status: int, code: ErrorCode) -> JSONResponse:
    """An error as `application/problem+json`, with the wire's code."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(describe_problem(status, code), status, headers=headers, media_type="application/problem+json")

"""Answers of the API server that say no, or none at all, as exceptions with a sentence."""

import asyncio
import json
import re
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

_LONGEST = 30.0
_FORBIDDEN = 403
_WITHOUT_A_RIGHT = re.compile(r'User "[^"]*" cannot ')
"""What RBAC says; a quota, a policy or a namespace that goes forbids by the same status."""
_TOO_BUSY = frozenset({429, 500, 502, 503, 504})


class Unreachable(Exception):
    """The API server gave no answer, or had no time."""


class Refusal(Exception):
    """The API server said no; the sentence says to what, why, and where known the cure."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        self.status = status
        super().__init__(sentence)


async def bounded(request: Any, failed: str = "The API can't be discovered") -> Any:
    """Wait for an answer of the API server. Raises Unreachable, Refusal."""
    try:
        async with asyncio.timeout(_LONGEST):
            return await request
    except ApiException as refused:
        if refused.status in _TOO_BUSY or not refused.status:
            raise Unreachable(f"{failed}: {_reason(refused)}.") from None
        raise Refusal(f"{failed}: {_why(refused)}", refused.status) from None
    except (TimeoutError, aiohttp.ClientError, OSError) as trouble:
        raise Unreachable(f"{failed}: {trouble or 'no answer'}.") from None


def _why(refused: ApiException) -> str:
    reason = _reason(refused).rstrip(".")
    if refused.status == _FORBIDDEN and _WITHOUT_A_RIGHT.search(reason):
        return f"{reason}. Give the operator that right (rbac.extraRules of its chart)."
    return f"{reason}."


def _reason(refused: ApiException) -> str:
    try:
        return str(json.loads(refused.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(refused.reason or refused.status or "no answer")

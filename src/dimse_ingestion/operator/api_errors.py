"""Errors of the API server as exceptions with a sentence: refused requests, and no answer."""

import asyncio
import json
import re
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

_TIMEOUT = 30.0
_FORBIDDEN = 403
_RBAC_DENIAL = re.compile(r'User "[^"]*" cannot ')
"""RBAC's message; a quota, a policy or a terminating namespace answers 403, too."""
_TOO_BUSY = frozenset({429, 500, 502, 503, 504})


class Unreachable(Exception):
    """The API server gave no answer, or was too busy; the request may be repeated."""


class Refusal(Exception):
    """The API server refused a request; the sentence says which, why, and where known the cure."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        self.status = status
        super().__init__(sentence)


async def send(request: Any, failed: str = "The API can't be discovered") -> Any:
    """Wait for the API server's answer and return it. Raises Unreachable, Refusal."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await request
    except ApiException as error:
        if error.status in _TOO_BUSY or not error.status:
            raise Unreachable(f"{failed}: {_reason(error)}.") from None
        raise Refusal(f"{failed}: {_sentence(error)}", error.status) from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{failed}: {error or 'no answer'}.") from None


def _sentence(error: ApiException) -> str:
    reason = _reason(error).rstrip(".")
    if error.status == _FORBIDDEN and _RBAC_DENIAL.search(reason):
        return f"{reason}. Give the operator that right (rbac.extraRules of its chart)."
    return f"{reason}."


def _reason(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or error.status or "no answer")

"""Conditional requests (RFC 9110 section 13): whether a client has already what it asks for."""

from starlette.requests import Request


def is_unchanged(request: Request, entity_tag: str) -> bool:
    """Whether If-None-Match has this entity tag, compared weakly (RFC 9110 13.1.2)."""
    asked = request.headers.get("if-none-match", "")
    known = {each.strip().removeprefix("W/") for each in asked.split(",")}
    return "*" in known or entity_tag.removeprefix("W/") in known

"""Conditional requests (RFC 9110 section 13): comparison of entity tags."""

from starlette.requests import Request


def is_unchanged(request: Request, entity_tag: str) -> bool:
    """Return whether If-None-Match has this entity tag, compared weakly (RFC 9110 13.1.2)."""
    given = request.headers.get("if-none-match", "")
    known = {each.strip().removeprefix("W/") for each in given.split(",")}
    return "*" in known or entity_tag.removeprefix("W/") in known

"""Warning headers (RFC 7234 section 5.5, PS3.18 section 8.5).

A sentence may repeat any text of a request, so it is reduced to printable ASCII on one line and
quoted as a quoted-string.
"""

import re

_NOT_PRINTABLE = re.compile(r"[^ -~]")
_ESCAPED = re.compile(r'(["\\])')


def warning(agent: str, sentence: str) -> str:
    """Return the value of a Warning header from `agent`."""
    printable = _NOT_PRINTABLE.sub("?", sentence)
    quoted = _ESCAPED.sub(r"\\\1", printable)
    return f'299 {agent} "{quoted}"'

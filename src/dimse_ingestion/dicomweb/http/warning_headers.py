"""Warning headers (RFC 7234 section 5.5, PS3.18 section 8.5): a sentence beside an answer.

What a sentence repeats of a request may be anything: a header is ASCII on one line, and a sentence
in it a quoted-string that ends where it should.
"""

import re

_NOT_PRINTABLE = re.compile(r"[^ -~]")
_ESCAPED = re.compile(r'(["\\])')


def warning(agent: str, sentence: str) -> str:
    """A header's value: what `agent` warns of."""
    printable = _NOT_PRINTABLE.sub("?", sentence)
    quoted = _ESCAPED.sub(r"\\\1", printable)
    return f'299 {agent} "{quoted}"'

"""Values of header fields: lists, media types with parameters, and warnings.

Lists and media types follow RFC 9110 sections 5.6 and 8.3. A client may send anything in a
header, so nothing here raises: malformed text becomes an empty media type or is left out. RFC
2231's continuations (`name*0=`) are not part of HTTP and are plain parameter names. The modules
that use a media type decide what it means.
"""

import re

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_ESCAPED = re.compile(r'(["\\])')


def split_unquoted(text: str, separator: str) -> list[str]:
    """Return the pieces between separators outside of quoted strings, blanks around them removed.

    Empty pieces are left out.
    """
    pieces, begin, quoted, escaped = [], 0, False, False
    for place, each in enumerate(text):
        if escaped:
            escaped = False
        elif each == "\\" and quoted:
            escaped = True
        elif each == '"':
            quoted = not quoted
        elif each == separator and not quoted:
            pieces.append(text[begin:place])
            begin = place + 1
    pieces.append(text[begin:])
    return [stripped for piece in pieces if (stripped := piece.strip())]


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """Return type/subtype in lower case and the parameters by lower-case names.

    The type is empty where the text begins with none. The last of two parameters of one name
    counts.
    """
    name, _, rest = text.partition(";")
    name = name.strip().lower()
    kind, _, subtype = name.partition("/")
    if not (kind and subtype and _TOKEN.issuperset(kind) and _TOKEN.issuperset(subtype)):
        return "", {}
    return name, dict(map(_parameter, split_unquoted(rest, ";")))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    plain, escaped = [], False
    for each in value[1:-1]:
        escaped = each == "\\" and not escaped
        if not escaped:
            plain.append(each)
    return "".join(plain)


def warning(agent: str, sentence: str) -> str:
    """Return the value of a Warning header from `agent` (RFC 7234 section 5.5, PS3.18 8.5).

    A sentence may repeat any text of a request, so it is reduced to printable ASCII on one line and
    quoted as a quoted-string.
    """
    printable = _NOT_PRINTABLE.sub("?", sentence)
    quoted = _ESCAPED.sub(r"\\\1", printable)
    return f'299 {agent} "{quoted}"'

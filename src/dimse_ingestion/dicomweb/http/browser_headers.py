"""What a browser is told beside each file that a door shows it, whichever page it belongs to.

The policy is each page's own; services for programs have none of these.
"""

from collections.abc import Mapping


def browser_headers(policy: Mapping[str, str]) -> dict[str, str]:
    """Headers of a page's files, `policy` being its Content Security Policy by directives.

    They are kept and asked after each time: the files of one version stay together.
    """
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

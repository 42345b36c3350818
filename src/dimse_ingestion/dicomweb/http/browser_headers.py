"""Response headers for the files of web pages: security policy, caching, referrer.

The page and the viewer each give their own policy. DICOMweb responses do not have these headers.
"""

from collections.abc import Mapping


def browser_headers(policy: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a page's files; `policy` is its Content Security Policy by directives.

    Browsers cache the files but revalidate them each time, so that files of one version are used
    together.
    """
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

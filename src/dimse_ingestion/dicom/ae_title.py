"""Validation and comparison of AE titles (PS3.5 section 6.2, VR AE)."""

_MAXIMUM_LENGTH = 16


def normalize(ae_title: str) -> str:
    """Return the title without outer blanks, which are not significant (PS3.8 table 9-11)."""
    return ae_title.strip(" ")


def validate(ae_title: str) -> str:
    """Return the normalized title.

    Raises ValueError with a sentence that says what to change if it is empty, longer than 16
    characters, or has a character that is not allowed in an AE title.
    """
    title = normalize(ae_title)
    if not title:
        raise ValueError("The AE title is empty: give one of 1 to 16 characters.")
    if len(title) > _MAXIMUM_LENGTH:
        raise ValueError(f"The AE title {title!r} has {len(title)} characters: 16 is the most.")
    if "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError(
            f"The AE title {title!r} has a character that is not allowed: use printable ASCII "
            "without a backslash."
        )
    return title

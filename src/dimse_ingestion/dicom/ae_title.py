"""AE titles (PS3.5 section 6.2, VR AE): what may stand in one, and when two are the same."""

_MAXIMUM_LENGTH = 16


def normalize(ae_title: str) -> str:
    """The title without its outer blanks, which don't count (PS3.8 table 9-11)."""
    return ae_title.strip(" ")


def validate(ae_title: str) -> str:
    """The normalized title.

    Raises ValueError with a sentence that says what to change when it is empty, longer than 16
    characters, or has a character that an AE title can't have.
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

"""Container images for tests: the product's own, and those of what it stands on.

`product_image` builds the Dockerfile and names the image by its content, so that an unchanged tree
is
not built again; `third_party` gives the official pinned image where registries are reached, else
the one made from package registries alone (`harness.airgap`). `python -m harness.images` is
`make image`.
"""

from collections.abc import Callable
from typing import Literal

ThirdParty = Literal["nats", "minio", "postgresql"]
Say = Callable[[str], None]


def product_image(say: Say = print) -> str:
    """Build the product's image unless this very tree is built; gives its reference."""
    raise NotImplementedError


def third_party(name: ThirdParty, say: Say = print) -> str:
    """The image's reference; pulled or built so that the engine has it."""
    raise NotImplementedError

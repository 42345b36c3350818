"""The catalogue's Secret is generated once, and is a user's to change: nothing fights over it."""

import base64

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.asked import OURS, Asked, Manifest, example, secret
from tests.integration.operator.test_definitions import changed

CORE = example("core.yaml")
SECRET = ("v1", "Secret", "core-catalogue")


@pytest.fixture
def generated(asked: Asked, operator: ServiceProcess) -> Manifest:
    """The Secret, once its resource's release is there."""
    asked.apply(CORE)
    asked.have_pods("core-catalogue")
    asked.phase(CORE, "Ready")
    return there(asked)


def there(asked: Asked) -> Manifest:
    found = eventually(lambda: asked.found(*SECRET), lambda seen: seen is not None)
    assert found is not None
    return found


def looked_at_again(asked: Asked, size: str) -> None:
    """Have the resource changed, and wait until its release is what it says now."""
    catalogue = CORE["spec"]["values"]["catalogue"] | {"podAnnotations": {"size": size}}
    asked.apply(changed(CORE, values={"catalogue": catalogue}))
    eventually(
        lambda: asked.found("apps/v1", "Deployment", "core-catalogue"),
        lambda seen: (
            seen["spec"]["template"]["metadata"].get("annotations", {}).get("size") == size
        ),
    )


def test_it_has_what_both_sides_need_and_goes_with_its_resource(
    asked: Asked, generated: Manifest
) -> None:
    assert set(generated["data"]) == {"ca.crt", "tls.crt", "tls.key", "token"}
    assert len(base64.b64decode(generated["data"]["token"])) == 43
    assert asked.status(CORE)["secondaryResources"]["Secret"] == ["core-catalogue"]
    asked.delete(OURS, CORE["kind"], "core")
    eventually(lambda: asked.found(*SECRET), lambda seen: seen is None, 60)


def test_further_looks_leave_it_as_it_is(asked: Asked, generated: Manifest) -> None:
    for size in ("one", "two"):
        looked_at_again(asked, size)
        assert (
            there(asked)["metadata"]["resourceVersion"]
            == (generated["metadata"]["resourceVersion"])
        )


def test_another_operator_leaves_it_too(
    asked: Asked, generated: Manifest, operator: ServiceProcess
) -> None:
    operator.stop()
    operator.start().ready()
    looked_at_again(asked, "after")
    assert there(asked)["data"] == generated["data"]


def test_a_token_that_a_user_writes_stays(asked: Asked, generated: Manifest) -> None:
    asked.edit(*SECRET, {"stringData": {"token": "mine", "previous-token": "former"}})
    looked_at_again(asked, "after")
    assert base64.b64decode(there(asked)["data"]["token"]) == b"mine"
    assert "previous-token" in there(asked)["data"]


def test_deleted_it_is_generated_anew(asked: Asked, generated: Manifest) -> None:
    asked.delete(*SECRET)
    anew = eventually(lambda: asked.found(*SECRET), lambda seen: seen is not None)
    assert anew is not None
    assert anew["data"]["token"] != generated["data"]["token"]
    assert anew["metadata"]["ownerReferences"] == generated["metadata"]["ownerReferences"]


def test_it_goes_when_another_is_named(asked: Asked, generated: Manifest) -> None:
    asked.apply(changed(CORE, catalogueSecret="own"))
    eventually(lambda: asked.found(*SECRET), lambda seen: seen is None, 60)
    eventually(
        lambda: asked.status(CORE).get("message", ""),
        lambda seen: "Missing catalogue Secret own." in seen,
    )
    asked.apply(secret("own", **{"tls.crt": "certificate", "tls.key": "key", "token": "token"}))
    asked.have_pods("core-catalogue")
    asked.phase(CORE, "Ready")


def test_anothers_secret_of_that_name_is_not_taken_over(
    asked: Asked, operator: ServiceProcess
) -> None:
    asked.apply(secret("core-catalogue", token="anothers"))
    asked.apply(CORE)
    asked.phase(CORE, "Failed", "Secret core-catalogue exists and does not belong to this resource")
    assert base64.b64decode(there(asked)["data"]["token"]) == b"anothers"

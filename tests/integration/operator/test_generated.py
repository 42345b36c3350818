"""The catalogue's Secret is generated once, and is a user's to change: nothing fights over it."""

import base64

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.namespace_api import OURS, Manifest, NamespaceApi, example, secret
from tests.integration.operator.test_definitions import changed

CORE = example("core.yaml")
SECRET = ("v1", "Secret", "core-catalogue")


@pytest.fixture
def generated(api: NamespaceApi, operator: ServiceProcess) -> Manifest:
    """Return the Secret, once its resource's release is there."""
    api.apply(CORE)
    api.set_pods("core-catalogue")
    api.wait_for_phase(CORE, "Ready")
    return there(api)


def there(api: NamespaceApi) -> Manifest:
    match = eventually(lambda: api.get(*SECRET), lambda seen: seen is not None)
    assert match is not None
    return match


def annotations(deployment: Manifest) -> Manifest:
    """Return the annotations of a Deployment's pods."""
    found: Manifest = deployment["spec"]["template"]["metadata"].get("annotations", {})
    return found


def looked_at_again(api: NamespaceApi, size: str) -> None:
    """Change the resource, and wait until its release is reconciled."""
    catalogue = CORE["spec"]["values"]["catalogue"] | {"podAnnotations": {"size": size}}
    api.apply(changed(CORE, values={"catalogue": catalogue}))
    eventually(
        lambda: api.get("apps/v1", "Deployment", "core-catalogue"),
        lambda seen: seen is not None and annotations(seen).get("size") == size,
    )


def test_it_has_what_both_sides_need_and_goes_with_its_resource(
    api: NamespaceApi, generated: Manifest
) -> None:
    assert set(generated["data"]) == {"ca.crt", "tls.crt", "tls.key", "token"}
    assert len(base64.b64decode(generated["data"]["token"])) == 43
    assert api.status(CORE)["secondaryResources"]["Secret"] == ["core-catalogue"]
    api.delete(OURS, CORE["kind"], "core")
    eventually(lambda: api.get(*SECRET), lambda seen: seen is None, 60)


def test_further_reconciliations_leave_it_as_it_is(api: NamespaceApi, generated: Manifest) -> None:
    for size in ("one", "two"):
        looked_at_again(api, size)
        assert (
            there(api)["metadata"]["resourceVersion"] == (generated["metadata"]["resourceVersion"])
        )


def test_another_operator_leaves_it_too(
    api: NamespaceApi, generated: Manifest, operator: ServiceProcess
) -> None:
    operator.stop()
    operator.start().ready()
    looked_at_again(api, "after")
    assert there(api)["data"] == generated["data"]


def test_a_token_that_a_user_writes_stays(api: NamespaceApi, generated: Manifest) -> None:
    api.edit(*SECRET, {"stringData": {"token": "mine", "previous-token": "former"}})
    looked_at_again(api, "after")
    assert base64.b64decode(there(api)["data"]["token"]) == b"mine"
    assert "previous-token" in there(api)["data"]


def test_deleted_it_is_generated_anew(api: NamespaceApi, generated: Manifest) -> None:
    api.delete(*SECRET)
    anew = eventually(lambda: api.get(*SECRET), lambda seen: seen is not None)
    assert anew is not None
    assert anew["data"]["token"] != generated["data"]["token"]
    assert anew["metadata"]["ownerReferences"] == generated["metadata"]["ownerReferences"]


def test_it_goes_when_another_is_named(api: NamespaceApi, generated: Manifest) -> None:
    api.apply(changed(CORE, catalogueSecret="own"))
    eventually(lambda: api.get(*SECRET), lambda seen: seen is None, 60)
    eventually(
        lambda: api.status(CORE).get("message", ""),
        lambda seen: "Missing catalogue Secret own." in seen,
    )
    api.apply(secret("own", **{"tls.crt": "certificate", "tls.key": "key", "token": "token"}))
    api.set_pods("core-catalogue")
    api.wait_for_phase(CORE, "Ready")


def test_foreign_secret_of_that_name_is_not_taken_over(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(secret("core-catalogue", token="anothers"))
    api.apply(CORE)
    api.wait_for_phase(
        CORE, "Failed", "Secret core-catalogue exists and does not belong to this resource"
    )
    assert base64.b64decode(there(api)["data"]["token"]) == b"anothers"

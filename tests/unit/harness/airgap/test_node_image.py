import pytest

from harness.airgap.node_image import component


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("registry.k8s.io/kube-apiserver:v1.34.4", "kube-apiserver"),
        ("registry.k8s.io/coredns/coredns:v1.12.1", "coredns"),
        ("localhost:5000/etcd:3.6.5-0", "etcd"),
    ],
)
def test_an_image_is_identified_by_its_last_name(image: str, name: str) -> None:
    assert component(image) == name

"""The image of kind's node: Debian, kind's own files, Kubernetes, and the images kubeadm needs.

What kind's base image has and this hasn't: snapshotters other than overlayfs, crictl, and
networks other than a bridge on the one node.
"""

import contextlib
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.airgap import go_programs, images, pins
from harness.airgap.cache import Cache
from harness.airgap.engine import RUNTIME
from harness.commands import Unusable, output, succeeds

PACKAGES = (
    *(
        "systemd",
        "systemd-sysv",
        "dbus",
        "conntrack",
        "iptables",
        "nftables",
        "iproute2",
        "ethtool",
    ),
    *(
        "kmod",
        "mount",
        "util-linux",
        "ca-certificates",
        "curl",
        "jq",
        "procps",
        "containerd",
        "runc",
    ),
    *("containernetworking-plugins", "libseccomp2", "pigz"),
)

BASE_IMAGE = f"airgap/kind-base:{pins.KUBERNETES}"
_KUBERNETES_IMAGE = f"airgap/kubernetes:{pins.KUBERNETES}"
_CONTAINER = "airgap-node"
_LONGEST_CONTAINERD = 30.0
_FOLDERS = ("etc/containerd", "etc/kubernetes/manifests", "opt/cni/bin")

COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubeadm")
"""What the program kubernetes is called by in images; the node itself has kubelet and kubectl."""

SANDBOX = "registry.k8s.io/pause:3.10"
"""What the node's containerd starts each pod with."""


def create(cache: Cache) -> None:
    """Make the node image unless it exists; its programs have been built."""
    if images.exists(pins.NODE_IMAGE):
        return
    base(cache)
    names = kubeadms_images(cache)
    with _containerd(cache):
        archive = cache.root / "images.tar"
        output("docker", "save", "--output", str(archive), *names)
        _on_node("ctr", "-n", "k8s.io", "images", "import", "--no-unpack", "/cache/images.tar")
        archive.unlink()
    _commit()


def base(cache: Cache) -> None:
    """Make the image without images in it, unless it exists."""
    if images.exists(BASE_IMAGE):
        return
    with images.root_folder(cache, PACKAGES) as folder:
        for files in (go_programs.kinds_files(cache), pins.NODE_MODULE / "files"):
            _copied(files, folder)
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "kind" / "version").write_text(pins.KUBERNETES)
        shutil.copy(cache.program("kubernetes"), folder / "usr/bin/kubernetes")
        shutil.copy(RUNTIME, folder)
        output(
            "chroot", folder, "/bin/sh", "-s", given=(pins.NODE_MODULE / "prepare.sh").read_text()
        )
        images.import_root(folder, BASE_IMAGE)


def kubeadms_images(cache: Cache) -> list[str]:
    """Create the images that kubeadm starts the control plane from; return their names."""
    _kubernetes_image(cache)
    message = output("docker", "run", "--rm", "--network=none", _KUBERNETES_IMAGE, *_LISTING)
    wanted = [*message.split(), SANDBOX]
    for image in wanted:
        _made_one(cache, image)
    return wanted


_LISTING = ("kubeadm", "config", "images", "list", "--kubernetes-version", pins.KUBERNETES)


def component(image: str) -> str:
    """Return the program of an image: registry.k8s.io/coredns/coredns:v1 is coredns."""
    return image.rsplit("/", 1)[-1].split(":", 1)[0]


def _made_one(cache: Cache, image: str) -> None:
    match component(image):
        case "etcd" | "coredns" | "pause" as name:
            images.of_program(image, cache.program(name))
        case "kube-proxy":  # it calls iptables, so Debian is laid over it
            debian = f"COPY --from={pins.DEBIAN_IMAGE} / /"
            images.build(image, [f"FROM {_KUBERNETES_IMAGE}", debian, 'ENTRYPOINT ["kube-proxy"]'])
        case name:
            images.build(image, [f"FROM {_KUBERNETES_IMAGE}", f'ENTRYPOINT ["{name}"]'])


def _kubernetes_image(cache: Cache) -> None:
    """Build one layer with all commands and no base: a node unpacks it before any pod starts."""
    with tempfile.TemporaryDirectory(dir=cache.root) as folder:
        archive = Path(folder) / "commands.tar"
        with tarfile.open(archive, "w") as packed:
            packed.add(cache.program("kubernetes"), "usr/local/bin/kubernetes")
            for name in COMMANDS:
                link = tarfile.TarInfo(f"usr/local/bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "kubernetes"
                packed.addfile(link)
        path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        images.build(_KUBERNETES_IMAGE, ["FROM scratch", f"ADD {archive.name} /", path], [archive])


@contextlib.contextmanager
def _containerd(cache: Cache) -> Iterator[None]:
    """Yield the node's containerd running in a container, into whose store images are brought."""
    output("docker", "rm", "--force", _CONTAINER)
    output(
        *("docker", "run", "--detach", "--privileged", "--network=none", f"--name={_CONTAINER}"),
        *(f"--volume={cache.root}:/cache:ro", "--entrypoint=/bin/sh", BASE_IMAGE),
        *("-c", "containerd >/tmp/containerd.log 2>&1 & exec sleep infinity"),
    )
    deadline = time.monotonic() + _LONGEST_CONTAINERD
    while not succeeds("docker", "exec", _CONTAINER, "ctr", "version"):
        if time.monotonic() > deadline:
            raise Unusable(f"containerd does not start:\n{_on_node('cat', '/tmp/containerd.log')}")
        time.sleep(0.2)
    yield
    _on_node("sh", "-c", "kill $(pidof containerd); while pidof containerd; do sleep 0.1; done")
    _on_node("rm", "-f", "/tmp/containerd.log")


def _commit() -> None:
    """Keep the container as the node image."""
    changes = (
        "ENV container=docker",
        'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]',
        "CMD []",
    )
    described = [word for change in changes for word in ("--change", change)]
    output("docker", "commit", *described, _CONTAINER, pins.NODE_IMAGE)
    output("docker", "rm", "--force", _CONTAINER)


def _on_node(*command: str) -> str:
    return output("docker", "exec", _CONTAINER, *command)


def _copied(files: Path, folder: Path) -> None:
    """Copy files over a root folder, writable: Go's modules are read-only."""
    output("cp", "--recursive", "--no-preserve=mode", f"{files}/.", folder)
    for scripts in ("kind/bin", "usr/local/bin"):
        for script in (folder / scripts).iterdir():
            script.chmod(0o755)

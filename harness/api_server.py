"""A real Kubernetes API server for tests: etcd and kube-apiserver, and nothing that runs pods.

Both listen on free ports of 127.0.0.1 with certificates of their own. Users come by tokens, with
RBAC, so that an account's rights are those its roles give it. The garbage collector is the only
controller, started on request. No pod ever runs: a test writes the status of a Deployment.
The programs are the airgap's; `python -m harness.api_server` builds them with Go.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.client import ApiClient, CoreV1Api, RbacAuthorizationV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

from harness import pausing
from harness.airgap import go_programs
from harness.airgap.cache import cache
from harness.airgap.progress import Progress
from harness.commands import Say, print_line
from harness.ports import free_port

_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
_LONGEST_START = 60.0
_LONGEST_STOP = 10.0


def why_not() -> str:
    """Return why no API server can be started here, in a sentence; empty when it can."""
    absent = [name for name in _PROGRAMS if binary(name) is None]
    if not absent:
        return ""
    return f"{', '.join(absent)} not in the cache: build them by python -m harness.api_server"


def binary(name: str) -> Path | None:
    """Return the program, or Kubernetes' all-in-one program under the name it is called by."""
    names = (name,) if name == "etcd" else (name, "kubernetes")
    return next((cache().program(each) for each in names if cache().has(each)), None)


@dataclass
class ApiServer:
    """The processes and where they are reached; `start` before anything else."""

    folder: Path
    port: int = field(default_factory=free_port)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"https://127.0.0.1:{self.port}"

    def start(self, accounts: Sequence[str] = ()) -> None:
        """Start, and return once it is ready; `accounts` (namespace:name) may come, too.

        Raises RuntimeError with the end of its log if it doesn't become ready.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_certificates()
        self._write_users(accounts)
        peers, clients = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._run("etcd", *_etcd(self.folder, peers, clients))
        server = self._run("kube-apiserver", *_apiserver(self.folder, self.port, clients))
        self._wait_until_ready(server)

    def collect_garbage(self) -> None:
        """Start the garbage collector, which deletes objects of deleted owners."""
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig()}",
            "--controllers=garbage-collector-controller",
            "--leader-elect=false",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder}/controllers",
        )

    def kubeconfig(self, account: str = "") -> Path:
        """Return a kubeconfig of an account, or of one that may do everything."""
        file = self.folder / f"kubeconfig-{account.replace(':', '-') or 'administrator'}"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.pem")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": self._tokens[account]}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "user"}}],
            "current-context": "tests",
        }
        file.write_text(json.dumps(content))
        return file

    def client(self, account: str = "") -> ApiClient:
        """Return a client with that account's rights."""
        made: ApiClient = new_client_from_config(str(self.kubeconfig(account)))
        return made

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections stay and get no answer."""
        pausing.pause(self._processes[1])

    def resume(self) -> None:
        """Continue the process (SIGCONT)."""
        pausing.resume(self._processes[1])

    def kill(self) -> None:
        """Stop everything and delete its data."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(_LONGEST_STOP)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [program, *arguments], executable=binary(program), stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        server = authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.folder / "accounts.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )

    def _write_users(self, accounts: Sequence[str]) -> None:
        self._tokens = {each: secrets.token_hex(16) for each in ("", *accounts)}
        lines = [f'{self._tokens[""]},administrator,0,"system:masters"']
        for number, each in enumerate(accounts, 1):
            group = f"system:serviceaccounts,system:serviceaccounts:{each.split(':')[0]}"
            lines.append(f'{self._tokens[each]},system:serviceaccount:{each},{number},"{group}"')
        (self.folder / "tokens.csv").write_text("\n".join(lines) + "\n")

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _LONGEST_START
        while time.monotonic() < deadline and server.poll() is None:
            if _answers(self.client()):
                return
            time.sleep(0.05)
        log = (self.folder / "kube-apiserver.log").read_text(errors="replace")
        self.kill()
        raise RuntimeError(f"kube-apiserver is not ready:\n{log[-3000:]}")


def _answers(client: ApiClient) -> bool:
    """Return whether it is ready, with its own roles and the namespace `default`."""
    try:
        roles = RbacAuthorizationV1Api(client)
        roles.read_cluster_role_binding("system:discovery", _request_timeout=2)
        CoreV1Api(client).read_namespace("default", _request_timeout=2)
    except (ApiException, HTTPError):
        return False
    return True


def _etcd(folder: Path, peers: str, clients: str) -> list[str]:
    return [
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
    ]


def _apiserver(folder: Path, port: int, etcd: str) -> list[str]:
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/server.pem",
        f"--tls-private-key-file={folder}/server.pem",
        f"--cert-dir={folder}/certificates",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://tests.invalid",
        f"--service-account-key-file={folder}/accounts.key",
        f"--service-account-signing-key-file={folder}/accounts.key",
        # no controller makes the accounts that this one would wait for
        "--disable-admission-plugins=ServiceAccount",
        # OpenShift has it on: an owner may only be named by who may finalize it
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
    ]


@contextmanager
def api_server(folder: Path, accounts: Sequence[str] = ()) -> Iterator[ApiServer]:
    """Yield a running one for the length of a `with`, then none."""
    server = ApiServer(folder)
    try:
        server.start(accounts)
        yield server
    finally:
        server.kill()


def build(say: Say = print_line) -> None:
    """Build what is missing where the airgap finds it, too; minutes on the first run."""
    if why_not():
        with Progress(1, say).step("building etcd and Kubernetes"):
            go_programs.node_programs(cache())


if __name__ == "__main__":
    build()

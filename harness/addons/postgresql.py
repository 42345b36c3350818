"""PostgreSQL in the cluster, for catalogues: a database for each, and a role that owns only it.

Reachable only inside the cluster. The administrator's password is in the Secret
`postgresql-authority`; a role's follows from it, so that every call gives the same URL.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.addons.workload import NAMESPACE, SecretFiles, Workload, derived_password, revision
from harness.images import in_cluster
from harness.kubernetes_objects import Namespace

if TYPE_CHECKING:
    from harness.cluster import Cluster

_AUTHORITY = "postgresql-authority"
_SELECTOR = "app.kubernetes.io/name=postgresql"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,50}")
_DATA = "/var/lib/postgresql"
_START = f"""
export PATH="$PATH:$(echo /usr/lib/postgresql/*/bin)" PGDATA={_DATA}/data
test -s "$PGDATA/PG_VERSION" || initdb --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
  --auth-local=trust --auth-host=scram-sha-256 --no-instructions
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp \
  -c hba_file=/etc/postgresql-addon/pg_hba.conf
"""
_ACCESS = "local all all trust\nhost all all all scram-sha-256\n"


@dataclass(frozen=True)
class PostgresqlAddon:
    """PostgreSQL as it runs in `namespace`; made by `installed`."""

    namespace: Namespace
    authority: Mapping[str, str]

    def database(self, name: str) -> str:
        """Create a database and its role unless they exist; return its URL inside the cluster.

        `name` is of lower-case letters, digits and `_`.
        """
        assert _NAME.fullmatch(name), f"{name!r} can't be a database's name here"
        password = derived_password(self.authority["password"], name)
        if not self.query(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
            self.query(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        if not self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.query(f"CREATE DATABASE {name} OWNER {name}")
            self.query(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        return f"postgresql://{name}:{password}@postgresql.{NAMESPACE}.svc:5432/{name}"

    def drop_database(self, name: str) -> None:
        """Drop a database and its role with all connections, if they exist."""
        self.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.query(f"DROP ROLE IF EXISTS {name}")

    def query(self, statement: str, database: str = "postgres") -> str:
        """Return the rows of a statement, a line each, as the administrator sees them."""
        pod = self.namespace.pods(_SELECTOR)[0]["metadata"]["name"]
        command = ["psql", "-h", "/tmp", "-U", "postgres", "-d", database]
        return self.namespace.execute(
            pod, [*command, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
        ).strip()

    def stop(self) -> None:
        """Scale to zero and wait until no pod runs; the data stay."""
        self.namespace.scale("postgresql", 0)

    def start(self) -> None:
        """Scale up and wait until it is ready."""
        self.namespace.scale("postgresql", 1)

    def remove(self) -> None:
        """Remove it with every database."""
        for kind in ("Deployment", "Service", "Secret", "PersistentVolumeClaim"):
            self.namespace.remove_all(kind, _SELECTOR)


def install(cluster: "Cluster") -> PostgresqlAddon:
    """Install PostgreSQL and wait until it is ready; one that runs already stays, data and all."""
    image = in_cluster(cluster, "postgresql")
    namespace = Namespace(cluster.kubeconfig, NAMESPACE).create()
    authority = namespace.ensure_secret(
        _AUTHORITY,
        lambda: {"password": secrets.token_urlsafe(24), "pg_hba.conf": _ACCESS},
        "postgresql",
    )
    namespace.apply(*_workload(image, revision(authority)).objects({}))
    namespace.wait_until_rolled_out("postgresql")
    return PostgresqlAddon(namespace, authority)


def _workload(image: str, of: str) -> Workload:
    ready = "exec $(ls -d /usr/lib/postgresql/*/bin)/pg_isready -q -h 127.0.0.1"
    return Workload(
        name="postgresql",
        image=image,
        user=999,
        ports={"postgresql": 5432},
        command=["/bin/sh", "-ec", _START],
        readiness={"exec": {"command": ["/bin/sh", "-c", ready]}},
        secrets=[SecretFiles(_AUTHORITY, "/etc/postgresql-addon", {"pg_hba.conf": "pg_hba.conf"})],
        data=_DATA,
        data_size="1Gi",
        revision=of,
    )

"""A server's certificate by a CA of its own, created once for an addon and stored in its Secret."""

from collections.abc import Iterable

import trustme
from cryptography import x509


def certified(*names: str) -> dict[str, str]:
    """Return a new CA and a server's certificate for these host names and addresses, as PEM.

    Keys as in a Secret of type `kubernetes.io/tls`: `ca.crt`, `tls.crt`, `tls.key`.
    """
    authority = trustme.CA()
    issued = authority.issue_cert(*dict.fromkeys(names))
    return {
        "ca.crt": authority.cert_pem.bytes().decode(),
        "tls.crt": "".join(part.bytes().decode() for part in issued.cert_chain_pems),
        "tls.key": issued.private_key_pem.bytes().decode(),
    }


def is_for(certificate_pem: str, names: Iterable[str]) -> bool:
    """Return whether a server's certificate is for all these names."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    output = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names) <= {str(each.value) for each in output.value}


def names_of(service: str, namespace: str, outside: Iterable[str] = ()) -> list[str]:
    """Return every host name of a Service: in the cluster, on this machine, and `outside`."""
    inside = f"{service}.{namespace}.svc"
    return [inside, f"{inside}.cluster.local", service, "localhost", "127.0.0.1", *outside]

"""TLS to every Sentinel, server and node; who they are is verified by default."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from redis_memory import ConfigurationError
from redis_memory.link import links
from redis_memory.settings import Settings
from tests.certificates import make_certificates
from tests.groups import Cluster, Service
from tests.outages.faces import Awaited, Blocking, OpenFace
from tests.servers import available_binaries, supports_tls

Group = Cluster | Service


@pytest.fixture(scope="module")
def binary() -> Path:
    """A server that speaks TLS."""
    for path in available_binaries().values():
        if supports_tls(path):
            return path
    pytest.skip("no server here speaks TLS")


@pytest.fixture(params=[Cluster, Service])
def group(request: pytest.FixtureRequest, binary: Path, tmp_path: Path) -> Iterator[Group]:
    """A cluster and a service whose members all speak TLS, to each other too."""
    with request.param(binary, certificates=make_certificates(tmp_path)) as group:
        yield group


def test_a_known_authority_is_believed(
    open_face: OpenFace, group: Group, tmp_path: Path, name: str
) -> None:
    """With its file in the query, commands and the feed go through TLS, also after a failover."""
    url = f"{group.url}?ssl_ca_certs={tmp_path / 'ca.pem'}"
    face = open_face(name, url, timeout_s=2.0, read_mode="cached")
    face.assign("log", [])
    face.push("log", 1)
    assert face.function("wait_for", "log", [1], timeout_s=5.0) == [1]
    if isinstance(group, Service):
        lost = group.primary
        lost.kill()
        group.wait_for_another(lost)
        face.push("log", 2)
        assert face.flush() == 0
        assert face.read("log") == [1, 2]


def test_an_unknown_authority_is_refused(open_face: OpenFace, group: Group, name: str) -> None:
    """It is no outage: the message says what is wrong, and nothing is queued."""
    face = open_face(name, group.url, timeout_s=2.0)
    with pytest.raises(ConfigurationError, match="certificate"):
        face.assign("topic", "billing")
    assert isinstance(face, Blocking | Awaited)
    assert "queued" not in repr(face.memory)


def test_plain_text_to_tls_is_explained(open_face: OpenFace, group: Group, name: str) -> None:
    """A url that lacks its `s` is told so."""
    face = open_face(name, group.url.replace("rediss", "redis"), timeout_s=2.0)
    with pytest.raises(ConfigurationError, match="rediss"):
        face.assign("topic", "billing")


@pytest.mark.parametrize("kind", ["redis+cluster://h:1", "redis+sentinel://h:1/main"])
@pytest.mark.parametrize("is_async", [False, True])
def test_names_and_certificates_are_verified_unless_told_otherwise(
    kind: str, *, is_async: bool
) -> None:
    """The default of every connection is the strict one."""
    url = kind.replace("redis+", "rediss+")

    def made(url: str) -> tuple[bool, ssl.VerifyMode]:
        address = links.address_for(Settings(url=SecretStr(url)), None, is_async=is_async)
        connection = address.connection()
        context = getattr(connection, "ssl_context", connection)
        return context.check_hostname, context.cert_reqs

    assert made(url) == (True, ssl.CERT_REQUIRED)
    assert made(f"{url}?ssl_check_hostname=false") == (False, ssl.CERT_REQUIRED)
    assert made(f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false")[1] == ssl.CERT_NONE

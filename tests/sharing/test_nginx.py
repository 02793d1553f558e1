from __future__ import annotations

import re

from loopat_jupyter.sharing.nginx import config_version, edge_config
from loopat_jupyter.sharing.plan import Site, Stream

ADDRESS = "127.0.0.1:7788"
SITES = (Site(host="bikes.localhost", upstream="10.0.0.1:8000"), Site(host="cars.localhost", upstream=None))
STREAMS = (
    Stream(public_port=7800, protocol="udp", upstream="10.0.0.3:53"),
    Stream(public_port=7801, protocol="tcp", upstream="10.0.0.4:22"),
)


def test_the_configuration_names_what_is_shared_and_nothing_else():
    config = edge_config(ADDRESS, SITES, STREAMS)
    names = re.findall(r"server_name (.*);", config)
    assert names == ["bikes.localhost", "cars.localhost"]
    assert re.findall(r"(?:server|proxy_pass) (\S+);", config) == [
        "10.0.0.1:8000", "http://loop0", "10.0.0.3:53", "10.0.0.4:22",
    ]  # fmt: skip
    assert re.findall(r"listen (127.*);", config) == [f"{ADDRESS} default_server", ADDRESS, ADDRESS]
    assert re.findall(r"listen (78.*);", config) == ["7800 udp", "7801"]
    assert config.count("{") == config.count("}")


def test_idle_connections_to_a_program_end_before_the_program_ends_them():
    # Uvicorn and Node.js do after five seconds.
    assert re.search(
        r"\n    upstream loop0 \{[^}]*\n        keepalive_timeout 4s;", edge_config(ADDRESS, SITES, STREAMS)
    )


def test_every_configuration_has_a_version_of_its_own():
    versions = {
        config_version(edge_config(ADDRESS, sites, streams))
        for sites, streams in ((SITES, STREAMS), (SITES, ()), ((), STREAMS), ((), ()), (SITES[1:], STREAMS))
    }
    assert len(versions) == 5
    assert all(re.fullmatch(r"[0-9a-f]{16}", version) for version in versions)
    assert config_version(edge_config(ADDRESS, SITES, STREAMS)) == config_version(edge_config(ADDRESS, SITES, STREAMS))
    assert config_version("nothing") == ""

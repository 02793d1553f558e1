"""The configuration of nginx in the edge; pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from loopat_jupyter.sharing.plan import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopat_jupyter.sharing.plan import Site, Stream

VERSION_PATH = "/version"
"""Where the edge tells the host by which configuration it works."""


def edge_config(address: str, sites: Sequence[Site], streams: Sequence[Stream]) -> str:
    """The whole `nginx.conf` of the edge. What it answers at `VERSION_PATH` on its socket is `config_version` of it.

    Args:
        address: Where what goes by host name is found: that of the socket that nginx is given, to the letter.
        sites: What goes by host name.
        streams: What goes by a port of the host.
    """
    servers = "".join(_site(number, site) for number, site in enumerate(sites))
    passed = "".join(
        _STREAM.format(
            port=stream.public_port,
            udp=" udp" if stream.protocol == "udp" else "",
            idle="10m" if stream.protocol == "udp" else "1d",
            upstream=stream.upstream,
        )
        for stream in streams
    )
    text = (_HEAD + servers + "}\n\nstream {" + passed + "}\n").replace("@address@", address)
    return text.replace("@version@", hashlib.sha256(text.encode()).hexdigest()[:16])


def _site(number: int, site: Site) -> str:
    if site.upstream is None:
        return _STOPPED.format(host=site.host)
    return _SITE.format(number=number, host=site.host, upstream=site.upstream)


def config_version(config: str) -> str:
    """What the edge answers once it works by this configuration."""
    found = re.search(r"return 200 ([0-9a-f]{16});", config)
    return found[1] if found else ""


_HEAD = f"""\
include /etc/nginx/modules-enabled/*.conf;
worker_processes 1;
worker_rlimit_nofile 16384;
# Who is connected while the configuration changes is served to the end by the process that began it.
worker_shutdown_timeout 1d;
error_log stderr crit;
pid /tmp/nginx.pid;
events {{ worker_connections 8192; }}

http {{
    default_type text/html;
    charset utf-8;
    access_log off;
    server_tokens off;
    server_names_hash_bucket_size 256;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}
    map $http_x_forwarded_proto $forwarded_proto {{
        default $http_x_forwarded_proto;
        "" $scheme;
    }}
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    # Orders to nginx are not the program's business.
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_connect_timeout 5s;
    # A websocket may be silent for long.
    proxy_read_timeout 1d;
    proxy_send_timeout 1d;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $forwarded_proto;

    server {{
        listen @address@ default_server;
        error_page 404 /404.html;
        location = /404.html {{ internal; root /usr/share/loopat; }}
        location / {{ return 404; }}
    }}
    server {{
        listen unix:{RUN}/http.sock default_server;
        location = {VERSION_PATH} {{ return 200 @version@; }}
        location / {{ return 404; }}
    }}
"""

_SERVER = f"""\
        listen @address@;
        listen unix:{RUN}/http.sock;
        server_name {{host}};
        error_page 502 504 /.loopat/502.html;
        location = /.loopat/502.html {{{{ internal; alias /usr/share/loopat/502.html; }}}}
"""

_SITE = f"""
    upstream loop{{number}} {{{{
        server {{upstream}};
        keepalive 64;
        # Sooner than uvicorn and Node.js close them (5 s): a POST that comes just then would be a 502.
        keepalive_timeout 4s;
    }}}}
    server {{{{
{_SERVER}\
        location / {{{{ proxy_pass http://loop{{number}}; }}}}
    }}}}
"""

_STOPPED = f"""
    server {{{{
{_SERVER}\
        location / {{{{ return 502; }}}}
    }}}}
"""

_STREAM = """
    server {{
        listen {port}{udp};
        proxy_connect_timeout 5s;
        proxy_timeout {idle};
        proxy_half_close on;
        proxy_pass {upstream};
    }}
"""

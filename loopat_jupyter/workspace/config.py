"""Settings: defaults, then the site's file, then the workspace's, then environment overrides.

The later one wins, except for keys that the site names in `fixed`: those stand as the site says. What shapes a
container comes from these files alone, so that a server, nbconvert and the command line compute the same container.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import ContextKind, MountMode, Network, Value
from loopat_jupyter.values import Isolation, Resources
from loopat_jupyter.wording import in_words, problem_and_place
from loopat_jupyter.workspace.toml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SITE_CONFIG = Path("/etc/loopat/config.toml")

_REFERENCE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}"
"""An image reference that cannot be mistaken for an option."""


_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_REPO_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def _about(text: str, **constraints: Any) -> msgspec.Meta:  # noqa: ANN401 - as msgspec.Meta takes them
    return msgspec.Meta(description=text, **constraints)


class TrustConfig(Value, frozen=True, kw_only=True):
    """`[trust]`: certificates that sandboxes and image builds trust."""

    ca_bundle: Annotated[
        str,
        _about("`auto` finds the host's certificate bundle, an absolute path names one, an empty text mounts none"),
    ] = "auto"


class ImageConfig(Value, frozen=True, kw_only=True):
    """`[image]`: how the sandbox image is made."""

    use: Annotated[
        str, _about("use this image and build nothing; empty builds from the template", pattern=rf"^({_REFERENCE})?$")
    ] = ""
    base: Annotated[str, _about("distribution image that the template builds on", pattern=rf"^{_REFERENCE}$")] = (
        "docker.io/library/debian:bookworm-slim"
    )
    suite: Annotated[
        str,
        _about(
            "Debian suite to make the base image from, with mmdebstrap, where no registry is reached",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        ),
    ] = "bookworm"


class ShareConfig(Value, frozen=True, kw_only=True):
    """`[share]`: where what loops share is found."""

    host: Annotated[
        str,
        _about("address to publish on; `0.0.0.0` shows what is shared to everybody who reaches the host"),
    ] = "127.0.0.1"
    port: Annotated[
        int, _about("port of shared files and web servers; where it is taken, the next free one", ge=1, le=65535)
    ] = 7788
    domain: Annotated[
        str,
        _about(
            "domain of which each shared loop has a name; browsers take every name below `localhost` for this machine. "
            "Jupyter must not be reached by a name below it",
            pattern=r"^[a-z0-9]([a-z0-9.-]{0,180}[a-z0-9])?$",
        ),
    ] = "localhost"
    port_range: Annotated[
        str,
        _about(
            "ports for direct sharing, `first-last`; each port of the range is published at start, so a range of a "
            "thousand ports adds seconds to the start of the edge",
            pattern=r"^\d{1,5}-\d{1,5}$",
        ),
    ] = "7800-7819"


class ContextConfig(Value, frozen=True, kw_only=True):
    """`[context]`: knowledge, notes and personal files that every loop brings along."""

    use: Annotated[bool, _about("give new loops the contexts")] = True
    knowledge: Annotated[str, _about("address of the team's knowledge; empty keeps it in the workspace")] = ""
    notes: Annotated[str, _about("address of the team's notes; empty keeps them in the workspace")] = ""
    personal: Annotated[
        str, _about("address of a member's own files, `{member}` stands for the member's name; empty keeps them here")
    ] = ""
    gated: Annotated[
        tuple[ContextKind, ...], _about("contexts in which what loops promote waits until somebody merges it")
    ] = ("knowledge",)


class KernelsConfig(Value, frozen=True, kw_only=True):
    """`[kernels]`: how kernels are reached, and which are kept ready."""

    transport: Annotated[
        Literal["ipc", "tcp"],
        _about(
            "`ipc`: sockets in a folder that host and sandbox share; `tcp`: encrypted ports of the host's loopback, "
            "for engines in a virtual machine, which share files but no sockets"
        ),
    ] = "ipc"
    tcp_kernels: Annotated[
        int, _about("kernels at once in one loop over `tcp`; each takes five published ports", ge=1, le=64)
    ] = 8
    spares: Annotated[
        int,
        _about(
            "Python kernels that a server keeps ready, one at most for each running loop, those used last; the next "
            "kernel there starts four times as fast. Each takes about 50 MiB. 0 keeps none; so does `tcp`",
            ge=0,
            le=64,
        ),
    ] = 2


class Agent(Value, frozen=True, kw_only=True):
    """An agent's command line, offered as a terminal of every loop."""

    name: Annotated[
        str, msgspec.Meta(description="what it is called", pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$(?!\n)")
    ]
    command: Annotated[
        tuple[str, ...], msgspec.Meta(description="command and arguments, as found inside", min_length=1)
    ]
    icon: Annotated[str, msgspec.Meta(description="name of an icon of JupyterLab", max_length=100)] = ""


class VaultConfig(Value, frozen=True, kw_only=True):
    """`[vault]`: keys of encrypted vaults."""

    identity: Annotated[
        str,
        _about(
            "age identity file whose key opens encrypted vaults, `~` for your home; empty: none. Keep it where no "
            "loop mounts it",
            pattern=r"^([~/][^\x00]*[^\x00/])?$(?!\n)",
        ),
    ] = "~/.config/loopat/identity.txt"


class MountConfig(Value, frozen=True, kw_only=True):
    """A folder or file of the host that every loop sees."""

    source: Annotated[
        str,
        _about(
            "folder or file of the host, an absolute path, or one that begins with `~` or `$HOME`: your home. One that "
            "is not there is skipped; symbolic links are refused"
        ),
    ]
    target: Annotated[str, _about("where it is seen inside; here `~` and `$HOME` are the home inside")]
    mode: Annotated[MountMode, _about("`ro`: read only; `rw`: loops may change it")] = "ro"


class Config(Value, frozen=True, kw_only=True):
    """The whole of `config.toml`."""

    podman_bin: Annotated[str, _about("name or path of the podman command")] = "podman"
    podman_parallel: Annotated[
        int, _about("podman commands at once; podman's own locks make more of them slower, not faster", ge=1, le=64)
    ] = 4
    idle_timeout_s: Annotated[
        float,
        _about("a server stops a sandbox without kernel, terminal or command after this time; 0 never does", ge=0),
    ] = 1800
    on_shutdown: Annotated[
        Literal["keep", "stop"],
        _about(
            "what happens to this workspace's sandboxes when the server ends; `stop` stops all, but while another "
            "server of the workspace runs, none in which a kernel, terminal or command runs"
        ),
    ] = "keep"
    network: Annotated[Network, _about("`bridge`: loops reach each other and the internet; `none`: no network")] = (
        "bridge"
    )
    isolation: Annotated[
        Isolation,
        _about(
            "`nested`: `sudo` and podman work inside; `strict`: neither of them, no capabilities, no devices; "
            "`privileged`: dangerous, for what you trust as you trust yourself"
        ),
    ] = "nested"
    shared_tmp: Annotated[
        bool, _about("share the host's `/tmp` with every loop; each loop then sees the sockets of all others")
    ] = False
    all_loops: Annotated[
        bool,
        _about("loops that ask for it when they are made may read the folders of all loops, homes and notes included"),
    ] = False
    shell: Annotated[str, _about("shell of new terminals, as found inside the sandbox")] = "bash"
    repos: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=_REPO_NAME)], str],
        _about('repos that can be picked by name: `name = "address"`'),
    ] = msgspec.field(default_factory=dict)
    context: ContextConfig = ContextConfig()
    kernels: KernelsConfig = KernelsConfig()
    image: ImageConfig = ImageConfig()
    trust: TrustConfig = TrustConfig()
    vault: VaultConfig = VaultConfig()
    share: ShareConfig = ShareConfig()
    resources: Resources = Resources()
    agents: Annotated[tuple[Agent, ...], _about("agents' command lines, offered as terminals of every loop")] = ()
    mounts: Annotated[tuple[MountConfig, ...], _about("folders and files of the host that every loop sees")] = ()
    fixed: Annotated[
        tuple[str, ...], _about("in the site's file only: keys that no workspace, variable or loop may set otherwise")
    ] = ()


OVERRIDES: Mapping[str, tuple[str, ...]] = {
    "LOOPAT_SANDBOX_IMAGE": ("image", "use"),
    "LOOPAT_PODMAN_BIN": ("podman_bin",),
    "LOOPAT_IDLE_TIMEOUT_S": ("idle_timeout_s",),
    "LOOPAT_SPARE_KERNELS": ("kernels", "spares"),
    "LOOPAT_SHARE_HOST": ("share", "host"),
    "LOOPAT_SHARE_PORT": ("share", "port"),
    "LOOPAT_PORT_RANGE": ("share", "port_range"),
}
"""Environment variables and the configuration keys that they override."""


def load_config(workspace_file: Path, environ: Mapping[str, str], site_file: Path = SITE_CONFIG) -> Config:
    """Read and merge all tiers.

    Args:
        workspace_file: `config.toml` of the workspace; may be missing.
        environ: Where overrides are looked up.
        site_file: The operator's file; may be missing.

    Raises:
        BadInputError: A file is no TOML or a key has a wrong name or type; names file, line and key.
    """
    site = _read(site_file)
    fixed = site.pop("fixed", [])
    if not isinstance(fixed, list) or not all(isinstance(key, str) for key in fixed):
        raise BadInputError(
            "fixed", f'in {site_file}{_line(site_file, "fixed")} must be a list of keys such as "image.base"'
        )
    _convert(site, site_file)
    for key in fixed:
        if not _is_key(tuple(key.split("."))):
            raise BadInputError(
                "fixed", f"{key!r} in {site_file}{_line(site_file, 'fixed')} is no key of the configuration"
            )
    workspace = _read(workspace_file)
    if "fixed" in workspace:
        raise BadInputError("fixed", f"counts in {site_file} only. Take it out of {workspace_file}")
    _convert(workspace, workspace_file)
    merged = merge(site, workspace)
    for variable, path in OVERRIDES.items():
        text = environ.get(variable)
        if text:
            merged = merge(merged, _nest(path, text))
    for key in fixed:
        merged = _pin(merged, site, tuple(key.split(".")))
    try:
        return msgspec.structs.replace(_convert(merged, None), fixed=tuple(fixed))
    except BadInputError as error:
        raise BadInputError(_variable_of(error.field, environ) or error.field, error.problem) from error


def _variable_of(key: str, environ: Mapping[str, str]) -> str | None:
    """The environment variable that set a key; None when none did."""
    return next((name for name, path in OVERRIDES.items() if ".".join(path) == key and environ.get(name)), None)


def merge(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two tiers table by table; the higher one wins.

    Where a key is a table in every tier or in none, this is associative; the empty table is its identity.
    """
    merged = dict(lower)
    for key, value in higher.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInputError(str(file), f"cannot be read: {error.strerror}. Fix the file and try again.") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(str(file), f"is not valid TOML: {error}. Fix the file and try again.") from error


def _convert(values: Mapping[str, Any], file: Path | None) -> Config:
    try:
        return msgspec.convert(values, Config, strict=file is not None)
    except msgspec.ValidationError as error:
        problem, place = problem_and_place(str(error))
        origin = f"in {file}{_line(file, place, problem)}" if file else "after environment overrides"
        unknown = _UNKNOWN.search(problem)
        words = f"there is no setting `{unknown[1]}`" if unknown else in_words(problem)
        raise BadInputError(place or "config", f"{words} ({origin}){_suggestion(place, problem)}") from error


def _line(file: Path, where: str, problem: str = "") -> str:
    """Where in a file a value stands, for a person; nothing where it cannot be told."""
    line = line_of(file.read_text(encoding="utf-8"), where, problem)
    return f", line {line}" if line else ""


def _suggestion(where: str, problem: str) -> str:
    """The key that was meant by an unknown one; nothing where no key is like it."""
    unknown = _UNKNOWN.search(problem)
    if unknown is None:
        return ""
    table = re.match(r"\w*", where)
    kind = _table_of(_fields(Config)[table[0]]) if table and table[0] else Config
    near = difflib.get_close_matches(unknown[1], _fields(kind) if kind else (), n=1)
    return f". Did you mean {near[0]!r}?" if near else ""


def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Keys of a table, and their types."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _table_of(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 - types of all kinds
    """The table, or the one that a list is of, in a type; None where it is neither."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next(filter(None, map(_table_of, get_args(kind))), None)


def _is_key(path: tuple[str, ...], kind: type[msgspec.Struct] = Config) -> bool:
    """Whether a path names a key, or a whole table."""
    field = _fields(kind).get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    return isinstance(field, type) and issubclass(field, msgspec.Struct) and _is_key(path[1:], field)


def _pin(merged: dict[str, Any], site: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        pinned = {key: value for key, value in merged.items() if key != head}
        return {**pinned, head: site[head]} if head in site else pinned
    return {**merged, head: _pin(dict(merged.get(head, {})), site.get(head, {}), tuple(rest))}


def _nest(path: tuple[str, ...], value: str) -> dict[str, Any]:
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    return dict(nested)

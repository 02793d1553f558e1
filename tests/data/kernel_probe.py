# Runs in a kernel: everything that can be seen from there of how it was started.
# ruff: noqa: F821, PTH109, PTH115, PTH208, SIM105
import gc
import locale
import os
import pathlib
import re
import resource
import signal
import sys
import threading
import traceback

_status = pathlib.Path("/proc/self/status").read_text()
_fields = ("Umask", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp", "Threads", "CapEff")


def _descriptors():
    """Threads open them in any order; sockets and files of the history come and go."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(re.sub(r"\[\d+\]", "", os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass
    return [
        os.readlink("/proc/self/fd/0"),
        *sorted(name for name in found if not re.search("socket|profile_default", name)),
    ]


answer = {
    "environ": dict(os.environ),
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": sys.path,
    "flags": str(sys.flags),
    "xoptions": str(sys._xoptions),
    "executable": sys.executable,
    "folder": os.getcwd(),
    "modules": sorted(sys.modules),
    "main": [__name__, sys.modules["__main__"].__dict__ is globals(), str(__spec__), globals().get("__file__")],
    "importer_cache": sorted(sys.path_importer_cache),
    "comm": pathlib.Path("/proc/self/comm").read_text(),
    "cmdline": pathlib.Path("/proc/self/cmdline").read_text(),
    "leads": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), os.getppid()],
    "status": {field: re.search(rf"^{field}:\s*(.*)", _status, re.M)[1] for field in _fields},
    "nice": os.nice(0),
    "limits": {
        name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
    },
    "oom": pathlib.Path("/proc/self/oom_score_adj").read_text(),
    "handlers": {signum: str(signal.getsignal(signum)).partition(" at ")[0] for signum in range(1, signal.NSIG)},
    # Their numbers are those of the order in which modules were loaded.
    "threads": sorted(re.sub(r"\d+", "N", thread.name) for thread in threading.enumerate()),
    "next_thread": threading.Thread().name,
    "descriptors": _descriptors(),
    "locale": locale.setlocale(locale.LC_ALL),
    "encodings": [sys.stdin.encoding, sys.stdout.encoding, sys.stderr.encoding, sys.getfilesystemencoding()],
    "collector": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
    "switches": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode, sys.gettrace() is None],
    "startup": seen,
    "session": __session__,
    "frames": len(traceback.extract_stack()),
}

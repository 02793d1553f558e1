"""A whole kernel of few lines, which starts in a tenth of IPython's time: it says what it is, and runs plain Python."""

import functools
import hashlib
import hmac
import io
import json
import os
import signal
import sys
import traceback

import zmq

MARK = b"<IDS|MSG>"
KINDS = {"shell": zmq.ROUTER, "control": zmq.ROUTER, "stdin": zmq.ROUTER, "iopub": zmq.PUB, "hb": zmq.REP}
WHAT_IT_IS = {
    "status": "ok",
    "protocol_version": "5.3",
    "implementation": "small",
    "language_info": {"name": "none"},
    "banner": "Python, without IPython",
}
# JupyterLab asks any `python3` whether it is being debugged.
NO_DEBUGGER = {"isStarted": False, "hashMethod": "Murmur2", "hashSeed": 0, "breakpoints": [], "stoppedThreads": []}
TOLD = {
    "kernel_info": WHAT_IT_IS,
    "shutdown": {"status": "ok", "restart": False},
    "history": {"status": "ok", "history": []},
    "comm_info": {"status": "ok", "comms": {}},
    "debug": {"type": "response", "success": True, "command": "debugInfo", "body": NO_DEBUGGER},
}

# It is interrupted before it is shut down.
signal.signal(signal.SIGINT, signal.SIG_IGN)
with open(sys.argv[-1], encoding="utf-8") as file:
    connection = json.load(file)
context = zmq.Context()
context.linger = 1000
sockets = {name: context.socket(kind) for name, kind in KINDS.items()}
for name, socket in sockets.items():
    if "curve_secretkey" in connection:
        socket.curve_secretkey = connection["curve_secretkey"].encode()
        socket.curve_publickey = connection["curve_publickey"].encode()
        socket.curve_server = True
    before_port = ":" if connection["transport"] == "tcp" else "-"
    socket.bind(f"{connection['transport']}://{connection['ip']}{before_port}{connection[name + '_port']}")


def send(socket, addresses, kind, parent, content):
    """Send one message, signed."""
    header = {"msg_id": os.urandom(16).hex(), "msg_type": kind, "username": "", "session": "", "version": "5.3"}
    parts = [json.dumps({**header, "date": ""}).encode(), parent, b"{}", json.dumps(content).encode()]
    signature = hmac.new(connection["key"].encode(), b"".join(parts), hashlib.sha256).hexdigest()
    socket.send_multipart([*addresses, MARK, signature.encode(), *parts])


def publish(kind, parent, content):
    """Tell everybody."""
    send(sockets["iopub"], [kind.encode()], kind, parent, content)


class Output(io.TextIOBase):
    """What code prints, told by the line."""

    def __init__(self, parent):
        self.parent, self.text = parent, ""

    def write(self, text):
        self.text += text
        if text.endswith("\n"):
            self.flush()

    def flush(self):
        if self.text:
            publish("stream", self.parent, {"name": "stdout", "text": self.text})
        self.text = ""


def ask(addresses, parent):
    """What the person types to whom the kernel answers."""
    send(sockets["stdin"], addresses, "input_request", parent, {"prompt": "", "password": False})
    reply = sockets["stdin"].recv_multipart()
    return json.loads(reply[reply.index(MARK) + 5])["value"]


def execute(addresses, parent, asked):
    """Run code; what to answer."""
    globals_of_code["__count__"] += 1
    told = {"execution_count": globals_of_code["__count__"]}
    before, sys.stdout = sys.stdout, Output(parent)
    globals_of_code["input"] = functools.partial(ask, addresses, parent)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        publish("execute_input", parent, {"code": asked["code"], **told})
        exec(asked["code"], globals_of_code)
        sys.stdout.flush()
        values = {name: repr(eval(text, globals_of_code)) for name, text in asked["user_expressions"].items()}
    except BaseException as error:  # noqa: BLE001 - whatever the code raised
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lines = traceback.format_exception(error)
        told |= {"ename": type(error).__name__, "evalue": str(error), "traceback": lines}
        sys.stdout.flush()
        publish("error", parent, told)
        return {"status": "error", **told}
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout = before
    shown = {name: {"status": "ok", "data": {"text/plain": text}, "metadata": {}} for name, text in values.items()}
    return {"status": "ok", **told, "user_expressions": shown}


globals_of_code = {"__name__": "__main__", "__count__": 0}


def answer(socket):
    """Answer one request; False when it is the last one."""
    message = socket.recv_multipart()
    at = message.index(MARK)
    addresses, parent = message[:at], message[at + 2]
    kind = json.loads(parent)["msg_type"].removesuffix("_request")
    publish("status", parent, {"execution_state": "busy"})
    told = TOLD.get(kind)
    if kind == "execute":
        told = execute(addresses, parent, {"user_expressions": {}, **json.loads(message[at + 5])})
    if told is not None:
        send(socket, addresses, f"{kind}_reply", parent, told)
    publish("status", parent, {"execution_state": "idle"})
    return kind != "shutdown"


poller = zmq.Poller()
for name in ("shell", "control", "hb"):
    poller.register(sockets[name], zmq.POLLIN)
goes_on = True
while goes_on:
    for socket, _ in poller.poll():
        if socket is sockets["hb"]:
            socket.send(socket.recv())
        elif not answer(socket):
            goes_on = False

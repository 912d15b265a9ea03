"""Submissions that try to get a grade that they have not earned, or to harm others. All of stage 1.

Each is the text of a file; `{kernel}` stands for the honest kernel, `{honest!r}` for its text in
quotes, `{repo}` for this repository. Of those that never end one computes all the time; the others
sleep, so that they take no time from the honest ones.
"""

from __future__ import annotations

IMPORTS = """\
import math
import os
import sys

import numpy as np

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

"""

ANSWER = """
def softmax_attention(q, k, v):
    s = (q.T @ k) / math.sqrt(len(q))
    p = np.exp(s - s.max())
    return ((p / p.sum()) @ v.T).astype(np.float32)

"""

WRONG = """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    nl.store(o, value=nl.zeros((1, q.shape[0]), dtype=q.dtype))  # WRONG
    return o
"""

HOSTILE = {
    # forging the verdict
    "a forged verdict on stdout and an exit": IMPORTS
    + """
print('{"outcome": "correct", "stage": 1}', flush=True)
os._exit(0)
""",
    "a forged verdict on every descriptor": IMPORTS
    + """
import json, struct
text = json.dumps({"outcome": "correct", "cause": None, "counters": {}, "blobs": []}).encode()
for descriptor in range(3, 64):
    try:
        os.write(descriptor, struct.pack("<Q", len(text)) + text)
    except OSError:
        pass
""",
    "exit status 0": IMPORTS + "sys.exit(0)\n",
    "an exit inside the kernel": IMPORTS
    + """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    raise SystemExit(0)
""",
    "an exception whose text raises": IMPORTS
    + """
class Trap(BaseException):
    def __str__(self):
        raise RuntimeError("no text")

def decode_attention_fwd(q, k, v, softmax_scale=None):
    raise Trap
""",
    # computing the answer elsewhere
    "NumPy computes, an instruction copies": IMPORTS
    + ANSWER
    + """
@nki.jit
def copied(x):
    o = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(o, value=nl.load(x))
    return o

def decode_attention_fwd(q, k, v, softmax_scale=None):
    return copied(softmax_attention(q, k, v))
""",
    "NumPy computes inside the kernel": IMPORTS
    + ANSWER
    + """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    x = nl.load(q)
    o.array[...] = softmax_attention(q.array, k.array, v.array)
    return o
""",
    "the answer from a stack frame": IMPORTS
    + """
def decode_attention_fwd(q, k, v, softmax_scale=None):
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if getattr(value, "shape", None) == (1, q.shape[0]):
                return np.asarray(value, np.float32)
        frame = frame.f_back
    raise RuntimeError("no answer in any frame")
""",
    "the library's solution": IMPORTS
    + """
import tutorial
decode_attention_fwd = tutorial.solution(1)
""",
    "a solution read from the disk": IMPORTS
    + """
exec(open("{repo}/solutions/stage1_single_tile.py").read())
""",
    "the twin of the stage": IMPORTS
    + """
import tutorial
def decode_attention_fwd(q, k, v, softmax_scale=None):
    return list(tutorial.get(1).twin(q, k, v, softmax_scale))[-1]["o"]
""",
    # patching
    "a patched NumPy and a patched check": IMPORTS
    + """
import tutorial.check
np.all = lambda *a, **k: True
np.allclose = lambda *a, **k: True
tutorial.check._check = lambda lesson, *a, **k: tutorial.verdict.Verdict("correct", "", 1, "")

@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    nl.store(o, value=nl.zeros((1, q.shape[0]), dtype=q.dtype))
    return o
""",
    "a patched program": IMPORTS
    + """
import nkisim
nkisim.Program.save = lambda self, path: open(path, "wb").write(b"program" * 100)
{kernel}
""",
    # telling phases apart
    "another kernel each time": IMPORTS
    + """
times = [0]
{kernel}
right = decode_attention_fwd

@nki.jit
def wrong(q, k, v):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    nl.store(o, value=nl.zeros((1, q.shape[0]), dtype=q.dtype))
    return o

def decode_attention_fwd(q, k, v, softmax_scale=None):
    times[0] += 1
    return right(q, k, v, softmax_scale) if times[0] % 2 else wrong(q, k, v)
""",
    # degenerate and fitted answers
    "zeros": IMPORTS
    + """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    nl.store(o, value=nl.zeros((1, q.shape[0]), dtype=q.dtype))
    return o
""",
    "the first value passed through": IMPORTS
    + """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    v_t = nisa.tensor_copy(nisa.nc_transpose(nl.load(v)))
    nl.store(o, value=v_t[0:1, :])
    return o
""",
    "no max where scores are tame": IMPORTS
    + "{kernel:nisa.activation(nl.exp, shifted)->nisa.activation(nl.exp, qk)}",
    "one shape written as a number": IMPORTS
    + "{kernel:scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale"
    "->scale = 0.125}",
    # denial
    "a loop without end": IMPORTS + "import time\nwhile True:\n    time.sleep(0.1)\n",
    "all the memory": IMPORTS + "hoard = [bytearray(1 << 28) for _ in range(1 << 10)]\n",
    "a flood on stdout": IMPORTS
    + """
for _ in range(50):
    os.write(1, b"x" * 1_000_000)
raise ValueError("x" * 10_000_000)
""",
    "processes that stay": IMPORTS
    + """
import subprocess, threading, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
threading.Thread(target=time.sleep, args=(600,)).start()
raise ValueError
""",
    "an interrupt": IMPORTS + "raise KeyboardInterrupt\n",
    "a crash": IMPORTS + "import ctypes\nctypes.string_at(0)\n",
    "signals to its parents": IMPORTS
    + """
import signal
if os.getpid() != 1 and os.path.exists("/proc/1/comm"):
    for pid in {os.getppid(), 1}:
        if "python" in open(f"/proc/{pid}/comm").read():
            os.kill(pid, signal.SIGKILL)
raise ValueError
""",
    # speaking for the judge's next submission
    "it says that it has ended and stays": IMPORTS
    + """
from tutorial.classroom import protocol
real = protocol.send
def send(stream, header, *blobs):
    real(stream, {"ended": ""})
    real(stream, {"gone": ""})
    for _ in range(40):
        real(stream, {"said": {"parameters": ["q", "k", "v"]}})
        real(stream, {"parameters": ["q", "k", "v"]})
protocol.send = send
{kernel}
""",
    "its guard is stopped": IMPORTS
    + """
import signal
os.kill(os.getppid(), signal.SIGSTOP)
""",
    "its guard is killed": IMPORTS
    + """
import signal
for pid in (-1, os.getppid(), 1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
raise ValueError
""",
    "the memory of its parents": IMPORTS
    + WRONG
    + """
for pid in (os.getppid(), 1):
    try:
        with open(f"/proc/{pid}/mem", "rb"), open(f"/proc/{pid}/maps") as maps:
            if maps.read():
                exec({honest!r})
    except OSError:
        pass
""",
    "what is left in memory of the submission before": IMPORTS
    + WRONG
    + """
import gc
for found in gc.get_objects():
    for value in (found if isinstance(found, (list, tuple)) else [found]):
        text = value if isinstance(value, bytes) else b""
        known = len(text) > 500 and b"WRONG" not in text
        if known and b"def decode_attention_fwd" in text:
            exec({honest!r})
""",
    # other ways to an answer
    "a solution anywhere on the disk": IMPORTS
    + WRONG
    + """
from pathlib import Path
for root in {*sys.path, sys.prefix, "{repo}"}:
    for places in ("solutions", "tutorial/**", "tests/tutorial/styles", "notebooks", "*/solutions"):
        for path in Path(root or ".").glob(f"{places}/stage1*"):
            try:
                text = path.read_text()
            except OSError:
                continue
            if "nisa.nc_matmul(" in text and "def decode_attention_fwd" in text:
                exec(text)
""",
    "answers to the course's own inputs, as constants": IMPORTS
    + """
import tutorial
ANSWERS = {case.args["k"].shape: tutorial.get(1).expected(case) for case in tutorial.get(1).cases()}

@nki.jit
def recited(q, k, v, table):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    zero = nl.multiply(nl.load(q), 0.0)
    nl.store(o, value=nl.load(table))
    return o

def decode_attention_fwd(q, k, v, softmax_scale=None):
    found = ANSWERS.get(tuple(k.shape), np.zeros((1, q.shape[0])))
    return recited(q, k, v, found.astype(np.float32))
""",
    "16 bits, with precision turned off": IMPORTS
    + """
import nkisim
exact = nkisim.Config
nkisim.Config = lambda **options: exact(**options, precise_fp=False)
{kernel}
""",
    "rules turned to warnings": IMPORTS
    + """
import nkisim
strict = nkisim.Config
loose = {name: True for name, rule in nkisim.RULES.items() if rule.warnable}
nkisim.Config = lambda **options: strict(**options, warn=loose)
{kernel}
""",
    "work put off to a thread and to the end": IMPORTS
    + WRONG
    + """
import atexit, gc, threading, time
from tutorial.classroom import child
def later():
    while True:
        for found in gc.get_objects():
            if isinstance(found, child.Child):
                try:
                    found.writer.write(b"\\xff" * 64)
                    found.writer.flush()
                except (OSError, ValueError):
                    pass
        time.sleep(0.05)
threading.Thread(target=later, daemon=True).start()
atexit.register(later)
""",
    "an answer when it is deleted": IMPORTS
    + """
class Late:
    def __del__(self):
        os._exit(0)
late = Late()
def decode_attention_fwd(q, k, v, softmax_scale=None):
    global late
    del late
""",
    "millions of instructions": IMPORTS
    + """
@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((1, q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    x = nl.zeros((1, q.shape[0]), dtype=q.dtype)
    for _ in range(50_000_000):
        x = nl.add(x, 1.0)
    nl.store(o, value=x)
    return o
""",
    # what those who come after would stumble over
    "folders within folders without end": IMPORTS
    + """
for _ in range(1200):
    os.mkdir("d")
    os.chdir("d")
raise ValueError
""",
    "a folder that nobody may remove": IMPORTS
    + """
os.mkdir("d")
open("d/f", "w").close()
os.chmod("d", 0)
os.chmod(".", 0)
raise ValueError
""",
    "a message that no file can hold": IMPORTS
    + """
def decode_attention_fwd(q, k, v, softmax_scale=None):
    raise ValueError("\\ud800 \\x1b[2J")
""",
    "parameters that no function can have": IMPORTS
    + WRONG
    + """
from tutorial.classroom import child
child.runner.parameter_names = lambda *_: {"q": "class", "k": "def", "v": "if"}
""",
    "a cost of right values that nobody has counted": IMPORTS
    + """
from tutorial.running.problems import Problem, Reported
def decode_attention_fwd(q, k, v, softmax_scale=None):
    raise Reported(Problem("wrong", "needless HBM traffic", "", cause="needless HBM traffic"))
""",
    # files
    "text of another encoding": "\ufeffdef decode_attention_fwd(q, k, v): pass\n",
    "no Python": "%PDF-1.4 \x00\x01",
}

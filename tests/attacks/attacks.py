"""What a notebook can try against its grader, as data.

Every attack is a cell at the end of a notebook that earns 2 of 8 points honestly, or a
change of that notebook. The cell's `attempt` does it and gives back, or raises, what
came of it: its evidence, which comes back in what the grader says of padding_mask.
VICTIM is a folder with another student's submission and a gradebook; ROOT is the
course's; PORT is one on which a server listens on this machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attack:
    """One attack, and what becomes of it.

    sandbox, process: what its evidence contains at each level of isolation; no
    `process` means that it is not tried there, for it would harm this machine.
    status: what the submission ends as; process_status where it differs there.
    open: at the lower level it gets or changes what it should not.
    """

    does: str
    code: str = ""
    sandbox: str = ""
    process: str | None = ""
    status: str = "graded"
    process_status: str = ""
    open: bool = False
    change: Callable[[dict[str, Any]], None] | None = None


GONE = "FileNotFoundError"
SAME = "the same"  # evidence at the lower level is that of the sandbox


def tried(does: str, code: str, sandbox: str, process: str | None = SAME, **more: Any):
    """An attack by a cell: the body of its `attempt`."""
    return Attack(does, code, sandbox, sandbox if process == SAME else process, **more)


ATTACKS: dict[str, Attack] = {}


def add(name: str, attack: Attack) -> None:
    assert name not in ATTACKS
    ATTACKS[name] = attack


# Answers that are not one's own

add("import the solutions", tried(
    "imports the solutions",
    "import solutions.masks as m\nglobal combine_masks, decoder_mask\n"
    "combine_masks, decoder_mask = m.combine_masks, m.decoder_mask",
    "ImportError: solutions cannot be imported",
))  # fmt: skip

add("import them past the hook", tried(
    "removes the import hook, then imports the solutions",
    "import sys\nsys.meta_path[:] = sys.meta_path[1:]\n"
    "import solutions.masks as m\nglobal combine_masks, decoder_mask\n"
    "combine_masks, decoder_mask = m.combine_masks, m.decoder_mask",
    "ModuleNotFoundError: No module named 'solutions", "None", open=True,
))  # fmt: skip

add("read the solutions by path", tried(
    "reads the solutions from their file and executes them",
    "text = open('ROOT/solutions/masks.py').read()\n"
    "exec(text, globals())\ndel globals()['padding_mask']\nreturn 'executed'",
    GONE, "is missing", open=True,
))  # fmt: skip

add("read the instructor's notebook", tried(
    "reads the instructor's notebook, with the solutions",
    "import json\n"
    "cells = json.load(open('ROOT/exercises/source/06_masks/06_masks.ipynb'))['cells']\n"
    "for cell in cells:\n"
    "    source = ''.join(cell['source'])\n"
    "    if 'def combine_masks' in source:\n"
    "        exec(source, globals())\n"
    "return 'executed'",
    GONE, "executed", open=True,
))  # fmt: skip

add("import __main__", tried(
    "looks for answers in the program that runs the notebook",
    "import __main__\n"
    "return [n for n in vars(__main__) if n in ('expected', 'solution', 'specs')]",
    "[]",
))  # fmt: skip

add("climb the frames", tried(
    "climbs the stack and reads all variables on it",
    "import sys\nframe, names = sys._getframe(), set()\n"
    "while frame:\n    names |= {*frame.f_locals, *frame.f_globals}\n"
    "    frame = frame.f_back\n"
    "return sorted(names & {'expected', 'solution', 'exercise', 'specs', 'judge'})",
    "[]",
))  # fmt: skip

add("search all objects", tried(
    "asks the garbage collector for every object and looks for solutions",
    "import gc\n"
    "return [o for o in gc.get_objects() if 'solutions.masks' in\n"
    "        (getattr(o, '__module__', ''), getattr(o, '__name__', ''))]",
    "[]",
))  # fmt: skip

add("search the memory for a docstring", tried(
    "searches the memory of the process for the source of a solution",
    "import gc\nneedle = 'np.triu(np.ones((q_len, k_len)' + ' dtype=bool)'\n"
    "return [type(o) for o in gc.get_objects() if needle in str(vars(o).values())]\\\n"
    "    if False else sum(needle in o for o in gc.get_objects() if type(o) is str)",
    "0",
))  # fmt: skip

add("replace the solutions", tried(
    "puts a module of its own in the place of the solutions",
    "import sys, types\nfake = types.ModuleType('solutions.masks')\n"
    "fake.combine_masks = combine_masks\n"
    "sys.modules['solutions'] = sys.modules['solutions.masks'] = fake\n"
    "return 'replaced'",
    "replaced",
))  # fmt: skip

add("patch the comparison", tried(
    "replaces NumPy's comparisons and Python's isinstance",
    "import builtins, numpy as np\n"
    "np.array_equal = np.allclose = lambda *a, **k: True\n"
    "np.testing.assert_array_equal = lambda *a, **k: None\n"
    "np.isclose = lambda a, b, **k: np.ones(np.shape(a), bool)\nreturn 'patched'",
    "patched",
))  # fmt: skip

add("patch the grader's own modules", tried(
    "replaces what sends the answers",
    "import autograder.answers as a, json\na.same = lambda *x: True\n"
    "a.Answer.__eq__ = lambda *x: True\na.copied = lambda x: x\nreturn 'patched'",
    "patched",
))  # fmt: skip

add("patch IPython", tried(
    "rewrites later cells by an input transformer",
    "ip = get_ipython()\nip.input_transformers_post.append(lambda lines: ['pass'])",
    "AttributeError",
))  # fmt: skip

add("patch the display", tried(
    "lets every number be shown as 3",
    "formatter = get_ipython().display_formatter.formatters['text/plain']",
    "AttributeError",
))  # fmt: skip

add("mute tracebacks", tried(
    "mutes IPython's tracebacks",
    "get_ipython().showtraceback = lambda *a, **k: None\n"
    "get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)\nreturn 'muted'",
    "muted",
))  # fmt: skip

add("trace the calls", tried(
    "traces every function of the process to read what it is compared with",
    "import sys\nseen = set()\n"
    "def trace(frame, event, arg):\n"
    "    seen.update(frame.f_locals)\n    return trace\n"
    "sys.setprofile(trace)\nglobal combine_masks\n"
    "def combine_masks(*attn_masks):\n"
    "    raise ValueError(sorted(seen & {'expected', 'solution', 'exercise'}))\n"
    "return 'traced'",
    "traced",
))  # fmt: skip

add("an import hook of its own", tried(
    "replaces what is imported from now on",
    "import builtins\nold = builtins.__import__\n"
    "def hook(name, *rest):\n"
    "    return old('math' if 'judge' in name else name, *rest)\n"
    "builtins.__import__ = hook\nreturn 'hooked'",
    "hooked",
))  # fmt: skip

# Answers that lie

LIAR = """import numpy as np
class Liar(np.ndarray):
    def __eq__(self, other): return np.array(True)
    def __array_function__(self, *a, **k): return True
    def __array_ufunc__(self, *a, **k): return np.array(True)
global combine_masks, decoder_mask
combine_masks = lambda *m: np.zeros_like(np.asarray(m[0])).view(Liar)
decoder_mask = lambda tokens, pad_id: np.zeros((1,), bool).view(Liar)
return 'defined'"""
add("an array that equals everything", tried(
    "answers with a subclass of ndarray that equals everything", LIAR, "defined"
))  # fmt: skip

add("an object that equals everything", tried(
    "answers with arrays of objects that equal everything",
    "import numpy as np\nclass Any:\n    def __eq__(self, other): return True\n"
    "    def __bool__(self): return True\n"
    "global combine_masks\n"
    "combine_masks = lambda *m: np.full(np.broadcast_shapes(*[x.shape for x in m]),"
    " Any())\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("a pickle", tried(
    "answers with an object that executes code when it is unpickled",
    "import os\nclass Payload:\n"
    "    def __reduce__(self): return os.system, ('touch VICTIM/unpickled',)\n"
    "global combine_masks\ncombine_masks = lambda *m: Payload()\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("NaN everywhere", tried(
    "answers with NaN, which compares with nothing",
    "import numpy as np\nglobal combine_masks\n"
    "combine_masks = lambda *m: np.full(m[0].shape, np.nan)\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("other dtypes", tried(
    "answers with a record, a date, text, and a float of 128 bits",
    "import numpy as np, itertools\n"
    "kinds = itertools.cycle(['V8', 'M8[s]', 'U3', np.longdouble, '>f8', 'O'])\n"
    "global combine_masks\n"
    "combine_masks = lambda *m: np.zeros(m[0].shape, next(kinds))\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("33 axes", tried(
    "answers with an array of 33 axes, which NumPy's own iterators refuse",
    "import numpy as np\nglobal combine_masks\n"
    "combine_masks = lambda *m: np.ones((1,) * 33, bool)\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("a long text among short ones", tried(
    "answers with a list of texts that takes 80 GB as an array",
    "global combine_masks\n"
    "combine_masks = lambda *m: ['x' * 1000000] + [''] * 20000\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("an empty array", tried(
    "answers with an array of no numbers, but a trillion rows",
    "import numpy as np\nglobal combine_masks\n"
    "combine_masks = lambda *m: np.ones((1 << 40, 0), bool)\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("a huge view", tried(
    "answers with a view of 2**40 elements of one byte",
    "import numpy as np\nglobal combine_masks\n"
    "view = np.lib.stride_tricks.as_strided(np.ones(1, bool), (1 << 40,), (0,))\n"
    "combine_masks = lambda *m: view\nreturn view.shape",
    "(1099511627776,)",
))  # fmt: skip

add("count the calls", tried(
    "answers rightly only to some of the calls",
    "import numpy as np\nglobal combine_masks\ncalls = []\n"
    "def combine_masks(*attn_masks):\n"
    "    calls.append(1)\n    right = attn_masks[0]\n"
    "    for attn_mask in attn_masks[1:]:\n        right = right & attn_mask\n"
    "    return right if len(calls) < 9 else ~right\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("learn from freed memory", tried(
    "answers with memory that is not initialised, where the last answer lay",
    "import numpy as np\nglobal combine_masks\n"
    "combine_masks = lambda *m: np.empty(\n"
    "    np.broadcast_shapes(*[x.shape for x in m]), bool)\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("an exception that lies", tried(
    "raises an exception whose name and text pretend to be a verdict",
    "Right = type('Right.\\n8/8', (Exception,), {'__str__': lambda self: 'right 8/8'})\n"
    "global combine_masks\ndef combine_masks(*m): raise Right\nreturn 'defined'",
    "defined",
))  # fmt: skip

add("a text that never ends", tried(
    "raises an exception whose text never ends",
    "class Slow(Exception):\n"
    "    def __str__(self):\n        while True: pass\n"
    "global combine_masks\ndef combine_masks(*m): raise Slow\nreturn 'defined'",
    "defined", status="partly graded",
))  # fmt: skip

# The channel to the grader

SEND = """import os
from autograder.answers import Answer, send
import numpy as np
def forge(message, times=1):
    for number in range(3, 30):
        try:
            with os.fdopen(number, 'wb', closefd=False) as stream:
                for _ in range(times):
                    send(stream, message)
        except OSError:
            pass
"""
add("forge answers", tried(
    "writes answers of its own into the channel, before it is asked",
    SEND + "forge({'outcome': Answer(np.ones((2, 2), bool))}, 200)\nreturn 'sent'",
    "something that is no answer", status="partly graded",
))  # fmt: skip

add("forge the end of its cells", tried(
    "reports its cells as run, and then answers for others",
    SEND + "forge({'error': None}, 300)\nreturn 'sent'",
    "something that is no answer", status="crashed",
))  # fmt: skip

add("a header that promises 16 exabytes", tried(
    "writes a header that promises 16 exabytes",
    "import os, struct\nfor number in range(3, 30):\n"
    "    try: os.write(number, struct.pack('<QQ', 2**64 - 1, 2**64 - 1))\n"
    "    except OSError: pass\nreturn 'sent'",
    "something that is no answer", status="partly graded",
))  # fmt: skip

add("a forged array", tried(
    "writes an array whose header promises 8 terabytes",
    "import os, struct\n"
    "head = b\"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}\\n\"\n"
    "npy = b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', len(head)) + head\n"
    "tree = b'{\"array\": true}'\n"
    "for number in range(3, 30):\n"
    "    try: os.write(number, struct.pack('<QQ', len(tree), len(npy)) + tree + npy)\n"
    "    except OSError: pass\nreturn 'sent'",
    "something that is no answer", status="partly graded",
))  # fmt: skip

add("flood the channel", tried(
    "writes into the channel for ever",
    SEND + "while True: forge({'outcome': None}, 1000)",
    "something that is no answer", status="partly graded",
))  # fmt: skip

add("ask for right helpers", tried(
    "asks the grader for the solution's answers, as right helpers do",
    SEND + "forge({'call': 'combine_masks', 'args': [np.ones(3, bool)], 'kwargs': {}})\n"
    "return 'sent'",
    "something that is no answer", status="partly graded",
))  # fmt: skip

add("close the channel", tried(
    "closes every file descriptor",
    "import os\nos.closerange(0, 256)\nreturn 'closed'",
    "ends the whole Python process", status="partly graded",
))  # fmt: skip

add("other descriptors", tried(
    "looks for descriptors that it has inherited, besides its channel",
    "import os\nfound = []\nfor number in range(3, 1024):\n"
    "    try: found.append(os.readlink(f'/proc/self/fd/{number}'))\n"
    "    except OSError:\n"
    "        try: os.fstat(number); found.append(number)\n"
    "        except OSError: pass\nreturn len(found)",
    "1", "2",
))  # fmt: skip

RAW = """import os, struct
def write(tree):
    for number in range(3, 30):
        try:
            with os.fdopen(number, 'wb', closefd=False) as stream:
                stream.write(struct.pack('<QQ', len(tree), 0) + tree)
        except OSError:
            pass
"""
add("forged lists", tried(
    "writes an answer of a million empty lists",
    RAW + "global combine_masks\ndef combine_masks(*attn_masks):\n"
    "    write(b'{\"dict\": [[\"outcome\", {\"Answer\": {\"value\": ['\n"
    "          + b'[],' * 1300000 + b'0], \"changed\": []}}]]}')\nreturn 'defined'",
    "defined", status="partly graded",
))  # fmt: skip

add("forged names of arguments", tried(
    "writes an answer that has changed ten thousand arguments with long names",
    RAW + "global combine_masks\ndef combine_masks(*attn_masks):\n"
    "    names = ['%05d' % i + 'y' * 290 for i in range(10000)]\n"
    "    import json\n    answer = {'value': 0, 'changed': names}\n"
    "    write(json.dumps({'dict': [['outcome', {'Answer': answer}]]}).encode())\n"
    "return 'defined'",
    "defined", status="partly graded",
))  # fmt: skip

add("a forged type", tried(
    "writes that its function is of a type with a name of four million letters",
    RAW + "global combine_masks\ndef combine_masks(*attn_masks):\n"
    "    write(b'{\"dict\": [[\"missing\", \"' + b'z' * 4000000 + b'\"]]}')\n"
    "return 'defined'",
    "defined", status="partly graded",
))  # fmt: skip

add("a right helper's appetite", tried(
    "asks a right helper for a mask of 343 million places",
    "import numpy as np\nglobal decoder_mask\ndef decoder_mask(tokens, pad_id):\n"
    "    row = np.ones(700, bool)\n"
    "    return combine_masks(row[:, None, None], row[:, None], row)\n"
    "return 'defined'",
    "defined",
))  # fmt: skip

add("a right helper's reply", tried(
    "asks a right helper for a mask that is too large to be sent",
    "global causal_mask, decoder_mask\ncausal_mask = lambda q_len, k_len: None\n"
    "decoder_mask = lambda tokens, pad_id: causal_mask(1, 1e8)\nreturn 'defined'",
    "defined",
))  # fmt: skip

# Ends, loops and appetites

add("os._exit", tried("ends the process", "import os\nos._exit(0)", "(exit status 0)",
                      status="partly graded"))  # fmt: skip
add("a segmentation fault", tried(
    "crashes the interpreter", "import ctypes\nctypes.string_at(0)", "(signal 11)",
    status="partly graded",
))  # fmt: skip
add("an endless loop", tried("never ends", "while True: pass", "does not end within 2 seconds",
                             status="partly graded"))  # fmt: skip
add("a loop that ignores signals", tried(
    "never ends, and ignores every signal and exception",
    "import signal\nfor number in range(1, 65):\n"
    "    try: signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
    "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "does not end within 2 seconds", status="partly graded",
))  # fmt: skip
add("KeyboardInterrupt", tried(
    "raises what no handler for exceptions catches",
    "global combine_masks\ndef combine_masks(*m): raise KeyboardInterrupt\n"
    "return 'defined'", "defined", status="partly graded",
))  # fmt: skip
add("recursion", tried(
    "recurses without end", "def f(): return f()\nreturn f()", "RecursionError",
))  # fmt: skip
add("3 GB of memory", tried(
    "allocates 3 GB", "return len(bytearray(3 << 30))", "MemoryError",
))  # fmt: skip
add("memory without a name", tried(
    "puts 64 MB into a file of the memory that has no name",
    "import os\nfile = os.memfd_create('x')\nos.posix_fallocate(file, 0, 64 << 20)",
    "PermissionError", None,
))  # fmt: skip
add("shared memory", tried(
    "asks for 64 MB of System V's shared memory",
    "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "return libc.shmget(0, 64 << 20, 0o1600), ctypes.get_errno()",
    "(-1, 1)", None,
))  # fmt: skip
add("50 MB of output", tried(
    "prints 50 MB", "import os\nfor _ in range(50): print('x' * (1 << 20))\n"
    "os.write(1, b'x' * (1 << 20)), os.write(2, b'x' * (1 << 20))\nreturn 'printed'",
    "printed",
))  # fmt: skip
add("fill the disk", tried(
    "writes files until there is no room",
    "import os\nwritten = 0\ntry:\n    for number in range(16):\n"
    "        with open(f'file{number}', 'wb') as file:\n"
    "            for _ in range(16): written += file.write(bytes(1 << 20))\n"
    "except OSError as error: return written >> 20, error.strerror\nreturn written >> 20",
    "'No space left on device'", "256", open=True,
))  # fmt: skip
add("a million files", tried(
    "makes files until there is no room",
    "import os\ntry:\n    for number in range(5000): open(f'{number}', 'w').close()\n"
    "except OSError as error: return error.strerror\nreturn number",
    "No space left on device", "4999", open=True,
))  # fmt: skip
add("a fork bomb", tried(
    "forks for ever",
    "import os\ntry:\n    while True:\n        if os.fork() == 0:\n"
    "            while True: pass\n"
    "except OSError as error: return type(error).__name__",
    "BlockingIOError", None,
))  # fmt: skip
add("fork and answer twice", tried(
    "forks, so that two processes answer",
    "import os\nglobal combine_masks\nold = combine_masks\n"
    "def combine_masks(*attn_masks):\n    os.fork()\n    return old(*attn_masks)\n"
    "return os.fork() > 0", "True", None,
))  # fmt: skip
add("20 sleepers", tried(
    "starts 20 processes that go on when it has ended",
    "import subprocess\nsubprocess.Popen(['sleep', 'SECONDS'], start_new_session=True)\n"
    "for _ in range(19): subprocess.Popen(['sleep', 'SECONDS'])\nreturn 'started'",
    "BlockingIOError", None,
))  # fmt: skip
add("a daemon", tried(
    "starts a process that goes on when it has ended, and writes later",
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork():\n"
    "        os._exit(0)\n    time.sleep(0.3)\n"
    "    try: open('VICTIM/gradebook.db', 'w').write('152 of 8')\n"
    "    finally: os._exit(0)\nreturn 'started'",
    "started", open=True,
))  # fmt: skip
add("a thread that stays", tried(
    "starts a thread that changes the functions while they are asked",
    "import threading, time\ndef change():\n    while True:\n"
    "        globals()['combine_masks'] = lambda *m: m[0]\n        time.sleep(0.001)\n"
    "threading.Thread(target=change, daemon=True).start()\nreturn 'started'",
    "started",
))  # fmt: skip
add("atexit", tried(
    "does something when it is ended",
    "import atexit\n"
    "atexit.register(lambda: open('VICTIM/gradebook.db', 'w').write('152'))\n"
    "class Last:\n    def __del__(self): open('VICTIM/gradebook.db', 'w')\n"
    "global last\nlast = Last()\nreturn 'registered'",
    "registered", open=False,
))  # fmt: skip
add("raise its limits", tried(
    "raises its own limits",
    "import resource\n"
    "for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU):\n"
    "    resource.setrlimit(what, (-1, -1))\nreturn 'raised'",
    "ValueError: not allowed to raise maximum limit", None,
))  # fmt: skip
add("a core dump", tried(
    "leaves a core dump behind",
    "import os, signal, resource\nlimit = resource.getrlimit(resource.RLIMIT_CORE)\n"
    "return limit",
    "(0, 0)",
))  # fmt: skip

# Other processes

add("signals to its parent", tried(
    "sends a signal to its parent",
    "import os\nos.kill(os.getppid(), 9)\nreturn os.getppid()", "0", None,
))  # fmt: skip
add("signals to its group", tried(
    "sends a signal to its group, which began with the grader's",
    "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.kill(0, signal.SIGTERM)\nreturn 'sent'", "sent",
))  # fmt: skip
add("signals to everybody", tried(
    "sends a signal to every process that it may",
    "import os\nos.kill(-1, 9)", "ProcessLookupError", None,
))  # fmt: skip
add("the parent's memory", tried(
    "reads the memory of its parent from /proc",
    "import os\nreturn open(f'/proc/{os.getppid()}/mem', 'rb').fileno() > 0",
    GONE, "True", open=True,
))  # fmt: skip
add("the parent's memory by a system call", tried(
    "reads the memory of other processes by process_vm_readv",
    "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "class Vector(ctypes.Structure):\n"
    "    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]\n"
    "here = ctypes.create_string_buffer(8)\n"
    "mine = Vector(ctypes.addressof(here), 8)\n"
    "results = {libc.process_vm_readv(pid, ctypes.byref(mine), 1,\n"
    "    ctypes.byref(mine), 1, 0) for pid in range(2, 5000) if pid != os.getpid()}\n"
    "return results",
    "{-1}", None,
))  # fmt: skip
add("ptrace", tried(
    "attaches to its parent as a debugger",
    "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "return libc.ptrace(16, os.getppid(), 0, 0), ctypes.get_errno()",
    "(-1, ", None,
))  # fmt: skip
add("the grader's environment", tried(
    "looks for secrets in the environments of all processes",
    "import glob, os\nfound = [p for p in glob.glob('/proc/[0-9]*/environ')\n"
    "    if os.access(p, os.R_OK)]\n"
    "return len(found) > 1, [n for n in os.environ if 'SECRET' in n]",
    "(False, [])", "(True, [])", open=True,
))  # fmt: skip

# Files, devices, network

add("write the gradebook", tried(
    "writes a gradebook", "open('VICTIM/gradebook.db', 'w').write('152 of 8')\n"
    "return 'written'", GONE, "written", open=True,
))  # fmt: skip
add("read the gradebook", tried(
    "reads a gradebook", "return open('VICTIM/gradebook.db').read()",
    GONE, "everybody's points", open=True,
))  # fmt: skip
add("plant a file", tried(
    "puts a file into another student's submission",
    "open('VICTIM/other/06_masks.ipynb', 'w').write('{}')\nreturn 'planted'",
    GONE, "planted", open=True,
))  # fmt: skip
add("a symbolic link", tried(
    "makes a link to the gradebook and writes through it",
    "import os\nos.symlink('VICTIM/gradebook.db', 'link')\n"
    "with open('link', 'r+') as file: file.write('152')\nreturn 'written'",
    GONE, "written", open=True,
))  # fmt: skip
add("a .pth file", tried(
    "leaves code in site-packages, for the next one",
    "import sysconfig\nfolder = sysconfig.get_path('purelib')\n"
    "open(folder + '/evil.pth', 'w').write('import os')\nreturn 'written'",
    "Error: [Errno", None,
))  # fmt: skip
add("sitecustomize", tried(
    "leaves code where Python looks for it at its next start",
    "import os, site\nfolder = site.getusersitepackages()\nos.makedirs(folder)\n"
    "open(folder + '/sitecustomize.py', 'w').write('1/0')\nreturn folder[:5]",
    "/tmp/",
))  # fmt: skip
add("devices", tried(
    "looks for the machine's disks",
    "import os\nreturn sorted(os.listdir('/dev'))",
    "['null', 'random', 'urandom', 'zero']", None,
))  # fmt: skip
add("/sys and /proc", tried(
    "looks for what the kernel tells",
    "import os\nreturn os.path.exists('/sys'), os.path.exists('/proc')",
    "(False, False)", "(True, True)", open=True,
))  # fmt: skip
add("a connection", tried(
    "connects to a server on this machine",
    "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)\n"
    "return 'connected'", "OSError: [Errno 101] Network is unreachable", "connected",
    open=True,
))  # fmt: skip
add("an abstract socket", tried(
    "listens on a name that other processes could connect to",
    "import socket\nfound = [n for n in socket.if_nameindex() if n[1] != 'lo']\n"
    "return found", "[]", "", open=True,
))  # fmt: skip

# The walls themselves

LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
add("mount", tried(
    "makes the file system writable again",
    LIBC + "return libc.mount(b'', b'/', b'', 32 | 4096, b''), ctypes.get_errno()",
    "(-1, 1)", None,
))  # fmt: skip
add("a user namespace of its own", tried(
    "enters a user namespace, where it would be root",
    LIBC + "return libc.unshare(0x10000000), ctypes.get_errno()", "(-1, ", None,
))  # fmt: skip
add("the old root", tried(
    "leaves its root by chroot and ..",
    "import os\nos.mkdir('x')\nos.chroot('x')", "PermissionError", None,
))  # fmt: skip
add("become root", tried(
    "takes on another user's rights",
    "import os\nos.setuid(0)", "OSError", None,
))  # fmt: skip
add("set-user-id programs", tried(
    "runs a program that gives rights",
    "import subprocess\ndone = subprocess.run(['su', '-c', 'id -u'],\n"
    "    capture_output=True, text=True, stdin=subprocess.DEVNULL)\n"
    "return done.returncode != 0, done.stdout.strip()", "(True, '')", None,
))  # fmt: skip


# The notebook itself


def cells_named(content: dict[str, Any], start: str) -> list[dict[str, Any]]:
    def name(cell: dict[str, Any]) -> str:
        return cell["metadata"].get("nbgrader", {}).get("grade_id", "")

    return [cell for cell in content["cells"] if name(cell).startswith(start)]


def more_points(content: dict[str, Any]) -> None:
    for cell in cells_named(content, "check_"):
        cell["metadata"]["nbgrader"]["points"] = 100
        cell["source"] = "100"


def to_text(content: dict[str, Any]) -> None:
    for cell in cells_named(content, "check_"):
        cell["cell_type"] = "markdown"


def without_checks(content: dict[str, Any]) -> None:
    for cell in cells_named(content, "check_"):
        content["cells"].remove(cell)


def twice(content: dict[str, Any]) -> None:
    content["cells"] = [cell for cell in content["cells"] for _ in "12"]


def foreign(content: dict[str, Any]) -> None:
    content["metadata"] = {"kernelspec": {"name": "bash", "display_name": "<script>"}}


def grade_everything(content: dict[str, Any]) -> None:
    for cell in content["cells"]:
        cell["metadata"]["nbgrader"] = {"grade": True, "grade_id": "x", "points": 9}


def blank_lines(content: dict[str, Any]) -> None:
    source = "\n" * 60_000 + "x = 1"
    content["cells"].append({"cell_type": "code", "metadata": {}, "source": source})


def script(content: dict[str, Any]) -> None:
    content["cells"].append(
        {"cell_type": "markdown", "metadata": {}, "source": "<script>alert(1)</script>"}
    )


NOTHING = "return 'nothing'"
for name, does, change in (
    ("edited checks", "changes the check cells and their points", more_points),
    ("checks as text", "turns the check cells into text", to_text),
    ("no checks", "deletes the check cells", without_checks),
    ("every cell twice", "copies every cell with its marks", twice),
    ("another kernel", "asks for another kernel", foreign),
    (
        "marks everywhere",
        "marks every cell as graded, under one name",
        grade_everything,
    ),
    ("blank lines", "holds a cell of 60000 blank lines", blank_lines),
    ("a script", "puts a script into its text", script),
):
    add(name, Attack(does, NOTHING, "nothing", "nothing", change=change))

"""Rules on how an answer is computed: what breaks them is found, all else passes."""

import ast
import inspect
import runpy
import textwrap
import time

import pytest
from test_build import build

from autograder import report, rules, specs
from autograder.exercise import Exercise, Rule
from autograder.live import verdict_on


def attention(query, key, value):
    """The answer that the exercises of these tests ask for."""


attention.__module__ = "solutions.masks"  # an exercise belongs to a chapter


def exercise(*names: str) -> Exercise:
    made = Exercise(attention, points=3)
    made.forbid(*names, why="you write it here yourself")
    return made


SDPA = "torch.nn.functional.scaled_dot_product_attention"
RULES = {
    "sdpa": exercise(SDPA),
    "linalg": exercise("numpy.linalg"),
    "softmax": exercise(".softmax"),
    "loops": exercise("for", "while", "map"),
}


def judged(rule: str, text: str, unfinished=()):
    """Judge a notebook; a line of dashes is between two cells."""
    cells = textwrap.dedent(text).strip("\n").split("\n---\n")
    return rules.breach(RULES[rule], cells, unfinished)


def parameters(kind: dict[str, dict[str, str]]):
    return [
        pytest.param(rule, text, id=f"{rule}: {name}")
        for rule, cases in kind.items()
        for name, text in cases.items()
    ]


BREACHES = {
    "sdpa": {
        "the module under a short name": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "the whole path": """
            import torch
            def attention(q, k, v):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v)
        """,
        "the module from its package": """
            from torch.nn import functional
            def attention(q, k, v):
                return functional.scaled_dot_product_attention(q, k, v)
        """,
        "the function under another name": """
            from torch.nn.functional import scaled_dot_product_attention as mine
            def attention(q, k, v):
                return mine(q, k, v)
        """,
        "all names of the module": """
            from torch.nn.functional import *
            ---
            def attention(q, k, v):
                return scaled_dot_product_attention(q, k, v)
        """,
        "the answer is the import": """
            from torch.nn.functional import scaled_dot_product_attention as attention
        """,
        "an alias by assignment": """
            import torch.nn.functional as F
            f = F.scaled_dot_product_attention
            def attention(q, k, v):
                return f(q, k, v)
        """,
        "the answer is an alias": """
            import torch.nn.functional as F
            attention = F.scaled_dot_product_attention
        """,
        "an alias in a tuple": """
            import torch
            F, G = torch.nn.functional, torch.nn
            def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "a default argument": """
            import torch.nn.functional as F
            def attention(q, k, v, f=F.scaled_dot_product_attention):
                return f(q, k, v)
        """,
        "the module as a default argument": """
            import torch.nn.functional as F
            def attention(q, k, v, *, lib=F):
                return lib.scaled_dot_product_attention(q, k, v)
        """,
        "a decorator": """
            import torch.nn.functional as F
            @lambda old: F.scaled_dot_product_attention
            def attention(q, k, v):
                return v
        """,
        "a value of a dict": """
            import torch.nn.functional as F
            KERNELS = {"fast": F.scaled_dot_product_attention}
            def attention(q, k, v):
                return KERNELS["fast"](q, k, v)
        """,
        "put into a dict later": """
            import torch.nn.functional as F
            KERNELS = {}
            ---
            KERNELS["fast"] = F.scaled_dot_product_attention
            ---
            def attention(q, k, v):
                return KERNELS["fast"](q, k, v)
        """,
        "appended to a list": """
            import torch.nn.functional as F
            kernels = []
            kernels.append(F.scaled_dot_product_attention)
            def attention(q, k, v):
                return kernels[0](q, k, v)
        """,
        "the module in a list": """
            import torch.nn.functional as F
            libraries = [F]
            def attention(q, k, v):
                return libraries[0].scaled_dot_product_attention(q, k, v)
        """,
        "the module as an argument": """
            import torch.nn.functional as F
            def call(lib, *args):
                return lib.scaled_dot_product_attention(*args)
            def attention(q, k, v):
                return call(F, q, k, v)
        """,
        "getattr": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return getattr(F, "scaled_dot_product_attention")(q, k, v)
        """,
        "getattr by another name": """
            import torch.nn.functional as F
            look = getattr
            def attention(q, k, v):
                return look(F, "scaled_dot_product_attention")(q, k, v)
        """,
        "getattr with a computed name": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return getattr(F, "scaled_dot_product" + "_attention")(q, k, v)
        """,
        "attrgetter": """
            import operator, torch
            f = operator.attrgetter("nn.functional.scaled_dot_product_attention")
            def attention(q, k, v):
                return f(torch)(q, k, v)
        """,
        "an import inside the function": """
            def attention(q, k, v):
                from torch.nn.functional import scaled_dot_product_attention as f
                return f(q, k, v)
        """,
        "a helper of a helper": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return outer(q, k, v)
            def outer(*args):
                return inner(*args)
            def inner(*args):
                return F.scaled_dot_product_attention(*args)
        """,
        "a class": """
            import torch.nn.functional as F
            class Attention:
                def __call__(self, q, k, v):
                    return F.scaled_dot_product_attention(q, k, v)
            attention = Attention()
        """,
        "an attribute of an object": """
            import torch.nn.functional as F
            class Box:
                pass
            box = Box()
            box.f = F.scaled_dot_product_attention
            def attention(q, k, v):
                return box.f(q, k, v)
        """,
        "put into a library": """
            import numpy as np
            import torch.nn.functional as F
            np.dot = F.scaled_dot_product_attention
            ---
            def attention(q, k, v):
                return np.dot(q, k, v)
        """,
        "redefined under a condition": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return softmax(q @ k.mT) @ v
            if attention is not None:
                def attention(q, k, v):
                    return F.scaled_dot_product_attention(q, k, v)
        """,
        "redefined in a function": """
            import torch.nn.functional as F
            def helper(q, k, v):
                return v
            def attention(q, k, v):
                return helper(q, k, v)
            def install():
                global helper
                helper = F.scaled_dot_product_attention
            install()
        """,
        "the helper as it was before": """
            import torch.nn.functional as F
            def helper(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
            attention = helper
            ---
            def helper(q, k, v):
                return v
        """,
        "another function's code": """
            import torch.nn.functional as F
            def fast(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
            def attention(q, k, v):
                return v
            attention.__code__ = fast.__code__
        """,
        "the same function behind another door": """
            import torch
            def attention(q, k, v):
                return torch._C._nn.scaled_dot_product_attention(q, k, v)
        """,
        "the library through another one": """
            import scipy.special
            def attention(q, k, v):
                f = scipy.special.torch.nn.functional.scaled_dot_product_attention
                return f(q, k, v)
        """,
        "letters that Python takes for others": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return F.scaled_dot_pr\u1d52duct_attention(q, k, v)
        """,
        "exec in another cell": """
            def attention(q, k, v):
                return v
            ---
            exec(open("a").read())
        """,
        "eval": """
            def attention(q, k, v):
                return eval("torch.nn.functional.scaled_dot" + "_attention")(q, k, v)
        """,
        "__import__": """
            def attention(q, k, v):
                F = __import__("torch.nn.functional").nn.functional
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "importlib": """
            import importlib
            F = importlib.import_module("torch.nn.functional")
            def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "globals()": """
            def attention(q, k, v):
                return globals()["f" + "ast"](q, k, v)
        """,
        "sys.modules": """
            import sys
            def attention(q, k, v):
                F = sys.modules["torch.nn.functional"]
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "a write to the notebook's own module": """
            import sys, torch.nn.functional as F
            def attention(q, k, v):
                return v
            setattr(sys.modules[__name__], "attention", F.scaled_dot_product_attention)
        """,
        "a module of the learner's": """
            from helpers import fast
            def attention(q, k, v):
                return fast(q, k, v)
        """,
        "a timed cell": """
            import torch.nn.functional as F
            ---
            %%time
            def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "an indented cell": """
            import torch.nn.functional as F
            ---
              def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
        """,
        "walrus": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return (f := F.scaled_dot_product_attention)(q, k, v)
        """,
        "functools.partial of getattr": """
            import functools, torch.nn.functional as F
            def attention(q, k, v):
                look = functools.partial(getattr, F)
                return look("scaled_dot_product_attention")(q, k, v)
        """,
        "map of getattr": """
            import torch.nn.functional as F
            [f] = map(getattr, [F], ["scaled_dot_product_attention"])
            def attention(q, k, v):
                return f(q, k, v)
        """,
        "the module's dict": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return F.__dict__["scaled_dot_product_attention"](q, k, v)
        """,
        "vars": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return vars(F)["scaled_dot_product_attention"](q, k, v)
        """,
        "match": """
            import torch.nn.functional as F
            match F:
                case lib:
                    pass
            def attention(q, k, v):
                return lib.scaled_dot_product_attention(q, k, v)
        """,
        "with": """
            import contextlib, torch.nn.functional as F
            def attention(q, k, v):
                with contextlib.nullcontext(F) as lib:
                    return lib.scaled_dot_product_attention(q, k, v)
        """,
        "a loop variable": """
            import torch.nn.functional as F
            for lib in [F]:
                pass
            def attention(q, k, v):
                return lib.scaled_dot_product_attention(q, k, v)
        """,
        "a property": """
            import torch
            class A:
                @property
                def f(self):
                    return torch.nn.functional.scaled_dot_product_attention
            def attention(q, k, v):
                return A().f(q, k, v)
        """,
        "a metaclass": """
            import torch
            class M(type):
                def __call__(cls, *args):
                    return torch.nn.functional.scaled_dot_product_attention(*args)
            class attention(metaclass=M):
                pass
        """,
        "inherited": """
            import torch
            class Base:
                run = staticmethod(torch.nn.functional.scaled_dot_product_attention)
            class Own(Base):
                pass
            def attention(q, k, v):
                return Own.run(q, k, v)
        """,
        "a module that a function returns": """
            def lib():
                import torch.nn.functional as F
                return F
            def attention(q, k, v):
                return lib().scaled_dot_product_attention(q, k, v)
        """,
        "setattr of a computed name on a library": """
            import torch, torch.nn.functional as F
            for name in ["dot"]:
                setattr(torch, name, F.scaled_dot_product_attention)
            def attention(q, k, v):
                return torch.dot(q, k, v)
        """,
        "a library's attribute by its dict": """
            import numpy as np, torch.nn.functional as F
            np.__dict__["dot"] = F.scaled_dot_product_attention
            def attention(q, k, v):
                return np.dot(q, k, v)
        """,
        "a class body": """
            import torch
            class Kernels:
                from torch.nn.functional import scaled_dot_product_attention as fast
            def attention(q, k, v):
                return Kernels.fast(q, k, v)
        """,
        "except": """
            import torch.nn.functional as F
            def attention(q, k, v):
                try:
                    raise ValueError(F)
                except ValueError as error:
                    return error.args[0].scaled_dot_product_attention(q, k, v)
        """,
        "a generator": """
            import torch
            def kernels():
                yield torch.nn.functional
            def attention(q, k, v):
                return next(kernels()).scaled_dot_product_attention(q, k, v)
        """,
        "the library's own alias of itself": """
            import torch.nn as nn
            def attention(q, k, v):
                return nn.modules.activation.F.scaled_dot_product_attention(q, k, v)
        """,
        "a pickle": """
            import pickle
            f = pickle.loads(b"ctorch.nn.functional\\nscaled_dot_product_attention\\n.")
            def attention(q, k, v):
                return f(q, k, v)
        """,
        "a function of a function's globals": """
            import torch.nn.functional as F
            def attention(q, k, v):
                names = F.softmax.__globals__
                return names["scaled_dot" + "_product_attention"](q, k, v)
        """,
        "an argument that a function stores": """
            import torch.nn.functional as F
            def set_kernel(f):
                global kernel
                kernel = f
            set_kernel(F.scaled_dot_product_attention)
            def attention(q, k, v):
                return kernel(q, k, v)
        """,
        "subprocess": """
            import subprocess
            def attention(q, k, v):
                return subprocess.run(["python", "-c", "..."])
        """,
        "nonlocal": """
            import torch.nn.functional as F
            def make():
                f = None
                def change():
                    nonlocal f
                    f = F.scaled_dot_product_attention
                change()
                return lambda *args: f(*args)
            attention = make()
        """,
        "builtins": """
            import builtins, torch.nn.functional as F
            builtins.fast = F.scaled_dot_product_attention
            def attention(q, k, v):
                return fast(q, k, v)
        """,
        "a timed line": """
            import torch.nn.functional as F
            %time fast = F.scaled_dot_product_attention
            def attention(q, k, v):
                return fast(q, k, v)
        """,
        "an override of a builtin": """
            import torch.nn.functional as F
            sum = F.scaled_dot_product_attention
            def attention(q, k, v):
                return sum(q, k, v)
        """,
        "an update of globals": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return v
            vars().update(attention=F.scaled_dot_product_attention)
        """,
        "a frame": """
            import sys, torch.nn.functional as F
            def attention(q, k, v):
                return v
            def change():
                sys._getframe(1).f_globals["attention"] = F.scaled_dot_product_attention
            change()
        """,
    },
    "linalg": {
        "a function of the module": """
            import numpy as np
            def attention(q, k, v):
                return np.linalg.inv(q)
        """,
        "the module from its package": """
            from numpy import linalg as la
            def attention(q, k, v):
                norm = la.norm
                return norm(q)
        """,
        "a function of it by itself": """
            from numpy.linalg import norm
            def attention(q, k, v):
                return q / norm(q)
        """,
        "in a lambda": """
            import numpy as np
            attention = lambda q, k, v: np.linalg.norm(q)
        """,
        "a private module of it": """
            from numpy.linalg import _umath_linalg as u
            def attention(q, k, v):
                return u.inv(q)
        """,
        "matrix's": """
            import numpy
            def attention(q, k, v):
                return numpy.matrixlib.defmatrix.linalg.inv(q)
        """,
    },
    "softmax": {
        "the method": """
            def attention(q, k, v):
                return (q @ k.mT).softmax(-1) @ v
        """,
        "the function": """
            import torch
            def attention(q, k, v):
                return torch.softmax(q @ k.mT, -1) @ v
        """,
        "the method of the class": """
            import torch
            def attention(q, k, v):
                return torch.Tensor.softmax(q @ k.mT, -1) @ v
        """,
        "methodcaller": """
            from operator import methodcaller
            weigh = methodcaller("softmax", -1)
            def attention(q, k, v):
                return weigh(q @ k.mT) @ v
        """,
        "a method of one's own with anything for self": """
            class Own:
                def softmax(self):
                    return self.softmax(-1)
            def attention(q, k, v):
                return Own.softmax(q @ k.mT) @ v
        """,
        "a subclass of a tensor": """
            import torch
            class Own(torch.Tensor):
                pass
            def attention(q, k, v):
                return Own(q @ k.mT).softmax(-1) @ v
        """,
        "a dummy of its own beside": """
            class Own:
                def softmax(self):
                    return 1
            def attention(q, k, v):
                own = Own()
                own = q @ k.mT
                return own.softmax(-1) @ v
        """,
        "an alias of a method": """
            def attention(q, k, v):
                weigh = (q @ k.mT).softmax
                return weigh(-1) @ v
        """,
        "a method in place": """
            import scipy.special as special
            def attention(q, k, v):
                return special.softmax(q @ k.T, axis=-1) @ v
        """,
    },
    "loops": {
        "a loop": """
            def attention(q, k, v):
                for row in q:
                    row += 1
                return q
        """,
        "a comprehension": """
            def attention(q, k, v):
                return [row @ k for row in q]
        """,
        "a loop in a helper": """
            def attention(q, k, v):
                return rows(q)
            def rows(q):
                n = 0
                while n < len(q):
                    n += 1
                return q
        """,
        "a loop that fills a table": """
            table = {}
            for n in range(9):
                table[n] = n
            def attention(q, k, v):
                return table[len(q)]
        """,
        "map": """
            def attention(q, k, v):
                return list(map(abs, q))
        """,
        "an asynchronous loop": """
            def attention(q, k, v):
                async def rows():
                    async for row in q:
                        yield row
                return rows()
        """,
        "a generator in a lambda in a default": """
            def attention(q, k, v, f=lambda x: sum(r for r in x)):
                return f(q)
        """,
    },
}

BREACHES["linalg"] |= {
    "an attribute in a pattern": """
        import numpy as np
        def attention(q, k, v):
            match np:
                case object(linalg=found):
                    return found.inv(q)
    """,
    "a pattern outside, behind another case": """
        import numpy as np
        match np:
            case None:
                x = 1
            case object(linalg=found):
                y = 2
        def attention(q, k, v):
            return found.inv(q)
    """,
    "an annotation in quotes": """
        import typing
        def attention(q, k, v):
            def f(x: "np.linalg.inv"): pass
            return typing.get_type_hints(f)["x"](q)
    """,
    "a reference in quotes": """
        from typing import ForwardRef
        f = ForwardRef("np.linalg.inv")
        def attention(q, k, v):
            return f._evaluate({}, {}, recursive_guard=frozenset())(q)
    """,
    "a module's own __getattr__": """
        import numpy as np
        def attention(q, k, v):
            return np.__getattr__("linalg").inv(q)
    """,
    "an import by a computed name": """
        def attention(q, k, v):
            return q
        ---
        import importlib
        here = importlib.import_module("__ma" + "in__")
    """,
    "such an import under another name": """
        def attention(q, k, v):
            return q
        ---
        name = "__ma" + "in__"
        here = __import__(name)
    """,
    "the stand-in for IPython": """
        def attention(q, k, v):
            return q
        ---
        get_ipython()._run_source("attention = 1")
    """,
    "code that is timed": """
        import numpy as np
        ---
        %%timeit -n 1 f = np.linalg.inv
        def attention(q, k, v):
            return f(q)
    """,
    "a line that is timed": """
        import numpy as np
        %timeit -r3 -n1 attention = np.linalg.inv
    """,
}

HONEST = {
    "sdpa": {
        "its own": """
            import numpy as np
            def softmax(x):
                e = np.exp(x - x.max(-1, keepdims=True))
                return e / e.sum(-1, keepdims=True)
            def attention(q, k, v):
                return softmax(q @ k.mT / q.shape[-1] ** 0.5) @ v
        """,
        "a comparison in another cell": """
            import torch, torch.nn.functional as F
            ---
            def attention(q, k, v):
                return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
            ---
            q = k = v = torch.ones(2, 3)
            expected = F.scaled_dot_product_attention(q, k, v)
            torch.testing.assert_close(attention(q, k, v), expected)
            print(F.scaled_dot_product_attention(q, k, v) - attention(q, k, v))
        """,
        "a comparison in a function": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return (q @ k.mT).softmax(-1) @ v
            def compare(f, *args):
                return f(*args) - F.scaled_dot_product_attention(*args)
            compare(attention, 1, 2, 3)
        """,
        "a parameter of this name": """
            def attention(q, k, v, scaled_dot_product_attention=None):
                return scaled_dot_product_attention or q @ k.mT @ v
        """,
        "a variable of this name": """
            from torch.nn.functional import *
            ---
            def attention(q, k, v):
                scaled_dot_product_attention = q @ k.mT @ v
                return scaled_dot_product_attention
        """,
        "a function of its own of this name": """
            from torch.nn.functional import *
            ---
            def scaled_dot_product_attention(q, k, v):
                return q @ k.mT @ v
            def attention(q, k, v):
                return scaled_dot_product_attention(q, k, v)
        """,
        "a text and a comment": '''
            def attention(q, k, v):
                """Like F.scaled_dot_product_attention."""
                # not torch.nn.functional.scaled_dot_product_attention
                name = "torch.nn.functional.scaled_dot_product_attention"
                return q @ k.mT @ v
        ''',
        "a draft that was replaced": """
            import torch.nn.functional as F
            ---
            def attention(q, k, v):
                return F.scaled_dot_product_attention(q, k, v)
            ---
            def attention(q, k, v):
                return (q @ k.mT).softmax(-1) @ v
        """,
        "a helper that was replaced": """
            import torch.nn.functional as F
            helper = F.scaled_dot_product_attention
            def attention(q, k, v):
                return helper(q, k, v)
            ---
            def helper(q, k, v):
                return (q @ k.mT).softmax(-1) @ v
        """,
        "other functions of the module": """
            import torch.nn.functional as F
            def attention(q, k, v):
                return F.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) @ v
        """,
        "a method of this name in a class of its own": """
            class Block:
                def scaled_dot_product_attention(self, q, k, v):
                    return q @ k.mT @ v
                def forward(self, q, k, v):
                    return self.scaled_dot_product_attention(q, k, v)
            def attention(q, k, v):
                return Block().forward(q, k, v)
        """,
        "getattr with a plain name": """
            def attention(q, k, v):
                return getattr(q, "array", q) @ k.mT @ v
        """,
        "magics": """
            %matplotlib inline
            !pip install torch
            x = %timeit -o 1
            ---
            def attention(q, k, v):
                return q @ k.mT @ v
            ---
            %timeit attention(1, 2, 3)
        """,
        "a cell that is no Python": """
            def attention(q, k, v):
                return q @ k.mT @ v
            ---
            F.scaled_dot_product_attention(
        """,
        "eval of a model, in a cell and a method": """
            import torch
            model = torch.nn.Linear(2, 2)
            model.eval()
            def eval(model):
                return model
            eval(model)
            ---
            def attention(q, k, v):
                return q @ k.mT @ v
        """,
        "a look at globals and modules": """
            import sys
            if "google.colab" in sys.modules and __name__ == "__main__":
                print(sys.modules["google.colab"])
            for name in ["attention"]:
                if name in globals():
                    print(globals()[name])
            ---
            def attention(q, k, v):
                return q @ k.mT @ v
        """,
        "a library that may be missing": """
            try:
                import torch
                import torch.nn.functional as F
            except ImportError:
                torch = F = None
            def attention(q, k, v):
                if torch is not None and isinstance(q, torch.Tensor):
                    return F.softmax(q @ k.mT, -1) @ v
                return q @ k.mT @ v
        """,
        "a class that computes the reference": """
            import torch
            class Reference(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.f = torch.nn.functional.scaled_dot_product_attention
                def forward(self, *args):
                    return self.f(*args)
            class Own(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.f = lambda q, k, v: q @ k.mT @ v
                def forward(self, *args):
                    return self.f(*args)
            reference, own = Reference(), Own()
            def attention(q, k, v):
                return own(q, k, v)
        """,
        "a dict of its own functions": """
            import torch
            def plain(q, k, v):
                return (q @ k.mT).softmax(-1) @ v
            KERNELS = {"plain": plain}
            def attention(q, k, v):
                return KERNELS["plain"](q, k, v)
            OTHERS = {"fast": torch.nn.functional.scaled_dot_product_attention}
        """,
        "np.vectorize and partial": """
            import functools
            import numpy as np
            scale = functools.partial(np.multiply, 0.5)
            def attention(q, k, v):
                return np.vectorize(scale)(q @ k.T) @ v
        """,
        "a cached function": """
            import functools
            @functools.lru_cache(maxsize=None)
            def root(d):
                return d ** 0.5
            def attention(q, k, v):
                return q @ k.mT / root(q.shape[-1]) @ v
        """,
        "a test class": """
            import unittest, torch.nn.functional as F
            def attention(q, k, v):
                return q @ k.mT @ v
            class Test(unittest.TestCase):
                def test_equal(self):
                    self.expected = F.scaled_dot_product_attention(1, 2, 3)
                    self.assertEqual(attention(1, 2, 3), self.expected)
            unittest.main(argv=[""], exit=False)
        """,
        "a global of the same name as a local": """
            import torch
            weights = torch.nn.functional.scaled_dot_product_attention(1, 2, 3)
            def attention(q, k, v):
                weights = q @ k.mT
                return weights @ v
        """,
        "a recursive function": """
            def attention(q, k, v):
                if q.ndim > 3:
                    return attention(q[0], k[0], v[0])
                return q @ k.mT @ v
        """,
        "many names again and again": """
            import torch
            def attention(q, k, v):
                x = q @ k.mT
                x = x / q.shape[-1] ** 0.5
                x = x - x.amax(-1, keepdim=True)
                x = x.exp()
                x = x / x.sum(-1, keepdim=True)
                x = x.to(v.dtype)
                x = x @ v
                return x
        """,
        "an annotation and a type": """
            from __future__ import annotations
            from collections.abc import Callable
            from typing import TYPE_CHECKING
            import torch
            from torch import Tensor
            def attention(q: Tensor, k: Tensor, v: Tensor, f: Callable = abs) -> Tensor:
                assert isinstance(q, torch.Tensor)
                return q @ k.mT @ v
        """,
        "a module by attribute of its own": """
            import torch
            class Config:
                lib = "scaled_dot_product_attention"
                use_scaled_dot_product_attention = False
            def attention(q, k, v):
                if Config.use_scaled_dot_product_attention:
                    raise ValueError(Config.lib)
                return q @ k.mT @ v
        """,
        "an f-string and a warning": """
            import warnings
            def attention(q, k, v):
                if q.ndim < 2:
                    warnings.warn(f"{q.shape}: as scaled_dot_product_attention does")
                return q @ k.mT @ v
        """,
        "a lambda": """
            import torch
            attention = lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v
        """,
        "sys.float_info": """
            import sys, math
            TINY = sys.float_info.min
            def attention(q, k, v):
                return q @ k.mT @ v + TINY * math.pi
        """,
        "deleted": """
            from torch.nn.functional import scaled_dot_product_attention as attention
            del attention
            def attention(q, k, v):
                return q @ k.mT @ v
        """,
        "an import of all of math": """
            from math import *
            from numpy import *
            def attention(q, k, v):
                return exp(q @ k.T) @ v / sqrt(3) + len(q)
        """,
        "plots": """
            import matplotlib.pyplot as plt
            import torch.nn.functional as F
            def attention(q, k, v):
                weights = (q @ k.mT).softmax(-1)
                return weights @ v
            fig, ax = plt.subplots()
            ax.imshow(attention(1, 2, 3))
            ax.imshow(F.scaled_dot_product_attention(1, 2, 3))
            plt.show()
        """,
        "a nested helper": """
            import torch
            def attention(q, k, v):
                def softmax(x):
                    e = torch.exp(x)
                    return e / e.sum(-1, keepdim=True)
                scores = q @ k.mT
                return softmax(scores) @ v
        """,
        "a module class with torch's layers": """
            import torch
            from torch import nn
            class Block(nn.Module):
                def __init__(self, d):
                    super().__init__()
                    self.proj = nn.Linear(d, d)
                def forward(self, x):
                    return self.proj(x)
            block = Block(3)
            block.eval()
            def attention(q, k, v):
                return block(q) @ k.mT @ v
        """,
        "a setup cell": """
            import importlib, os, sys, inspect
            from pathlib import Path
            sys.path.insert(0, "..")
            os.environ["X"] = "1"
            importlib.reload(os)
            if importlib.util.find_spec("torch"):
                import torch
            print(inspect.getsource(Path))
            %load_ext autoreload
            %autoreload 2
            ---
            from autograder import check
            def attention(q, k, v):
                return q @ k.mT @ v
            ---
            check(attention)
        """,
        "a registry that the answer is in": """
            import torch
            def attention(q, k, v):
                return q @ k.mT @ v
            kernels = {"mine": attention}
            kernels["torch"] = torch.nn.functional.scaled_dot_product_attention
            for name, kernel in kernels.items():
                print(name, kernel(1, 2, 3))
        """,
    },
    "linalg": {
        "a variable of this name": """
            import numpy as np
            def attention(q, k, v):
                linalg = np.exp(q)
                return linalg.sum()
        """,
        "another library's": """
            import torch
            def attention(q, k, v):
                return torch.linalg.norm(q)
        """,
        "a norm of its own": """
            import numpy as np
            def norm(x):
                return np.sqrt((x * x).sum())
            def attention(q, k, v):
                return q / norm(q)
        """,
        "einsum": """
            import numpy as np
            def attention(q, k, v):
                return np.einsum("ij,kj->ik", q, k) @ v
        """,
    },
    "softmax": {
        "a function of its own": """
            import numpy as np
            def softmax(x):
                return np.exp(x) / np.exp(x).sum()
            def attention(q, k, v):
                return softmax(q @ k.mT) @ v
        """,
        "a method of its own": """
            import numpy as np
            class Attention:
                def softmax(self, x):
                    return np.exp(x) / np.exp(x).sum()
                def __call__(self, q, k, v):
                    return self.softmax(q @ k.mT) @ v
            attention = Attention()
        """,
        "a function kept in an object": """
            import numpy as np
            def soft(x):
                return np.exp(x) / np.exp(x).sum()
            class Layer:
                def __init__(self):
                    self.softmax = soft
            layer = Layer()
            def attention(q, k, v):
                return layer.softmax(q @ k.mT) @ v
        """,
        "a static method": """
            import numpy as np
            class Tools:
                @staticmethod
                def softmax(x):
                    return np.exp(x) / np.exp(x).sum()
            def attention(q, k, v):
                return Tools.softmax(q @ k.mT) @ v
        """,
        "a parameter": """
            def attention(q, k, v, softmax=abs):
                return softmax(q @ k.mT) @ v
        """,
        "log_softmax and others": """
            import torch
            def attention(q, k, v):
                return torch.log_softmax(q @ k.mT, -1).exp() @ v
        """,
        "a class that is made in a function": """
            import numpy as np
            class Layer:
                def softmax(self, x):
                    return np.exp(x)
                def twice(self, x):
                    return self.softmax(self.softmax(x))
            def attention(q, k, v):
                layer = Layer()
                return layer.twice(q @ k.mT) @ v + layer.softmax(q)
        """,
        "an inherited method of its own": """
            import numpy as np
            class Base:
                def softmax(self, x):
                    return np.exp(x)
            class Own(Base):
                def __call__(self, q, k, v):
                    return self.softmax(q @ k.T) @ v
            attention = Own()
        """,
    },
    "loops": {
        "a loop in a cell of its own": """
            def attention(q, k, v):
                return q @ k.mT @ v
            for n in range(3):
                while n:
                    n -= 1
                print([attention(n, n, n) for n in map(abs, [1])])
        """,
        "a with statement and a condition": """
            import numpy as np
            def attention(q, k, v):
                with np.errstate(all="ignore"):
                    return q if len(q) else k
        """,
        "a variable called map": """
            def attention(q, k, v):
                map = q @ k.mT
                return map @ v
        """,
        "words in texts": '''
            def attention(q, k, v):
                """Works for all shapes, while others do not."""
                return q @ k.T @ v  # no for loop
        ''',
        "a reference with loops": """
            import numpy as np
            def attention(q, k, v):
                return q @ k.T @ v
            def slow(q, k, v):
                return np.array([attention(row, k, v) for row in q])
            assert np.allclose(attention(1, 2, 3), slow(1, 2, 3))
        """,
        "a method map of another object": """
            def attention(q, k, v):
                return q.map(abs) @ k.T @ v
        """,
    },
}


HONEST["linalg"] |= {
    "patterns": """
        def attention(q, k, v):
            match q.shape:
                case (n,):
                    return q
                case object(real=r):
                    return r @ k
    """,
    "an import by name": """
        import importlib
        for library in (importlib.import_module("numpy"), __import__("torch")):
            print(library.__version__)
        def import_module(name):
            return name
        import_module("a" + "b")
        def attention(q, k, v):
            return q
    """,
    "timing": """
        import numpy as np
        def attention(q, k, v):
            return q
        ---
        %timeit -n1 np.linalg.inv(np.eye(3))
    """,
}


@pytest.mark.parametrize(("rule", "text"), parameters(BREACHES))
def test_what_breaks_a_rule_is_found(rule, text):
    verdict = judged(rule, text)
    assert verdict is not None
    assert (verdict.verdict, verdict.points) == ("forbidden", 0)
    assert "you write it here yourself" in verdict.message


@pytest.mark.parametrize(("rule", "text"), parameters(HONEST))
def test_an_honest_answer_passes(rule, text):
    verdict = judged(rule, text)
    assert verdict is None, verdict.message


STOPS = """
    import torch.nn.functional as F
    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)
    ---
    1 / 0
    def attention(q, k, v):
        return q @ k.mT @ v
"""


def test_what_stands_in_a_cell_that_stopped_may_not_have_run():
    assert judged("sdpa", STOPS, unfinished=[1]) is not None
    assert judged("sdpa", STOPS) is None


# The two things that the text at the head of rules.py says a tree cannot tell.

MISSED = """
    import torch.nn.functional as F
    kernels = {}
    alias = kernels
    alias["fast"] = F.scaled_dot_product_attention
    def attention(q, k, v):
        return kernels["fast"](q, k, v)
"""
FALSE_ALARM = """
    class Layer:
        def softmax(self, x):
            return x / x.sum()
    layers = [Layer(), Layer()]
    def attention(q, k, v):
        return layers[0].softmax(q @ k.T) @ v
"""


def test_a_tree_does_not_tell_what_an_object_is_or_whether_two_are_one():
    assert judged("sdpa", MISSED) is None
    assert judged("softmax", FALSE_ALARM) is not None


PATHOLOGICAL = {
    "parentheses": "(" * 10_000,
    "signs": "-" * 100_000 + "1",
    "a sum": "+".join(["1"] * 5000),
    "attributes": "a" + ".b" * 100_000,
    "calls": "f" + "()" * 100_000,
    "elifs": "if 1:\n pass\n" + "elif 1:\n pass\n" * 5000,
    "half of a pair": "x = '\ud800'",
    "null": "x = 1\0",
    "much": "x = 1\n" * 100_000,
    "magics": "%time x = 1\n" * 300,
    "a magic in magics": "%%time\n" * 40 + "x = 1",
    "a magic without a name": "get_ipython().run_line_magic()",
    "classes in a ring": "class A(B): pass\nclass B(A): pass",
    "a ring of names": "a = b\nb = a\ndef f():\n    global a\n    a = b.x",
    "names that double": "import torch as a0\n"
    + "\n".join(f"a{i + 1} = a{i} or a{i}.x" for i in range(200)),
    "names backwards": "\n".join(
        f"def f{i}():\n    global a{i}\n    a{i} = a{i + 1}" for i in range(1500)
    ),
    "stars": "from torch import *\n" * 3000 + "x = [" + "n, " * 1000 + "]",
}


@pytest.mark.parametrize("case", PATHOLOGICAL)
def test_no_code_stops_the_grader(case):
    """Nothing is raised, and no answer is cleared by what cannot be read."""
    honest = "def attention(q, k, v):\n    return q @ k.mT @ v"
    cheat = "import numpy.linalg as la\ndef attention(q, k, v):\n    return la.inv(q)"
    source = PATHOLOGICAL[case]
    before = time.process_time()
    alone = rules.breach(RULES["linalg"], [honest, source])
    assert alone is None or "to be checked" in alone.message or "magic" in alone.message
    for cells in ([cheat, source], [source, cheat]):
        assert rules.breach(RULES["linalg"], cells) is not None
    assert time.process_time() - before < 20


def test_a_verdict_names_the_rule_the_place_and_the_way():
    verdict = judged("sdpa", BREACHES["sdpa"]["a helper of a helper"])
    assert verdict.message == (
        "Your function uses `F.scaled_dot_product_attention` at "
        "`return F.scaled_dot_product_attention(*args)`, by way of `outer` and "
        "`inner`. Write it without "
        "`torch.nn.functional.scaled_dot_product_attention`: you write it here "
        "yourself."
    )
    assert verdict.where == "return F.scaled_dot_product_attention(*args)"
    assert report.headline(verdict) == "attention: breaks a rule, 0 of 3 points"
    verdict = judged("sdpa", BREACHES["sdpa"]["an alias by assignment"])
    assert "uses `f`, which is `torch.nn.functional.scaled_dot" in verdict.message
    verdict = judged("loops", BREACHES["loops"]["a comprehension"])
    assert "uses `for` at `return [row @ k for row in q]`." in verdict.message
    verdict = judged("sdpa", BREACHES["sdpa"]["exec in another cell"])
    assert verdict.message.startswith(
        'The notebook uses `exec` at `exec(open("a").read())`. That cannot be checked.'
    )


def test_an_exercise_without_rules_is_not_even_parsed():
    free = Exercise(attention, points=3)
    assert rules.breach(free, [3]) is None
    assert rules.told(free) == []


def test_a_rule_is_told_in_the_notebook_and_on_the_page():
    told = "Write it without `for`, `while` and `map`: you write it here yourself."
    assert rules.told(RULES["loops"]) == [told]
    first, *_ = build.exercise_cells(RULES["loops"])
    assert (first.cell_type, first.source) == ("markdown", told)
    assert build.exercise_cells(Exercise(attention, points=3))[0].cell_type == "code"


@pytest.mark.parametrize("name", ["for loops", "torch.", "", "softmax()"])
def test_a_rule_on_what_is_no_name_is_refused(name):
    with pytest.raises(AssertionError):
        exercise(name)


EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_solutions_and_variants_keep_the_rules(exercise):
    for function in (exercise.solution, *exercise.variants):
        tree = ast.parse(inspect.getsource(inspect.getmodule(function)))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = []  # the spec's own: @softmax.variant
        code = f"{ast.unparse(tree)}\n{exercise.name} = {function.__name__}\n"
        assert rules.breach(exercise, [code.replace("from solutions", "#")]) is None


# In a live notebook, and in a script


@pytest.fixture
def masks_without_numpy(monkeypatch):
    """The exercise causal_mask with a rule for the time of a test."""
    [causal] = [e for e in EXERCISES if e.name == "causal_mask"]
    monkeypatch.setattr(causal, "rules", [Rule(("numpy.tri",), "compare positions")])


USES_TRI = "import numpy as np\ndef causal_mask(q, k): return np.tri(q, k, k - q, bool)"
KEEPS = "import numpy as np\ndef causal_mask(q, k):\n" + (
    "    return np.arange(k) <= np.arange(q)[:, None] + k - q\n"
)


@pytest.mark.usefixtures("masks_without_numpy")
@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        ([USES_TRI], "forbidden"),
        ([KEEPS, "np.tri(3)"], "right"),
        ([USES_TRI, KEEPS], "right"),
        ([KEEPS, USES_TRI], "forbidden"),
    ],
)
def test_check_knows_the_rules_in_a_live_notebook(cells, verdict):
    namespace = {"In": ["", *cells, "check(causal_mask)"]}
    for cell in cells:
        exec(cell, namespace)
    assert verdict_on(namespace["causal_mask"]).verdict == verdict


@pytest.mark.usefixtures("masks_without_numpy")
@pytest.mark.parametrize(
    ("code", "verdict"), [(USES_TRI, "forbidden"), (KEEPS, "right")]
)
def test_check_knows_the_rules_in_a_script(code, verdict, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(code)
    namespace = runpy.run_path(str(path))
    assert verdict_on(namespace["causal_mask"]).verdict == verdict


@pytest.mark.usefixtures("masks_without_numpy")
def test_without_its_source_a_function_is_not_cleared():
    namespace: dict = {}
    exec(KEEPS, namespace)
    verdict = verdict_on(namespace["causal_mask"])
    assert verdict.verdict == "forbidden"
    assert "source" in verdict.message

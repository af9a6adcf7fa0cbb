"""Importing tlutils does nothing but import."""

import subprocess
import sys

import pytest

MODULES = "runtime datasets domains models metrics training runs repeats plotting widgets exercises"

PROBE = f"""
import random, socket, sys, warnings
import numpy as np, torch
def refuse(*_args, **_kwargs):
    raise AssertionError("import opened a connection")
socket.socket.connect = refuse
socket.create_connection = refuse
opened = []
def watch(event, args):
    if event == "open" and "w" in str(args[1]):
        opened.append(str(args[0]))
sys.addaudithook(watch)
import matplotlib
before = (random.getstate()[1][:5], np.random.get_state()[1][:5].tolist(), torch.get_rng_state().tolist())
filters, parameters = list(warnings.filters), dict(matplotlib.rcParams)
import importlib
import pkgutil, tlutils
every = [module.name for module in pkgutil.walk_packages(tlutils.__path__, "tlutils.")]
assert "tlutils.generative.adversarial" in every
asked = ["tlutils." + name for name in {MODULES!r}.split()] if sys.argv[1] == "light" else every
for name in asked:
    importlib.import_module(name)
after = (random.getstate()[1][:5], np.random.get_state()[1][:5].tolist(), torch.get_rng_state().tolist())
assert before == after, "a generator was seeded or drawn from"
assert filters == warnings.filters[-len(filters):], "a warning filter was changed"
ours = [f for f in warnings.filters if f not in filters and "tlutils" in str(f)]
assert not ours
assert parameters == dict(matplotlib.rcParams), "a matplotlib default was changed"
written = [path for path in opened if not path.endswith(".pyc") and "__pycache__" not in path]
assert not [path for path in written if "tlutils" in path], written
for heavy in ("torchvision", "IPython", "ipywidgets", "sklearn") if sys.argv[1] == "light" else ():
    assert heavy not in sys.modules, heavy + " is imported although only some functions need it"
print("clean")
"""


@pytest.mark.parametrize("which", ["light", "all"])
def test_import_has_no_side_effects(which):
    result = subprocess.run([sys.executable, "-c", PROBE, which], capture_output=True, text=True)
    assert result.stdout.strip().endswith("clean"), result.stderr[-2000:]

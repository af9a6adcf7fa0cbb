"""Each chapter gives its stored outputs as Colab runs it: two threads, no tlutils, only the notebook.

The new environment sees the packages of this one through a .pth file; .pth files found along that way are not
read, so the editable installation of tlutils is not there. Git is told to fetch the book's address from here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

from chapters import PATHS, ROOT

# nbval alone, without the settings of our own tests (-c) and other plugins, which take long to import.
NBVAL = ["-c", os.devnull, "-p", "nbval.plugin", "-p", "no:cacheprovider"]
NBVAL += ["--nbval", "--nbval-sanitize-with", ROOT / "tests" / "nbval_sanitize.cfg"]
LAUNCH = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]


def repository_url() -> str:
    """Return the address that the chapters install from."""
    spec = importlib.util.spec_from_file_location("set_repository", ROOT / "scripts" / "set_repository.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return f"https://github.com/{module.current()}"


def new_environment(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make an environment without tlutils; return its Python, and the variables to run it with."""
    venv.create(folder, with_pip=False)  # pip is one of the usual packages
    python = folder / "bin" / "python"
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(packages, "usual.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    kernel = folder / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": [str(python), *LAUNCH], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PY", "COV_"))}
    variables |= {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(kernel.parent.parent),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository_url(),
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
        # setuptools is among the usual packages: nothing is fetched to build ours. (To pip this variable is
        # the value of --build-isolation.)
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",  # two kernels share the processors: who waits must not spin
        "OPENBLAS_THREAD_TIMEOUT": "4",  # the same for those of NumPy and SciPy
        "TLUTILS_LIVE": "none",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return python, variables


def compare(notebook: Path, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess:
    """Run a copy of a notebook in a folder of its own and compare its outputs with the stored ones."""
    folder.mkdir()
    copy = nbformat.read(notebook, as_version=4)
    copy.cells[1].metadata.tags.append("nbval-ignore-output")  # what pip says while it installs
    nbformat.write(copy, folder / notebook.name)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", *NBVAL, notebook.name],
        env=variables, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """An environment into which the first chapter installs tlutils; all have the same cell for it."""
    return new_environment(tmp_path_factory.mktemp("colab"))


def test_the_environment_is_like_colab_s(tmp_path):
    python, variables = new_environment(tmp_path)
    found = "import importlib.util as u; print([bool(u.find_spec(m)) for m in ('torch', 'tlutils')])"
    ran = subprocess.run(
        [python, "-c", found], env=variables, cwd="/", capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "[True, False]"


@pytest.mark.parametrize(("stored", "fails"), [("2\n", False), ("3\n", True)])
def test_another_output_than_the_stored_one_is_found(colab, tmp_path, stored, fails):
    output = nbformat.v4.new_output("stream", name="stdout", text=stored)
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("", metadata={"tags": ["setup"]}),
        nbformat.v4.new_code_cell("print(1 + 1)", execution_count=1, outputs=[output]),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")

    ran = compare(tmp_path / "small.ipynb", tmp_path / "content", colab[1])

    assert (ran.returncode != 0) == fails, ran.stdout
    assert ("mismatch" in ran.stdout) == fails


@pytest.mark.slow
@pytest.mark.parametrize("chapter", PATHS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_colab(colab, chapter, tmp_path):
    python, variables = colab
    folder = tmp_path / "content"
    ran = compare(chapter, folder, variables)

    assert ran.returncode == 0, f"{ran.stdout[-8000:]}\n{ran.stderr[-2000:]}"
    assert [path.name for path in folder.iterdir()] == [chapter.name]
    installed = (
        "from importlib.util import find_spec as f; print(f('tlutils').origin, f('torch').origin, sep='\\n')"
    )
    where = subprocess.run(
        [python, "-c", installed], env=variables, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert where[0].startswith(str(python.parent.parent)), "installed by the first cell"
    assert where[1].startswith(sysconfig.get_path("purelib")), "torch was left as it was"

"""A sweep as independent tasks on an engine that exists: joblib here, any executor, Dask by address."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import torch
from tqdm.auto import tqdm

from tlutils.repeats import _cache_file, _finished, _run_case

__all__ = ["code_version", "engine_from_environment", "run_tasks"]

# PyTorch's global generator and its number of threads belong to a process, not to a thread.
_ONE_CASE_AT_A_TIME = threading.Lock()


@functools.cache
def code_version() -> str:
    """Return a digest of every source file of tlutils and the version of torch.

    Two machines with the same value compute a case with the same code.

    Examples
    --------
    >>> len(code_version())
    64
    """
    digest = hashlib.sha256(torch.__version__.split("+")[0].encode())
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def engine_from_environment() -> int | str:
    """Return the engine that ``TLUTILS_ENGINE`` names: a number of processes, or the address of a scheduler.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> engine_from_environment()
    1
    """
    asked = os.environ.get("TLUTILS_ENGINE", "1")
    if asked.isdecimal() and int(asked) >= 1:
        return int(asked)
    if "://" not in asked:
        raise ValueError(
            f"TLUTILS_ENGINE is {asked!r}; expected a number of processes, such as 2, or the address of a "
            "Dask scheduler, such as tcp://10.0.0.5:8786"
        )
    return asked


def _task(function: Callable[..., Any], case: dict[str, Any], version: str) -> Any:
    """Run one case, with one thread, in whatever process this is; refuse to run it with other code."""
    if code_version() != version:
        raise RuntimeError(
            "this worker has another tlutils or torch than the process that sent the case; its result would "
            "not belong to the sweep. Install the same versions on all machines and restart the workers."
        )
    with _ONE_CASE_AT_A_TIME:
        return _run_case(function, case, 1)


@contextmanager
def _submitter(engine: Any) -> Iterator[Callable[..., Any]]:
    """Yield the `submit` of an engine; what was opened here is closed."""
    if isinstance(engine, str):
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{engine} is a Dask scheduler: pip install distributed") from error
        with Client(engine, timeout=10, set_as_default=False) as client:
            yield client.submit
    else:
        yield engine.submit


def _through_futures(engine: Any, tasks: list[tuple]) -> Iterator[tuple[int, Any]]:
    """Yield (position, result) of each task as it is done."""
    done: queue.SimpleQueue = queue.SimpleQueue()
    with _submitter(engine) as submit:
        futures = [submit(_task, *task) for task in tasks]
        try:
            for position, future in enumerate(futures):
                future.add_done_callback(functools.partial(lambda at, _: done.put(at), position))
            for _ in futures:
                position = done.get()
                try:
                    result = futures[position].result()
                except Exception as error:
                    raise RuntimeError(f"the case {tasks[position][1]} failed: {error}") from error
                yield position, result
        finally:
            for future in futures:
                future.cancel()


def _through_joblib(num_workers: int, tasks: list[tuple]) -> Iterator[tuple[int, Any]]:
    """Yield (position, result) of each task, in order."""
    jobs = (joblib.delayed(_task)(*task) for task in tasks)
    yield from enumerate(joblib.Parallel(n_jobs=num_workers, return_as="generator")(jobs))


def run_tasks(
    function: Callable[..., Any],
    cases: Iterable[dict[str, Any]],
    *,
    engine: Any = None,
    keep: bool = True,
    progress: bool = True,
) -> list[Any]:
    """Call `function(**case)` for every case on `engine`; return the results in the order of the cases.

    The results do not depend on the engine: every case is computed with one thread, one at a time in a
    process, by the same version of tlutils and torch, or it is refused. As with `repeats.sweep`, finished
    cases are kept on the disk of the process that asks, so that the same call goes on after an interruption.

    Parameters
    ----------
    function
        Loads its data itself and returns something JSON can hold.
    cases
        Keyword arguments of each call: strings, numbers, None.
    engine
        A number of processes on this machine (joblib); the address of a Dask scheduler
        (``"tcp://host:8786"``); or any object with ``submit(function, *arguments)`` that returns futures,
        such as an executor of `concurrent.futures` or a `distributed.Client`. None: what ``TLUTILS_ENGINE``
        says.
    keep
        Whether to keep finished cases for the case of an interruption.
    progress
        Show a progress bar.

    Raises
    ------
    ValueError
        If the number of processes is below 1.
    TypeError
        If the engine is none of these.
    RuntimeError
        If a case fails on an engine with futures (says which), or a worker has other code.
    ModuleNotFoundError
        If an address is given and Dask is not installed.

    Examples
    --------
    >>> run_tasks(pow, [{"base": 2, "exp": 3}, {"base": 3, "exp": 2}], engine=1, keep=False, progress=False)
    [8, 9]
    """
    engine = engine_from_environment() if engine is None else engine
    if isinstance(engine, int) and engine < 1:
        raise ValueError(f"engine is {engine}; expected at least 1 process")
    if not (isinstance(engine, int | str) or callable(getattr(engine, "submit", None))):
        raise TypeError(
            f"engine is {type(engine).__name__}; expected a number of processes, the address of a Dask "
            "scheduler, or an object with a method submit"
        )
    cases = list(cases)
    path = _cache_file(function) if keep else None
    done = _finished(path) if path else {}
    waiting = [case for case in cases if json.dumps(case) not in done]
    tasks = [(function, case, code_version()) for case in waiting]
    found = (_through_joblib if isinstance(engine, int) else _through_futures)(engine, tasks)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    for position, result in tqdm(found, total=len(tasks), disable=not progress, unit="case"):
        # Through JSON and back, so that a result just made is of the same types as one kept from before.
        result = json.loads(json.dumps(result))
        done[json.dumps(waiting[position])] = result
        if path:
            with path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([waiting[position], result]) + "\n")
    if path:
        path.unlink(missing_ok=True)
    return [done[json.dumps(case)] for case in cases]

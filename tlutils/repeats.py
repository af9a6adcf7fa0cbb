"""Several seeds instead of one: sweeps that survive an interruption, and intervals over their results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pooch
import torch
from scipy.special import stdtrit  # scipy.stats takes most of a second to import
from tqdm.auto import tqdm

from tlutils.provenance import code_digest

__all__ = ["Interval", "mean_interval", "paired_interval", "sweep"]


class Interval(NamedTuple):
    """A mean over repetitions with its confidence interval.

    Attributes
    ----------
    mean, low, high
        In the unit of the values.
    n
        Number of repetitions.
    """

    mean: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def mean_interval(values: Sequence[float | int] | np.ndarray, *, confidence: float = 0.95) -> Interval:
    r"""Return the mean of independent repetitions with Student's t interval.

    .. math:: \bar v \pm t_{n-1,\,(1+c)/2} \, s / \sqrt n, \qquad s^2 = \tfrac{1}{n-1}\sum_i (v_i - \bar v)^2

    Parameters
    ----------
    values
        At least 2 finite numbers, one per seed.
    confidence
        In (0, 1).

    Raises
    ------
    ValueError
        If there are fewer than 2 values, one is not finite, or `confidence` is out of range.

    Source
    ------
    Student, "The probable error of a mean", Biometrika 6 (1908).

    Examples
    --------
    >>> mean_interval([1.0, 2.0, 3.0])  # s = 1, t = 4.303, 4.303 / √3 = 2.484
    Interval(mean=2.0, low=-0.48..., high=4.48..., n=3)
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"received {array.size} value(s); an interval needs at least 2 repetitions")
    if not np.isfinite(array).all():
        raise ValueError(f"received {array.tolist()}; expected finite numbers")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number in (0, 1), such as 0.95")
    mean, error = float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array)))
    half = float(stdtrit(len(array) - 1, (1 + confidence) / 2)) * error
    return Interval(mean, mean - half, mean + half, len(array))


def paired_interval(
    a: Sequence[float | int] | np.ndarray, b: Sequence[float | int] | np.ndarray, *, confidence: float = 0.95
) -> Interval:
    """Return the mean of a − b with its interval, where a[i] and b[i] share seed and data.

    What the two have in common (an easy draw of labels, say) cancels in the difference, so that the interval
    is narrower than that of two separate samples.

    Raises
    ------
    ValueError
        If the lengths differ, or as in `mean_interval`.

    Examples
    --------
    >>> paired_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).mean
    2.0
    """
    if len(a) != len(b):
        raise ValueError(f"received {len(a)} and {len(b)} values; pairs need one of each per seed")
    return mean_interval(np.asarray(a) - np.asarray(b), confidence=confidence)


def _cache_file(function: Callable) -> Path:
    """Return where the finished cases of this code, under this version of torch, are kept."""
    key = hashlib.sha256(f"{code_digest(function)} {torch.__version__}".encode()).hexdigest()[:24]
    return Path(os.environ.get("TLUTILS_CACHE") or pooch.os_cache("tlutils")) / "sweeps" / f"{key}.jsonl"


def _finished(path: Path) -> dict[str, Any]:
    """Read the finished cases; a line cut short by a killed process is dropped."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            case, result = json.loads(line)
        except ValueError:
            continue
        found[json.dumps(case)] = result
    return found


def _run_case(function: Callable, case: dict[str, Any], num_threads: int) -> Any:
    """Run one case with a fixed number of threads, on which floating-point sums depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        return function(**case)
    finally:
        torch.set_num_threads(before)


def sweep(
    function: Callable[..., Any],
    cases: Iterable[dict[str, Any]],
    *,
    num_workers: int = 1,
    keep: bool = True,
    progress: bool = True,
) -> list[Any]:
    """Call `function(**case)` for every case and return the results in the order of the cases.

    Finished cases are written to a file as they come, under a name that depends on the code: after an
    interruption the same call goes on where it was, and changed code starts afresh. The file is removed
    when all cases are done.

    Parameters
    ----------
    function
        Returns something JSON can hold.
    cases
        Keyword arguments of each call: strings, numbers, None.
    num_workers
        Processes, at least 1. Each computes with one thread when there are several.
    keep
        Whether to keep finished cases for the case of an interruption.
    progress
        Show a progress bar.

    Raises
    ------
    ValueError
        If `num_workers` is below 1.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; expected at least 1")
    cases = list(cases)
    path = _cache_file(function)
    done = _finished(path) if keep else {}
    waiting = [case for case in cases if json.dumps(case) not in done]
    threads = 1 if num_workers > 1 else torch.get_num_threads()
    jobs = (joblib.delayed(_run_case)(function, case, threads) for case in waiting)
    results = joblib.Parallel(n_jobs=num_workers, return_as="generator")(jobs)
    if keep:
        path.parent.mkdir(parents=True, exist_ok=True)
    for case, result in tqdm(
        zip(waiting, results, strict=True), total=len(waiting), disable=not progress, unit="case"
    ):
        done[json.dumps(case)] = result
        if keep:
            with path.open("a", encoding="utf-8") as file:
                # The leading line break ends a line that a killed process may have left half written.
                file.write("\n" + json.dumps([case, result]) + "\n")
    path.unlink(missing_ok=True)
    return [done[json.dumps(case)] for case in cases]

"""Stored runs: load a training that ships with the book, or do it again.

A run is a JSON record (metrics, history, provenance) and, where a chapter needs them, weights in a
safetensors file whose name carries its digest. The JSON is written last and in one step: whoever reads
finds the old run or the new one, whole.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlutils import datasets, guards, photographs, tabular
from tlutils.claims import say_instead_of_stopping
from tlutils.files import json_digest, write_atomically
from tlutils.provenance import code_digest
from tlutils.runtime import best_device, environment

__all__ = [
    "Outcome",
    "Run",
    "RunError",
    "StaleRunWarning",
    "available",
    "is_among",
    "is_live",
    "load",
    "round_to_half",
    "train_or_replay",
]


FULL = (
    errno.ENOSPC,
    errno.EFBIG,
    errno.EROFS,
    getattr(errno, "EDQUOT", errno.ENOSPC),
)  # met by writing alone


class RunError(RuntimeError):
    """A stored run that is missing or damaged."""


class StaleRunWarning(UserWarning):
    """A stored run that other code or another config than today's has made."""


@dataclass(frozen=True)
class Outcome:
    """What a training function returns: plain metrics, and the weights worth keeping.

    Parameters
    ----------
    metrics
        Numbers, strings, lists and dicts, as JSON can hold them.
    models
        Networks by name; their weights must have passed `round_to_half`, so that the metrics are those of
        the weights as stored.
    """

    metrics: dict[str, Any]
    models: dict[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A training, replayed or live.

    Attributes
    ----------
    metrics
        What the training function measured.
    weights
        State dicts by model name, float32.
    provenance
        Config, code digest, data checksums, versions, device, duration in seconds, date; where the system
        tells, also the processor seconds of this process and of those that it started and that have ended.
    is_live
        Whether it was trained just now.
    stored
        For a live run: the stored one, if there is one, to be shown beside it.
    """

    name: str
    metrics: dict[str, Any]
    weights: dict[str, dict[str, Tensor]]
    provenance: dict[str, Any]
    is_live: bool
    stored: Run | None = None

    def load_into(self, model: nn.Module, which: str = "model") -> nn.Module:
        """Load the weights stored as `which` into `model` and return it.

        Raises
        ------
        ValueError
            If there are no weights of that name.
        RuntimeError
            If the weights are those of another network; says which tensors are missing, superfluous or of
            another shape.
        """
        if which not in self.weights:
            raise ValueError(f"run {self.name!r} has weights for {[*self.weights]}, not for {which!r}")
        model.load_state_dict(self.weights[which])
        return model


def is_live(name: str = "all") -> bool:
    """Say whether the run `name` is to be trained here rather than replayed.

    ``TLUTILS_LIVE`` decides where it is set: "all", "none", or names of runs and chapters separated by
    commas. Where it is not set, a machine with an accelerator trains and a machine without replays.
    """
    asked = os.environ.get("TLUTILS_LIVE")
    if asked is None:
        return best_device().type != "cpu"
    return asked == "all" or is_among(name, asked)


def _warn_of_unknown_names(name: str) -> None:
    """Warn if ``TLUTILS_LIVE`` asks for a chapter that has no runs: nothing would be trained for it."""
    asked = os.environ.get("TLUTILS_LIVE", "")
    if asked in ("", "all", "none"):
        return
    shipped = {path.name for path in (Path(__file__).parent / "stored_runs").iterdir()}
    chapters = shipped | {run.split("/")[0] for run in [*available(), name]}
    for part in filter(None, map(str.strip, asked.split(","))):
        if (chapter := part.split("/")[0]) not in chapters:
            near = difflib.get_close_matches(chapter, [*chapters, "all", "none"], n=3, cutoff=0.4)
            warnings.warn(
                f"TLUTILS_LIVE asks for {part!r}, and no chapter {chapter!r} has runs; nothing is trained "
                f"for it. Did you mean {near or sorted(chapters)}? ('all' and 'none' stand alone.)",
                stacklevel=3,
            )


def is_among(name: str, asked: str) -> bool:
    """Say whether a run, or its chapter, is among names separated by commas.

    Examples
    --------
    >>> is_among("mmd/tests", "coral/toys,mmd"), is_among("mmd/tests", "coral,mmd/estimators")
    (True, False)
    """
    return not {name, name.split("/")[0]}.isdisjoint(part.strip() for part in asked.split(","))


def folder() -> Path:
    """Return where runs are stored: ``TLUTILS_RUNS``, else the folder that ships with the package."""
    return Path(os.environ.get("TLUTILS_RUNS") or Path(__file__).parent / "stored_runs")


def available() -> list[str]:
    """Return the names of all stored runs, sorted."""
    return sorted(path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.json"))


def round_to_half(model: nn.Module) -> nn.Module:
    """Round all weights of `model` to half precision, in place, and return it (still float32).

    Measured after this, a metric is that of the weights as they are stored.

    Raises
    ------
    ValueError
        If a weight is too large for half precision (65504).
    """
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                rounded = tensor.half()
                if not torch.isfinite(rounded).all():
                    raise ValueError(f"{name} holds values beyond ±65504, the range of half precision")
                tensor.copy_(rounded)
    return model


def load(name: str) -> Run:
    """Load the stored run `name`.

    Raises
    ------
    RunError
        If there is no such run (the nearest names are offered) or its files are damaged.
    """
    path = folder() / f"{name}.json"
    if not path.is_file():
        near = difflib.get_close_matches(name, available(), n=3, cutoff=0.4)
        raise RunError(f"no stored run {name!r}; did you mean {near or available()}? Or train it: live=True")
    cure = "Reinstall tlutils, or train it again with live=True (make retrain RUN=" + name + ")."
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        guards.has_its_digest(record)
        metrics, provenance, files = record["metrics"], record["provenance"], record["weights"]
        weights = {which: _read_weights(path.parent / file["file"], file) for which, file in files.items()}
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise RunError(f"the stored run {name!r} in {path.parent} is damaged ({error}). {cure}") from error
    return Run(name, metrics, weights, provenance, is_live=False)


def _read_weights(path: Path, file: dict[str, str]) -> dict[str, Tensor]:
    """Read one safetensors file after checking its digest; return float32 tensors."""
    from safetensors.torch import load as load_tensors

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise ValueError(f"{path.name} does not have its recorded SHA-256")
    tensors = load_tensors(content)
    return {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}


def _save(name: str, outcome: Outcome, provenance: dict[str, Any]) -> None:
    """Store a run: weights first, the record that names them last."""
    from safetensors.torch import save as save_tensors

    path = folder() / f"{name}.json"
    old = weight_files(path)
    files, contents = {}, {}
    for which, model in outcome.models.items():
        tensors = {key: _to_half(key, tensor) for key, tensor in model.state_dict().items()}
        content = save_tensors(tensors)
        digest = hashlib.sha256(content).hexdigest()
        file = f"{path.stem}.{which}.{digest[:12]}.safetensors"
        contents[file], files[which] = content, {"file": file, "sha256": digest}
    record = {"provenance": provenance, "metrics": outcome.metrics, "weights": files}
    record["sha256"] = json_digest(record)  # before anything is written: it may refuse
    text = json.dumps(record, separators=(",", ":"))  # white space would be a third of all records
    for file, content in contents.items():
        write_atomically(path.parent / file, lambda out, content=content: out.write(content))
    write_atomically(path, lambda out: out.write(text.encode()))
    for file in old - {entry["file"] for entry in files.values()}:
        (path.parent / file).unlink(missing_ok=True)


def weight_files(record: Path) -> set[str]:
    """Return the names of the weight files of a stored run; none where it is missing or damaged."""
    try:
        return {entry["file"] for entry in json.loads(record.read_text(encoding="utf-8"))["weights"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _try_to_write(name: str) -> None:
    """Raise OSError unless a run can be stored; say where, and what to do."""
    place = (folder() / name).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        raise OSError(
            f"{name!r} could not be stored in {folder()} ({error}), so it is not trained. Free space there, "
            "or set TLUTILS_RUNS to a folder that can be written."
        ) from error


def _save_or_say(name: str, outcome: Outcome, provenance: dict[str, Any]) -> None:
    """Store a run; a full disk or a metric of another type does not cost its result (NaN does: a mistake)."""
    try:
        _save(name, outcome, provenance)
    except (OSError, TypeError) as error:
        say_instead_of_stopping()
        warnings.warn(
            f"{name!r} was trained but not stored in {folder()}: {error}. Its result is returned all the "
            "same. Free space, or see to it that the metrics hold numbers, strings, lists and dicts alone.",
            RuntimeWarning,
            stacklevel=4,
        )


def _to_half(name: str, tensor: Tensor) -> Tensor:
    """Return a contiguous half-precision copy on the CPU; refuse to change a value by it."""
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not torch.equal(tensor.half().float(), tensor.float()):
        raise ValueError(
            f"{name} would change when stored in half precision, and its metrics with it; "
            "call runs.round_to_half(model) before measuring"
        )
    return tensor.half()


def _is_stale(run: Run, digest: str, config: dict[str, Any]) -> str:
    """Return what has changed since the run was stored, or an empty string."""
    # Through JSON and back, because a tuple becomes a list there.
    is_same_config = json.loads(json.dumps(config)) == run.provenance["config"]
    changed = [] if is_same_config else ["the config"]
    if digest != run.provenance["code_digest"]:
        changed.append("the training code")
    return " and ".join(changed)


def train_or_replay(
    name: str,
    train: Callable[[Any], Outcome],
    config: Any,
    *,
    data: tuple[str, ...] = (),
    live: bool | None = None,
) -> Run:
    """Replay the stored run `name`, or train it here.

    Parameters
    ----------
    name
        ``chapter/run``.
    train
        Called with `config`; trains, measures, returns an `Outcome`.
    config
        A frozen dataclass; its method ``quick()`` returns a version of a few steps, for checks that live
        training still works.
    data
        Names of the data sets on which the run depends; their checksums go into the provenance.
    live
        Train instead of replaying. By default `is_live` decides.

    Returns
    -------
    The run. A live one carries the stored one beside it.

    Raises
    ------
    RunError
        If a run to be replayed is missing or damaged, or, where ``CI`` is set, stale.
    MemoryError
        If a training asks for more memory than the device has; says what to change.

    Notes
    -----
    After a training the asserts of later cells say what does not hold and go on, unless the run is stored:
    they describe the stored runs. A stale run gives a `StaleRunWarning` to a reader. ``TLUTILS_STORE=1``
    stores a live run; ``TLUTILS_SMOKE=1`` also runs ``train(config.quick())`` before a replay and drops its
    result, once for runs that differ only in their seeds.
    """
    digest, settings = code_digest(train), asdict(config)
    _warn_of_unknown_names(name)
    if is_live(name) if live is None else live:
        return _train(name, train, config, digest, data)
    run = _whole(name)
    if stale := _is_stale(run, digest, settings):
        message = f"the stored run {name!r} is stale: {stale} changed since. make retrain RUN={name}"
        if os.environ.get("CI"):
            raise RunError(message)
        warnings.warn(message, StaleRunWarning, stacklevel=2)
    if os.environ.get("TLUTILS_SMOKE"):
        _smoke(train, config.quick(), digest)
    minutes = run.provenance["duration_s"] / 60
    print(f"replayed {name}: trained on {run.provenance['environment']['device']} in {minutes:.1f} min")
    return run


def _whole(name: str) -> Run:
    """Load a stored run to be replayed; refuse a record that lacks a part of its provenance."""
    try:
        run = load(name)
        record = run.provenance
        device = record["environment"]["device"]
        needed = (record["config"], record["code_digest"], record["duration_s"], device)
        if None in needed:
            raise ValueError("its record has gaps")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"the stored run {name!r} in {folder()} is damaged ({error!r}). Reinstall tlutils, or train it "
            f"again with live=True (make retrain RUN={name})."
        ) from error
    return run


_smoked: set[str] = set()


def _smoke(train: Callable[[Any], Outcome], quick: Any, digest: str) -> None:
    """Train a few steps and drop the result, unless this kernel has done so with other seeds."""
    from IPython.utils.capture import capture_output

    settings = {name: value for name, value in asdict(quick).items() if name not in ("seed", "seeds")}
    key = json.dumps([digest, settings])
    if key not in _smoked:
        with capture_output():  # stored outputs hold no progress bars
            train(quick)
        _smoked.add(key)  # not before: what has failed fails again


def _data_digest(dataset: str) -> str:
    """Return a SHA-256 over all examples and labels of a data set, training part first.

    Of photographs it is over their files, because what a file decodes to depends on the decoder.
    """
    digest = hashlib.sha256()
    if dataset in photographs.available():
        return photographs.fingerprint(dataset)
    if dataset in tabular.available():
        for domain, split, _ in tabular.describe(dataset).parts:
            digest.update(tabular.load(dataset, domain, split).sha256.encode())
        return digest.hexdigest()
    for split in ("train", "test"):
        images = datasets.load(dataset, split)
        digest.update(images.images.tobytes() + images.labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _cpu_seconds() -> float | None:
    """Return the processor seconds so far of this process and its ended children; None on Windows.

    joblib's workers wait for more work after a sweep and count only once they have ended, so they are ended.
    """
    try:
        import resource
    except ImportError:
        return None
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def _train(
    name: str, train: Callable[[Any], Outcome], config: Any, digest: str, data: tuple[str, ...]
) -> Run:
    """Train a run, store it if the environment asks for that, and print it beside the stored one."""
    stored = None
    # Missing or damaged, in whatever way: this training is the cure.
    with contextlib.suppress(RunError, AttributeError, TypeError):
        stored = load(name)
    # Before the training, so that a mistake in a name or a full disk does not cost its result.
    checksums = {dataset: _data_digest(dataset) for dataset in data}
    is_to_be_stored = bool(os.environ.get("TLUTILS_STORE"))
    if is_to_be_stored:
        _try_to_write(name)
    cpu_before, started = _cpu_seconds(), time.perf_counter()
    try:
        outcome = train(config)
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"training {name!r} ran out of memory on {best_device()}. Take a smaller batch, smaller images "
            "or a smaller network in its settings, freeze the backbone or checkpoint activations, restart "
            "the kernel to free what earlier cells hold, or replay the stored run with TLUTILS_LIVE=none."
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno,
            f"training {name!r} could not write what it has done so far ({error}). Free space, or set "
            "TLUTILS_CACHE to a folder that has some; cases of a sweep that are written are taken up again",
        ) from error
    duration_s, cpu_after = time.perf_counter() - started, _cpu_seconds()
    provenance = {
        "name": name,
        "config": asdict(config),
        "code_digest": digest,
        "data": checksums,
        "environment": environment(),
        "duration_s": round(duration_s, 1),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if cpu_before is not None:
        provenance["cpu_s"] = round(cpu_after - cpu_before, 1)
    if is_to_be_stored:
        _save_or_say(name, outcome, provenance)
    else:
        say_instead_of_stopping()
    # Copies on the CPU, as a replayed run has them: the network may be trained on.
    weights = {
        which: {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}
        for which, model in outcome.models.items()
    }
    metrics = outcome.metrics
    with contextlib.suppress(TypeError):  # the same types as a replayed run has, where JSON can hold them
        metrics = json.loads(json.dumps(metrics))
    print(f"trained {name} in {provenance['duration_s'] / 60:.1f} min")
    for key, value in metrics.items():
        before = None if stored is None else stored.metrics.get(key)
        if isinstance(value, int | float) and isinstance(before, int | float):
            print(f"  {key}: {value:.4g} here, {before:.4g} stored")
    return Run(name, metrics, weights, provenance, is_live=True, stored=stored)

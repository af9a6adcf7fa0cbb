"""A sweep gives the same results on every engine, and goes on after an interruption."""

import dataclasses
import json
import linecache
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import torch

from chapters import ROOT, cells
from tlutils import models, repeats, tasks
from tlutils.domains import Domain
from tlutils.tasks import code_version, engine_from_environment, run_tasks
from tlutils.training import evaluate, fit

CASES = [{"method": method, "seed": seed} for method in ("wide", "narrow") for seed in (0, 1)]


def make_one_training():
    """Return a function that travels by value: a worker need not know this file."""

    def one_training(method, seed):
        domain = Domain.from_dataset("digits8x8", size=8)
        model = models.lenet(image_size=8, widths=(8, 16) if method == "wide" else (4, 8), seed=seed)
        history = fit(model, domain.train, num_steps=12, seed=seed)
        return {"accuracy": evaluate(model, domain.test).accuracy, "losses": history.train_loss}

    return one_training


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def expected():
    one_training = make_one_training()
    return [repeats._run_case(one_training, case, 1) for case in CASES]


@pytest.mark.parametrize("engine", [1, 2])
def test_joblib_gives_what_a_loop_gives(expected, cache, engine):
    assert run_tasks(make_one_training(), CASES, engine=engine, progress=False) == expected
    assert not list(cache.rglob("*.jsonl")), "nothing is left behind"


@pytest.mark.usefixtures("cache")
def test_an_executor_gives_what_a_loop_gives_even_with_threads(expected):
    with ThreadPoolExecutor(3) as executor:
        assert run_tasks(make_one_training(), CASES, engine=executor, progress=False) == expected


@pytest.mark.usefixtures("cache")
def test_sweep_and_run_tasks_are_one_sweep(expected):
    assert repeats.sweep(make_one_training(), CASES, progress=False) == expected


@pytest.fixture(scope="module")
def cluster():
    """A Dask scheduler with two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        host="127.0.0.1", n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_dask_by_address_gives_what_a_loop_gives(expected, cluster, monkeypatch):
    monkeypatch.setenv("TLUTILS_ENGINE", cluster.scheduler_address)
    assert run_tasks(make_one_training(), CASES, progress=False) == expected


@pytest.fixture
def chapter():
    """What the chapter on scaling out defines for its sweep, in `__main__` as in a notebook."""
    source = {cell["id"]: cell["source"] for cell in cells(ROOT / "chapters/scaling_out.ipynb")}
    imports, definitions = source["imports"].split("\n\nplotting")[0], source["tasks-run"]
    code = f"{imports}\n\n\n{definitions.split('transfers = ')[0]}"
    name, found = "<cell tasks-run>", {"__name__": "__main__"}
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), found)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_the_sweep_of_a_chapter_gives_the_same_on_a_cluster(chapter, cluster, monkeypatch):
    config = dataclasses.replace(chapter["GridConfig"]().quick(), pairs=(("digits8x8", "digits8x8"),))

    def sweep_on(engine):
        monkeypatch.setenv("TLUTILS_ENGINE", engine)
        cases = chapter["sweep_transfers"](config).metrics["cases"]
        return [case | {"seconds": None} for case in cases]

    here = sweep_on("1")
    assert [case["method"] for case in here] == ["scratch", "head only", "all parameters"]
    assert sweep_on(cluster.scheduler_address) == here


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_client_is_an_engine(expected, cluster):
    from distributed import Client

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        assert run_tasks(make_one_training(), CASES[:2], engine=client, progress=False) == expected[:2]


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_worker_with_other_code_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(tasks, "code_version", lambda: "other")
    with pytest.raises(RuntimeError, match="another tlutils or torch"):
        run_tasks(pow, [{"base": 2, "exp": 3}], engine=cluster.scheduler_address, keep=False, progress=False)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_an_error_not_a_hang(monkeypatch):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(
        distributed, "Client", lambda engine, **options: client(engine, **options | {"timeout": 1})
    )
    with pytest.raises(OSError, match=r"[Tt]imed out|refused"):
        run_tasks(pow, [{"base": 2, "exp": 3}], engine="tcp://127.0.0.1:9", keep=False, progress=False)


class Immediately:
    """An engine that computes when asked."""

    def __init__(self):
        self.asked = []

    def submit(self, function, *arguments):
        self.asked.append(arguments[1])
        future = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


def fragile(number, limit):
    if number > limit[0]:
        raise MemoryError("no room")
    return [number]


def test_finished_cases_are_kept_and_not_asked_again(cache, monkeypatch):
    limit = [1]

    def grow(number):
        return fragile(number, limit)

    monkeypatch.setattr(tasks, "_cache_file", lambda _: cache / "grow.jsonl")
    cases = [{"number": number} for number in range(4)]
    with pytest.raises(RuntimeError, match=r"the case \{'number': 2\} failed: no room"):
        run_tasks(grow, cases, engine=Immediately(), progress=False)
    kept = [json.loads(line) for line in (cache / "grow.jsonl").read_text().splitlines() if line]
    assert kept == [[{"number": 0}, [0]], [{"number": 1}, [1]]]
    limit[0] = 9
    engine = Immediately()
    assert run_tasks(grow, cases, engine=engine, progress=False) == [[0], [1], [2], [3]]
    assert engine.asked == [{"number": 2}, {"number": 3}]


@pytest.mark.usefixtures("cache")
def test_results_are_what_json_gives_back_whatever_the_engine():
    def pair(number):
        return (number, {"a": (1,)})

    for engine in (1, Immediately()):
        assert run_tasks(pair, [{"number": 1}], engine=engine, progress=False) == [[1, {"a": [1]}]]


def test_each_case_has_one_thread():
    def threads():
        return torch.get_num_threads()

    before = torch.get_num_threads()
    assert run_tasks(threads, [{}], engine=1, keep=False, progress=False) == [1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("text", "engine"), [("3", 3), ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786")])
def test_the_environment_names_the_engine(monkeypatch, text, engine):
    monkeypatch.setenv("TLUTILS_ENGINE", text)
    assert engine_from_environment() == engine


@pytest.mark.parametrize("text", ["0", "many", "-1"])
def test_an_unknown_engine_in_the_environment_is_refused(monkeypatch, text):
    monkeypatch.setenv("TLUTILS_ENGINE", text)
    with pytest.raises(ValueError, match="TLUTILS_ENGINE"):
        engine_from_environment()


def test_impossible_engines_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        run_tasks(pow, [], engine=0)
    with pytest.raises(TypeError, match="expected a number of processes"):
        run_tasks(pow, [], engine=object())


def test_without_dask_an_address_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match="pip install distributed"):
        run_tasks(pow, [{"base": 1, "exp": 1}], engine="tcp://127.0.0.1:9", keep=False, progress=False)


def test_the_version_of_the_code_changes_with_it(monkeypatch, tmp_path):
    (tmp_path / "tlutils").mkdir()
    module = tmp_path / "tlutils" / "tasks.py"
    module.write_text("a = 1\n", encoding="utf-8")
    monkeypatch.setattr(tasks, "__file__", str(module))
    code_version.cache_clear()
    first = code_version()
    module.write_text("a = 2\n", encoding="utf-8")
    assert code_version() == first, "looked up once"
    code_version.cache_clear()
    assert code_version() != first
    code_version.cache_clear()

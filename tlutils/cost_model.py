"""What more processes cost: time of a step, time and money of a training, and where communication wins.

Durations are in seconds, sizes in bytes, prices per GPU and hour in one currency.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Cluster",
    "Job",
    "all_reduce_seconds",
    "fit_line",
    "makespan",
    "measured_cluster",
    "most_workers",
]


def all_reduce_seconds(num_bytes: float, num_workers: int, bandwidth: float, latency_s: float = 0.0) -> float:
    r"""Return how long `num_workers` processes on a ring take to add up `num_bytes` and all know the sum.

    .. math:: t = 2 \frac{p-1}{p} \frac{B}{\beta} + 2 (p - 1) \alpha

    Each process sends 2 (p − 1) messages of B / p bytes to its neighbour: p − 1 until each knows one p-th of
    the sum, and as many until all know all of it.

    Parameters
    ----------
    num_bytes
        At least 0; 4 per trained float32 parameter.
    num_workers
        At least 1.
    bandwidth
        Bytes per second that a process can send while it receives as many; positive.
    latency_s
        Seconds per message, whatever its size; at least 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    Source
    ------
    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of
    Parallel and Distributed Computing 69 (2009); with a latency per message.

    Examples
    --------
    >>> all_reduce_seconds(100, 4, bandwidth=50, latency_s=0.5)  # 2 · 3/4 · 2 s and 6 messages
    6.0
    """
    if num_workers < 1 or num_bytes < 0 or not bandwidth > 0 or latency_s < 0:
        raise ValueError(
            f"got {num_bytes=}, {num_workers=}, {bandwidth=}, {latency_s=}; expected at least 0 bytes, at "
            "least 1 worker, a positive bandwidth and a latency of at least 0"
        )
    messages = 2 * (num_workers - 1)
    return messages / num_workers * num_bytes / bandwidth + messages * latency_s


@dataclass(frozen=True)
class Cluster:
    """Machines to rent: what one GPU computes, what the wires carry, what an hour costs.

    Parameters
    ----------
    flops
        Floating-point operations per second that a GPU sustains in training; positive.
    bandwidth
        Bytes per second between two GPUs; positive.
    latency_s
        Seconds per message.
    price
        Per GPU and hour.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    flops: float
    bandwidth: float
    latency_s: float
    price: float

    def __post_init__(self) -> None:
        if not (self.flops > 0 and self.bandwidth > 0 and self.latency_s >= 0 and self.price >= 0):
            raise ValueError(f"got {self}; expected positive flops and bandwidth, the rest at least 0")


@dataclass(frozen=True)
class Job:
    r"""A training to be shared out: its steps get shorter with more workers, its messages do not.

    .. math:: t_\text{step}(p) = \frac{n\,F}{p\,\Phi} +
        \max\Bigl(0,\; t_\text{reduce}(p) - \omega\,\frac{n\,F}{p\,\Phi}\Bigr)

    Parameters
    ----------
    flops_per_example
        F: operations of one example forward and backward; positive.
    num_parameters
        How many numbers have a gradient that travels, at 4 bytes each; at least 0.
    global_batch_size
        n: examples per step over all workers, at least 1.
    num_examples
        Examples that pass in the whole training, all epochs together; at least 1.
    overlap
        ω: share of the computing time behind which communication can hide, in [0, 1]. 0: one after the other.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    A step of 4 s alone; two workers compute 2 s and talk 1 s.

    >>> job = Job(flops_per_example=1.0, num_parameters=1, global_batch_size=4, num_examples=8)
    >>> cluster = Cluster(flops=1.0, bandwidth=4.0, latency_s=0.0, price=3600.0)
    >>> job.step_seconds(cluster, 1), job.step_seconds(cluster, 2)
    (4.0, 3.0)
    >>> job.seconds(cluster, 2), job.money(cluster, 2)
    (6.0, 12.0)
    """

    flops_per_example: float
    num_parameters: int
    global_batch_size: int
    num_examples: int
    overlap: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.flops_per_example, self.global_batch_size, self.num_examples)
        if not (min(sizes) > 0 and self.num_parameters >= 0 and 0 <= self.overlap <= 1):
            raise ValueError(f"got {self}; expected positive sizes and an overlap in [0, 1]")

    def compute_seconds(self, cluster: Cluster, num_workers: int) -> float:
        """Return how long each of the workers computes in one step."""
        return self.global_batch_size * self.flops_per_example / (num_workers * cluster.flops)

    def talk_seconds(self, cluster: Cluster, num_workers: int) -> float:
        """Return how long the all-reduce of the gradients takes in one step."""
        return all_reduce_seconds(4 * self.num_parameters, num_workers, cluster.bandwidth, cluster.latency_s)

    def step_seconds(self, cluster: Cluster, num_workers: int) -> float:
        """Return the duration of one step: computing, and what of the talking is not hidden behind it."""
        compute = self.compute_seconds(cluster, num_workers)
        return compute + max(0.0, self.talk_seconds(cluster, num_workers) - self.overlap * compute)

    def seconds(self, cluster: Cluster, num_workers: int) -> float:
        """Return the duration of the training: so many steps as its examples fill."""
        return self.num_examples / self.global_batch_size * self.step_seconds(cluster, num_workers)

    def money(self, cluster: Cluster, num_workers: int) -> float:
        """Return what the training costs: every GPU is paid for while it waits, too."""
        return num_workers * self.seconds(cluster, num_workers) / 3600 * cluster.price

    def efficiency(self, cluster: Cluster, num_workers: int) -> float:
        """Return the share in (0, 1] of the paid time that is spent computing."""
        return self.step_seconds(cluster, 1) / (num_workers * self.step_seconds(cluster, num_workers))


def most_workers(job: Job, cluster: Cluster) -> float:
    r"""Return the number of workers beyond which a step at a fixed global batch talks longer than computes.

    .. math:: \frac Wp = 2 \frac{p-1}{p} \frac B\beta + 2 (p - 1)\alpha \quad\Longrightarrow\quad
        2\alpha p^2 + 2 \Bigl(\frac B\beta - \alpha\Bigr) p - \Bigl(\frac{2B}\beta + W\Bigr) = 0

    where W is the computing time of one worker alone. Infinite if nothing is ever sent at a price.

    Source
    ------
    Own derivation, see the chapter on scaling out.

    Examples
    --------
    Without latency p = 1 + W β / (2 B): here W = 4 s and B / β = 1 s.

    >>> job = Job(flops_per_example=1.0, num_parameters=1, global_batch_size=4, num_examples=8)
    >>> most_workers(job, Cluster(flops=1.0, bandwidth=4.0, latency_s=0.0, price=1.0))
    3.0
    """
    work, wire = job.compute_seconds(cluster, 1), 4 * job.num_parameters / cluster.bandwidth
    a, b, c = 2 * cluster.latency_s, 2 * (wire - cluster.latency_s), -(2 * wire + work)
    if a == 0:
        return -c / b if b > 0 else math.inf
    return (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)


def makespan(durations: Sequence[float], num_workers: int) -> float:
    """Return when the last of independent tasks is done, if each worker takes the next one as it gets free.

    Raises
    ------
    ValueError
        If `num_workers` is below 1 or a duration is negative.

    Source
    ------
    Graham, "Bounds for certain multiprocessing anomalies", Bell System Technical Journal 45 (1966).

    Examples
    --------
    >>> makespan([3.0, 1.0, 1.0, 1.0], 1), makespan([3.0, 1.0, 1.0, 1.0], 2)
    (6.0, 3.0)
    """
    if num_workers < 1 or min(durations, default=0) < 0:
        raise ValueError(f"got {num_workers=}; expected at least 1, and durations of at least 0")
    free_at = [0.0] * num_workers
    for duration in durations:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def fit_line(sizes: Sequence[float | int], seconds: Sequence[float]) -> tuple[float, float]:
    r"""Return latency and bandwidth of measured messages: seconds ≈ latency + size / bandwidth.

    Relative errors are minimised, by least squares: otherwise the largest message alone would count.

    Parameters
    ----------
    sizes
        Bytes, at least 2 different values.
    seconds
        As many positive durations.

    Raises
    ------
    ValueError
        If there are fewer than 2 sizes, the lengths differ, or a duration is not positive.

    Examples
    --------
    >>> latency, bandwidth = fit_line([0, 100, 200], [1.0, 2.0, 3.0])
    >>> round(latency, 9), round(bandwidth, 9)
    (1.0, 100.0)
    """
    x, t = np.asarray(sizes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if len(x) != len(t) or len(np.unique(x)) < 2 or not (t > 0).all():
        raise ValueError(f"got {len(x)} sizes and {len(t)} durations; expected 2 sizes, positive durations")
    scale = max(x.max(), 1.0)
    columns = np.stack([np.ones_like(x), x / scale], axis=1) / t[:, None]
    (latency, slope), *_ = np.linalg.lstsq(columns, np.ones_like(t))
    return float(latency), float(scale / slope)


def measured_cluster(
    flops: float,
    sizes: Sequence[float | int],
    seconds: Sequence[float],
    *,
    price: float,
    num_workers: int = 2,
) -> Cluster:
    r"""Return the cluster whose all-reduces took as long as those that were measured.

    .. math:: t = a + \frac Bb \quad\Longrightarrow\quad
        \alpha = \frac{a}{2 (p - 1)}, \qquad \beta = 2\,\frac{p-1}{p}\,b

    Parameters
    ----------
    flops
        Operations per second that one worker was seen to sustain in training; positive.
    sizes, seconds
        Bytes and durations of all-reduces among `num_workers` processes, as `fit_line` takes them.
    price
        Per worker and hour.
    num_workers
        p: how many processes took part, at least 2.

    Raises
    ------
    ValueError
        If `num_workers` is below 2, or as in `fit_line` and `Cluster`.

    Notes
    -----
    A line that starts below zero, as it may with little latency, is taken to start at zero. For more workers
    than were measured the cluster assumes that the wires between them are as those.

    Source
    ------
    `all_reduce_seconds`, solved for bandwidth and latency.

    Examples
    --------
    Two processes send two messages each, which take 1 s even when they are empty.

    >>> cluster = measured_cluster(5.0, [0, 100, 200], [1.0, 2.0, 3.0], price=1.0)
    >>> round(cluster.bandwidth, 6), round(cluster.latency_s, 6)
    (100.0, 0.5)
    """
    if num_workers < 2:
        raise ValueError(f"got {num_workers=}; expected at least 2: one worker alone sends nothing")
    latency, bandwidth = fit_line(sizes, seconds)
    messages = 2 * (num_workers - 1)
    return Cluster(flops, messages / num_workers * bandwidth, max(0.0, latency) / messages, price)

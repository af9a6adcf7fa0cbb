"""Sliders that work with a kernel and without one.

`explore` shows one output in two forms: a live ipywidgets control that recomputes at any value, and HTML with
frames drawn beforehand and a few lines of script, which the static site takes. Neither fetches anything.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import itertools
import json
from collections.abc import Callable, Sequence
from string import Template
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

__all__ = ["explore", "static_lab"]

MAX_BYTES = 400_000

_LAB = Template("""\
<div class="tl-lab" role="group" aria-label="$label">
<img class="tl-lab-frame" alt="$alt" src="$src">
<p class="tl-lab-says" aria-live="polite">$alt</p>
$controls
<script type="application/json">$frames</script>
<script>
(function () {
  const lab = document.currentScript.parentElement;
  const data = JSON.parse(lab.querySelector('script[type="application/json"]').textContent);
  const inputs = [...lab.querySelectorAll('input[type="range"]')];
  function show() {
    let index = 0;
    inputs.forEach((input, axis) => {
      index = index * data.texts[axis].length + Number(input.value);
      const text = data.texts[axis][input.value];
      input.setAttribute('aria-valuetext', text);
      input.parentElement.querySelector('output').textContent = text;
    });
    const frame = lab.querySelector('.tl-lab-frame');
    frame.src = 'data:image/webp;base64,' + data.frames[index];
    frame.alt = data.says[index];
    lab.querySelector('.tl-lab-says').textContent = data.says[index];
  }
  inputs.forEach(input => input.addEventListener('input', show));
})();
</script>
</div>""")

_CONTROL = Template("""\
<label class="tl-lab-control"><span>$name</span>
<input type="range" min="0" max="$last" step="1" value="$start" aria-valuetext="$text">
<output>$text</output></label>""")


def _text(value: object) -> str:
    """Return a value as a reader reads it on a slider."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _webp(figure: Figure, dpi: int) -> bytes:
    """Draw a figure as WebP and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"quality": 60, "method": 4})
    plt.close(figure)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    """Draw a figure as PNG and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


def _check_axes(axes: dict[str, Sequence[Any]], start: dict[str, Any]) -> None:
    """Raise ValueError unless there are one or two axes and each start value is on its axis."""
    if not 1 <= len(axes) <= 2:
        raise ValueError(f"received {len(axes)} axes {[*axes]}; a lab has one or two sliders")
    for name, values in axes.items():
        if len(values) < 2:
            raise ValueError(f"axis {name!r} has {len(values)} value(s); a slider needs at least 2")
        if name in start and start[name] not in list(values):
            raise ValueError(f"start value {start[name]!r} is not among the values of {name!r}: {[*values]}")
    if unknown := set(start) - set(axes):
        raise ValueError(f"start names the axes {sorted(unknown)}, but the lab has {[*axes]}")


def static_lab(
    draw: Callable[..., Figure],
    describe: Callable[..., str] | None = None,
    *,
    label: str = "Move the sliders",
    start: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
    dpi: int = 100,
    **axes: Sequence[Any],
) -> str:
    """Return the HTML of a lab with every frame drawn beforehand.

    Arguments are those of `explore`.

    Raises
    ------
    ValueError
        If there are not one or two axes, a start value is not on its axis, or the lab exceeds 400 kB.
    """
    start, names = start or {}, names or {}
    describe = describe or functools.partial(_say_values, names)
    _check_axes(axes, start)
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    frames = [base64.b64encode(_webp(draw(**values), dpi)).decode() for values in combinations]
    says = [describe(**values) for values in combinations]
    positions = {name: list(values).index(start.get(name, values[0])) for name, values in axes.items()}
    texts = [[_text(value) for value in values] for values in axes.values()]
    first = int(np.ravel_multi_index(list(positions.values()), [len(t) for t in texts]))
    controls = [
        _CONTROL.substitute(name=html.escape(names.get(name, name)), last=len(text) - 1,
                            start=positions[name], text=html.escape(text[positions[name]]))
        for name, text in zip(axes, texts, strict=True)
    ]  # fmt: skip
    data = json.dumps({"frames": frames, "says": says, "texts": texts}, ensure_ascii=False)
    lab = _LAB.substitute(
        label=html.escape(label),
        alt=html.escape(says[first]),
        src=f"data:image/webp;base64,{frames[first]}",
        controls="\n".join(controls),
        frames=data.replace("</", "<\\/"),  # a description must not end the script element
    )
    if (size := len(lab.encode())) > MAX_BYTES:
        raise ValueError(
            f"the lab {label!r} takes {size / 1000:.0f} kB with its {len(frames)} frames; at most "
            f"{MAX_BYTES // 1000} kB. Give it fewer values, a smaller figure or a lower dpi."
        )
    return lab


def _say_values(names: dict[str, str], /, **values: Any) -> str:
    """Return the values in words, for a lab that has no description of its own."""
    return ", ".join(f"{names.get(name, name)} {_text(value)}" for name, value in values.items())


def explore(
    draw: Callable[..., Figure],
    describe: Callable[..., str] | None = None,
    *,
    label: str = "Move the sliders",
    start: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
    dpi: int = 100,
    **axes: Sequence[Any],
) -> None:
    """Show a figure with one or two sliders.

    With a kernel the sliders are live and, for numbers, take any value between the ends; on the static page
    they step through the frames drawn beforehand at the given values.

    Parameters
    ----------
    draw
        ``draw(**values)`` returns a matplotlib figure.
    describe
        ``describe(**values)`` says in a sentence what the figure shows at these values; shown below it, and
        read aloud by screen readers. By default the values are said.
    label
        The question that the lab answers.
    start
        Axis → value shown first; by default the first value of each axis.
    names
        Axis → text beside its slider, with the unit.
    dpi
        Resolution of the frames.
    axes
        Argument of `draw` → its values in order, at least 2 each.

    Raises
    ------
    ValueError
        As in `static_lab`.
    """
    from IPython.display import display

    start, names = start or {}, names or {}
    describe = describe or functools.partial(_say_values, names)
    page = static_lab(draw, describe, label=label, start=start, names=names, dpi=dpi, **axes)
    bundle = {"text/html": page, "text/plain": f"[lab: {label}]"}
    widget = _live_widget(draw, describe, start, names, axes)
    # Written out because ipywidgets 7, which Colab has had for long, cannot say it.
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    bundle["application/vnd.jupyter.widget-view+json"] = view
    display(bundle, raw=True)


def _live_widget(
    draw: Callable[..., Figure],
    describe: Callable[..., str],
    start: dict[str, Any],
    names: dict[str, str],
    axes: dict[str, Sequence[Any]],
):
    """Return the ipywidgets form of a lab."""
    import ipywidgets

    sliders = {
        name: _slider(ipywidgets, names.get(name, name), values, start.get(name, values[0]))
        for name, values in axes.items()
    }
    image, says = ipywidgets.Image(format="png"), ipywidgets.Label()

    def redraw(_: object = None) -> None:
        values = {name: slider.value for name, slider in sliders.items()}
        image.value, says.value = _png(draw(**values)), describe(**values)

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), image, says])


def _slider(ipywidgets: Any, name: str, values: Sequence[Any], start: Any):
    """Return a continuous slider for floats, and a slider over the given values for anything else."""
    options = {"description": name, "style": {"description_width": "initial"}, "continuous_update": False}
    if all(isinstance(value, float) for value in values):
        low, high = min(values), max(values)
        return ipywidgets.FloatSlider(start, min=low, max=high, step=(high - low) / 100, **options)
    return ipywidgets.SelectionSlider(options=[(_text(v), v) for v in values], value=start, **options)

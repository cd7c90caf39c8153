"""The pictures. Needs the dependency group `bench` (matplotlib); without it there are tables only."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.endurance import Endured
from tests.bench.measure import Result

COLOURS = {"ovauth": "#0b6e4f", "floor": "#b8b8b8"}
PEER = "#7a93ac"
COLUMNS = 3


class NoPictures(Exception):
    """matplotlib is not here. The message says how to get it."""


def costs(results: Sequence[Result], file: Path) -> None:
    """A panel for each endpoint, a bar for each contender. Raises NoPictures."""
    plt = _pyplot()
    measured = [result for result in results if result.rounds and result.endpoint != "page flow"]
    endpoints = list(dict.fromkeys(result.endpoint for result in measured))
    rows = -(-len(endpoints) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(11, 1.9 * rows + 0.6), squeeze=False, layout="constrained")
    figure.suptitle("Processor time of the server for one request, µs (shorter is cheaper)", fontsize=11)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, endpoint in zip(axes.flat, endpoints, strict=False):
        axis.set_visible(True)
        of_this = sorted((r for r in measured if r.endpoint == endpoint), key=lambda r: -r.place)
        values = [result.median("cpu_us") for result in of_this]
        bars = axis.barh(range(len(of_this)), values, color=[_colour(result.contender) for result in of_this], height=0.7)
        axis.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
        axis.set_yticks(range(len(of_this)), [_short(result.contender) for result in of_this], fontsize=8)
        axis.set_title(endpoint, fontsize=10, loc="left")
        axis.set_xlim(0, max(values) * 1.18)
        axis.set_xticks([])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    _save(plt, figure, file)


def memory(endured: Endured, file: Path) -> None:
    """The size of the process over the requests. Raises NoPictures."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axis.plot(*zip(*endured.sizes, strict=True), color=COLOURS["ovauth"])
    axis.set_ylim(0, 130)
    axis.axhline(120, color=COLOURS["floor"], linestyle="--", linewidth=1)
    axis.set_title("Memory of one worker (RSS, MB) over the requests that it answered", fontsize=10, loc="left")
    axis.xaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    _save(plt, figure, file)


def _pyplot():  # noqa: ANN202
    try:
        import matplotlib as mpl
    except ImportError:
        raise NoPictures("no pictures: `uv sync --all-groups` brings matplotlib") from None
    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and found by a search
    mpl.rcParams["svg.hashsalt"] = "ovauth"
    from matplotlib import pyplot

    return pyplot


def _save(plt, figure, file: Path) -> None:  # noqa: ANN001
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def _colour(contender: str) -> str:
    return next((colour for name, colour in COLOURS.items() if contender.startswith(name)), PEER)


def _short(contender: str) -> str:
    return (
        contender.removeprefix("floor: ")
        .replace("django-oauth-toolkit", "DOT")
        .replace("node-oidc-provider", "oidc-provider")
    )

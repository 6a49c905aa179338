"""The roofline plot: each op's speed compared with the highest speed the machine allows (Williams et al. 2009).

An op that performs I operations per byte moved cannot run faster than I times the memory bandwidth, nor faster than
the processor's peak speed: these limits are the two roofs.  The vertical gap between an op's dot and the roof above it
shows how much faster the op could become.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

SUFFIXES = (".png", ".svg", ".pdf")
INK, ROOF, PRODUCTS, OTHERS = "#333333", "#999999", "#0072b2", "#d55e00"  # from Okabe and Ito's palette
DOT = 7  # half the width of a dot, in pixels
SMALLEST_SHARE = 0.005  # an op that takes a smaller share of the step's time is left out


def draw(report: dict, path: Path | str) -> None:
    """Draw the roofline plot of a report and save it to `path`, whose extension must be one of SUFFIXES."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained", dpi=140)
    FigureCanvasAgg(figure)  # provides the renderer that measures text, needed to place labels
    axes = figure.add_subplot()
    peak, bandwidth = report["machine"]["sgemm_gflops"], report["machine"]["bandwidth_gb_s"]
    dots = dots_of(report)
    intensities = [dot["intensity"] for dot in dots.values()]
    left, right = min([*intensities, 0.2]) / 2, max([*intensities, 4 * peak / bandwidth]) * 3
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    draw_roofs(axes, peak, bandwidth, left, right)
    handles = [
        axes.scatter(
            [dot["intensity"] for dot in dots.values() if dot["products"] == products],
            [dot["speed"] for dot in dots.values() if dot["products"] == products],
            s=40,
            color=colour,
            marker=marker,
            zorder=3,
            label=label,
        )  # fmt: skip
        for products, colour, marker, label in (
            (True, PRODUCTS, "o", "matrix products (operations computed from shapes)"),
            (False, OTHERS, "s", "element-wise ops (operations estimated)"),
        )
    ]
    speeds = [dot["speed"] for dot in dots.values()]
    axes.set_ylim(min([*speeds, peak / 10]) / 3, peak * 3)
    axes.set_xlabel("arithmetic intensity (FLOP per byte of input and output)")
    axes.set_ylabel("achieved speed (GFLOP/s)")
    work = report["workload"]["title"].split(":")[0]
    axes.set_title(f"Roofline of {report['first']}, {work}\n{report['machine']['processor']}", color=INK)
    axes.legend(handles=handles, loc="lower right", frameon=False)
    axes.grid(True, which="major", color="#e5e5e5", linewidth=0.7)
    figure.canvas.draw()  # fixes the layout, which label placement depends on
    place_labels(axes, dots)
    figure.savefig(Path(path), format=Path(path).suffix[1:])


def dots_of(report: dict) -> dict[str, dict]:
    """The dots to plot: {op: {"intensity": FLOP per byte, "speed": GFLOP/s, "products": bool}}.

    "products" says whether the operations counted are those of matrix products.
    Ops without floating-point operations or memory traffic, and ops below SMALLEST_SHARE, are left out.
    """
    total = sum(op["ms"] for op in report["ops"].values())
    dots = {}
    for name, op in report["ops"].items():
        work = op["product_gflop"] or op["elementwise_gflop"]
        if work and op["moved_gb"] and op["ms"] >= SMALLEST_SHARE * total:
            dots[name] = {
                "intensity": work / op["moved_gb"],
                "speed": work / op["ms"] * 1e3,
                "products": bool(op["product_gflop"]),
            }
    return dots


def draw_roofs(axes: "Axes", peak: float, bandwidth: float, left: float, right: float) -> None:
    """Draw the two roofs; they meet at the intensity above which an op is limited by computation, not by memory."""
    ridge = peak / bandwidth  # FLOP per byte
    axes.plot([left, ridge, right], [left * bandwidth, peak, peak], color=ROOF, linewidth=2, zorder=1)
    axes.annotate(
        f"measured sgemm: {peak:,.0f} GFLOP/s", (right, peak), (-6, 5), textcoords="offset points", ha="right",
        color=INK,
    )  # fmt: skip
    x = np.sqrt(left * ridge)
    axes.annotate(
        f"measured copy: {bandwidth:,.0f} GB/s", (x, x * bandwidth), (-8, 8), textcoords="offset points",
        ha="right", color=INK,
    )  # fmt: skip


def place_labels(axes: "Axes", dots: dict[str, dict]) -> None:
    """Label each dot with its name, at the nearest position where the label covers no dot, roof or other label."""
    canvas: Any = axes.figure.canvas
    renderer = canvas.get_renderer()
    at = {name: axes.transData.transform((dot["intensity"], dot["speed"])) for name, dot in dots.items()}
    written: Any = (*axes.texts, axes.get_legend())
    taken = [text.get_window_extent(renderer) for text in written]
    taken += [around(pixel, DOT) for pixel in at.values()]
    taken += [around(pixel, 1) for pixel in roof_pixels(axes)]
    frame = axes.get_window_extent(renderer)
    for name in sorted(dots, key=lambda name: -crowding(at, name)):  # the most crowded dots first
        for distance, side in ((distance, side) for distance in range(9, 160, 6) for side in directions()):
            offset = distance * side[0], distance * side[1]
            label = axes.annotate(
                name.replace("_", " "), (dots[name]["intensity"], dots[name]["speed"]), offset,
                textcoords="offset points", fontsize=8, color=INK, va="center", ha="left" if side[0] >= 0 else "right",
                arrowprops=dict(arrowstyle="-", color=ROOF, linewidth=0.6, shrinkB=3) if distance > 9 else None,
            )  # fmt: skip
            # use the text's bounding box, since the annotation's would include the line to the dot
            box: Any = label.get_tightbbox(renderer) if label.arrow_patch is None else text_box(label, renderer)
            wider = box.expanded(1.05, 1.2)
            free = not any(wider.overlaps(other) for other in taken)
            if free and frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1):
                taken.append(wider)
                break
            label.remove()


def around(pixel: np.ndarray, reach: float) -> "Bbox":
    """The square box centred on a point, given in pixels, that extends `reach` pixels in each direction."""
    from matplotlib.transforms import Bbox

    return Bbox([pixel - np.array([reach, reach]), pixel + np.array([reach, reach])])


def roof_pixels(axes: "Axes") -> np.ndarray:
    """Points along the roofs in pixels, so densely spaced that no label fits between two of them."""
    x, y = map(np.asarray, axes.lines[0].get_data())
    dense = np.geomspace(x[0], x[-1], 400)
    return axes.transData.transform(np.column_stack([dense, np.exp(np.interp(np.log(dense), np.log(x), np.log(y)))]))


def crowding(at: dict[str, np.ndarray], name: str) -> float:
    """A score that is higher the closer other dots are to the dot `name`; at: the position of each dot in pixels."""
    return sum(1 / (1 + float(np.linalg.norm(at[name] - at[other]))) for other in at if other != name)


def directions() -> Iterator[np.ndarray]:
    """Unit vectors in order of preference: right, left, the diagonals, then up and down."""
    for angle in np.radians([0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90]):
        yield np.array([np.cos(angle), np.sin(angle)])


def text_box(label: Any, renderer: Any) -> "Bbox":
    """The bounding box of an annotation's text, without its arrow."""
    from matplotlib.text import Text

    return Text.get_window_extent(label, renderer)

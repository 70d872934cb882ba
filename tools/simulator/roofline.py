"""Draws where the modelled time of steps goes, launch by launch.

    outboard bench MODEL --device sim --counters -d 0,2048 --json > steps.json
    roofline.py steps.json steps.svg          (or .png, .pdf; needs matplotlib)

A bar a kind of launch, as long as all of its launches take in the likely case: what bounds them, in the
bound's colour, then what they take beyond it (tail), then the gaps before them. Thin lines reach from
the best to the worst case. Beside it the same launches as a roofline: instructions for each byte that is
read from VRAM, and the bandwidth that they come to, under what VRAM gives in the likely case.
"""
import argparse
import json

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {"VRAM": "#1f77b4", "Infinity Cache": "#17becf", "GL2": "#2ca02c", "LDS": "#bcbd22", "issue": "#9467bd",
           "latency": "#ff7f0e"}
TAIL, GAP = "#bbbbbb", "#666666"


def label(launch):
    n = launch["launches"] * launch["stands_for"]
    return f"{n:g} x {launch['kernel']}, {launch['workgroups']} workgroups"


def draw_bars(axes, step):
    launches = [launch for launch in step["launches"] if launch["seconds"]["likely"] > 0]
    for y, launch in enumerate(launches):
        scale = launch["stands_for"] * 1e3
        bound = launch["bound_by"]
        parts = [(launch["bound_seconds"][bound]["likely"], COLOURS[bound]), (launch["tail_seconds"]["likely"], TAIL),
                 (launch["gap_seconds"]["likely"], GAP)]
        left = 0
        for seconds, colour in parts:
            axes.barh(y, seconds * scale, left=left, color=colour)
            left += seconds * scale
        axes.plot([launch["seconds"][case] * scale for case in ("best", "worst")], [y, y], color="black", linewidth=0.8)
    axes.set_yticks(range(len(launches)), [label(launch) for launch in launches], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("ms a step")
    rate = step["tokens_per_second"]
    axes.set_title(f"{step['name']}: {rate['likely']:.1f} tokens/s ({rate['worst']:.1f} to {rate['best']:.1f})", fontsize=10)
    used = {launch["bound_by"] for launch in launches}
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for name, colour in COLOURS.items() if name in used]
    names = [f"bound by {name}" for name in COLOURS if name in used]
    axes.legend(handles + [plt.Rectangle((0, 0), 1, 1, color=c) for c in (TAIL, GAP)], names + ["tail", "gap"], fontsize=7)


def draw_roofline(axes, step):
    roofs = set()
    for launch in step["launches"]:
        read, seconds = launch["vram_read_bytes"], launch["seconds"]["likely"]
        if read == 0 or seconds == 0:
            continue
        vram = launch["bound_seconds"]["VRAM"]["likely"]
        if vram > 0:
            roofs.add(round(read / vram / 1e9))
        axes.scatter(launch["instructions"] / read, read / seconds / 1e9, color=COLOURS[launch["bound_by"]],
                     s=20 + 400 * seconds * launch["stands_for"] / step["seconds"]["likely"], alpha=0.7)
        axes.annotate(launch["kernel"], (launch["instructions"] / read, read / seconds / 1e9), fontsize=6)
    if roofs:
        axes.axhline(max(roofs), color="black", linewidth=0.8)
        axes.annotate(f"{max(roofs)} GB/s", (0.02, max(roofs)), xycoords=("axes fraction", "data"), fontsize=7, va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("instructions of a wave for a byte from VRAM")
    axes.set_ylabel("GB/s from VRAM, gaps and all")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", help="what bench --counters -d or --batch wrote with --json")
    parser.add_argument("out")
    options = parser.parse_args()
    with open(options.steps, encoding="utf-8") as file:
        report = json.load(file)
    steps = report.get("steps")
    if not steps:
        parser.error(f"{options.steps}: no steps; bench writes them with -d or --batch")
    figure, axes = plt.subplots(len(steps), 2, figsize=(15, 4 * len(steps) + 1), squeeze=False, width_ratios=(3, 2))
    for (bars, roofline), step in zip(axes, steps):
        draw_bars(bars, step)
        draw_roofline(roofline, step)
    figure.suptitle(f"{report['model']}, {report['device']}: modelled, not measured", fontsize=10)
    figure.tight_layout()
    figure.savefig(options.out)


if __name__ == "__main__":
    main()

"""Tables, in Markdown, of the raw figures."""

from statistics import median

from .timing import middle

MIB = 1 << 20
WALL = {  # the part of the best peer's wall time that a backup and a restore may take
    "small": {"backup": 0.75, "restore": 0.75},
    "large": {"backup": 0.95, "restore": 0.70},
    "mixed": {"backup": 0.80, "restore": 0.75},
}
CPU = 1.4  # the same of processor time
OURS = "snapshotter"


def table(heads, rows):
    """A Markdown table; all columns but the first are numbers, to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def spread(values, digits=3):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def walls(rounds):
    return [one["wall"] for one in rounds]


def judged(value, limit, digits=2, whole=True):
    """A figure against what it may be at most. Of a part of the data it says nothing."""
    verdict = f" ({'reached' if value <= limit else 'not reached'}: ≤ {limit:g})" if whole else ""
    return f"{value:.{digits}f}{verdict}"


def title(tree):
    return tree["title"] + (f" (1/{tree['scale']} of them)" if tree["scale"] > 1 else "")


def memory(rounds, floor):
    """Peak memory in MiB. What is not above the launcher's own cannot be told."""
    peak = max(one["rss"] for one in rounds)
    return f"≤ {peak / 1024:.1f}" if peak <= floor * 1.03 else f"{peak / 1024:.1f}"


def best_peer(took):
    """The peer with the shortest median."""
    peers = [name for name in took if not name.startswith(OURS)]
    return min(peers, key=lambda name: middle(took[name])) if peers else None


def parts(took, of, key="wall"):
    """Our part of a peer's figure, and the smallest and largest part that one round gave."""
    each = [our[key] / max(their[key], 1e-9) for our, their in zip(took[OURS], took[of])]
    return middle(took[OURS], key) / max(middle(took[of], key), 1e-9), min(each), max(each)


def summary(trees):
    rows = []
    for way in ("backup", "restore"):
        for name, tree in trees.items():
            took = tree[way]
            best = best_peer(took)
            if not best:
                continue
            whole = tree["scale"] == 1
            wall, low, high = parts(took, best)
            cpu = parts(took, best, "cpu")[0]
            rows.append(
                [
                    f"{way}, {title(tree)}",
                    f"{best}, {middle(took[best]):.3f} s",
                    f"{middle(took[OURS]):.3f} s",
                    judged(wall, WALL[name][way], whole=whole),
                    f"{low:.2f}–{high:.2f}",
                    judged(cpu, CPU, whole=whole),
                ]
            )
    heads = ["work", "best peer", OURS, "wall, part of the best peer's", "in single rounds", "processor time, part"]
    return table(heads, rows)


def details(trees, floor):
    texts = []
    for way in ("backup", "restore"):
        for name, tree in trees.items():
            took = tree[way]
            rows = [
                [
                    tool,
                    spread(walls(rounds)),
                    f"{middle(rounds, 'cpu'):.2f}",
                    memory(rounds, floor),
                    f"{middle(took[OURS]) / middle(rounds):.2f}",
                ]
                for tool, rounds in took.items()
            ]
            count = len(next(iter(took.values())))
            heads = [f"{way}, {title(tree)}; {count} rounds", "wall s (min–max)", "cpu s", "peak MiB", "we take, of its wall"]
            texts.append(table(heads, rows))
    return "\n\n".join(texts)


def filesystems(found):
    rows = []
    for kind, took in found.items():
        for what in ("backup", "restore", "cp --reflink=always"):
            rounds = took[what]
            used = 100 * median(one["used"] for one in rounds) / took["bytes"]
            judge = what in ("backup", "restore") and took["bytes"] >= 10 << 30
            rows.append(
                [
                    f"{kind}, {took['bytes'] / (1 << 30):.0f} GiB, {what}",
                    judged(middle(rounds), 1.0, 3, judge),
                    f"{min(walls(rounds)):.3f}–{max(walls(rounds)):.3f}",
                    judged(used, 1.0, 2, judge),
                ]
            )
    return table(["where the filesystem can clone", "wall s", "min–max", "more disk used, % of the data"], rows)


def limits(results):
    """The other figures that have a limit."""
    rows = []
    if million := results.get("million"):
        whole = million["count"] >= 1_000_000
        for way in ("backup", "restore"):
            rss = max(one["rss"] for one in million[way]) / 1024
            rows.append([f"peak memory, {way} of {million['count']:,} files", f"{judged(rss, 32, 1, whole)} MiB"])
        for key, what in (("list", "listing"), ("append", "finding the end of (an empty backup onto)")):
            rows.append([f"{what} an archive of {million['count']:,} files", f"{judged(middle(million[key]), 1.5, 2, whole)} s"])
        for way in ("backup", "restore"):
            rows.append([f"time, {way} of {million['count']:,} files", f"{middle(million[way]):.2f} s"])
    if start := results.get("start"):
        for name, rounds in start.items():
            time = 1000 * middle(rounds)
            figure = judged(time, 5, whole=name == OURS)
            rows.append([f"start-up, {name}" + (" --version" if name != "true" else ""), f"{figure} ms"])
    return table(["else", "median"], rows) if rows else ""


def growth(found):
    texts = []
    for key, unit, divide in (("files", "files", 1), ("bytes", "MiB", MIB)):
        points = found[key]
        series = [(tool, way) for tool in points[0]["backup"] for way in ("backup", "restore")]
        rows = [
            [f"{point['size'] / divide:,.{1 if divide > 1 else 0}f}", *(f"{middle(point[way][tool]):.3f}" for tool, way in series)]
            for point in points
        ]
        texts.append(table([unit, *(f"{tool}, {way}, s" for tool, way in series)], rows))
    return "\n\n".join(texts)


def everything(results):
    texts = []
    if trees := results.get("trees"):
        texts += [summary(trees), details(trees, results.get("floor", 0))]
    if found := results.get("filesystems"):
        texts.append(filesystems(found))
    texts.append(limits(results))
    if found := results.get("growth"):
        texts.append(growth(found))
    return "\n\n".join(text for text in texts if text)


def merged(files):
    """The results of several runs as one: rounds of the same tree are joined, else the last one stands."""
    whole = {}
    for one in files:
        for name, tree in one.get("trees", {}).items():
            trees = whole.setdefault("trees", {})
            if name in trees and trees[name]["scale"] == tree["scale"]:
                for way in ("backup", "restore"):
                    for tool, rounds in tree[way].items():
                        trees[name][way].setdefault(tool, []).extend(rounds)
            else:
                trees[name] = tree
        whole.setdefault("filesystems", {}).update(one.get("filesystems", {}))
        whole.update({key: one[key] for key in ("environment", "floor", "million", "start", "growth") if key in one})
    return whole

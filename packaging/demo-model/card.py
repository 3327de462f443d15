"""Write the checkpoint's card from the measurements and the record of its training.

    python packaging/demo-model/card.py

Reads report.json and lineage.json beside this file; writes README.md and var_studio.json into
resources/demo-model. Every number on the card comes from those two files.
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE.parents[1] / "resources" / "demo-model"
TEXT = """# VAR Studio demo model

A {millions:.2f} M parameter `LlavaForConditionalGeneration`: a CLIP-style vision tower (3 layers of
128), a projector, and a Llama decoder (6 layers, 6 heads, 192 wide). A picture is squashed to
140 x 140 pixels and becomes 10 x 10 visual tokens. It knows {words} words and answers questions
about coloured shapes on a plain background. It loads through `AutoModelForImageTextToText` and
`AutoProcessor` like any other model; `model.safetensors` is {megabytes:.1f} MB in bfloat16.

It exists so that the program can be tried without a download. **It is a toy.** Nothing measured
on it is evidence about large models, and nothing here shows that VAR helps: on this model
redistribution changes accuracy from {base} to {var} at the default settings.

## Where its attention sinks come from

{sinks}

Found from the first token alone (over fifteen times the median in most middle layers):
dimensions {dims}. Of the visual tokens' phi after the first layer, {near} lie within 0.75
of the separating tau = {tau}; phi is bounded by sqrt(192) = 13.86.

## How it was trained

{lineage}

## Measured on held-out scenes

{questions} questions, {per_kind} of each kind, one per picture, on scenes of a seed that no
training step drew ({seed}); fp32 arithmetic on these bf16 weights; greedy answers, right only if
every token is. One standard error of the first column is about {error}; differences of that size
mean nothing. "nll" is the mean negative log-likelihood of an answer token.

### Accuracy, and masking (Fig. 3b), blinding heads (Fig. 9), redistributing (Table 4, p = 0.6)

Masks act on text queries, before the softmax, in every layer; "as many random" are drawn anew per
layer and picture. Blinded heads lose all visual keys; heads are chosen per token.

{accuracy}

### phi and the number of sinks by layer (Fig. 8)

Inputs of the decoder layers; {images} pictures. {background} of all visual tokens are background
(outside the cells of the objects).

{phi}

### What text tokens attend to, and what it brings (Fig. 3c)

Averages over text queries and heads. The contribution of a key is the norm of what it writes
through its head, `alpha * |v W_O|`.

{attention}

### Do the sinks move with the scene?

Layer {layer}, {images} pictures. Share of pictures in which each position of the 10 x 10 grid is a
visual sink:

```
{grid}
```

{moves}

## Limits

Objects outside its six colours and five shapes, more than six of them, or pictures of any other
kind get answers that sound just as sure. Words it does not know are read as `<unk>`.
"""


def table(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join("–" if v is None else str(v) for v in r) + " |" for r in lines
    )


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def accuracy_table(accuracy: dict) -> str:
    columns = list(next(iter(accuracy.values())))
    rows = [
        [name, *(v if k == "nll" else percent(v, 1 if k == "all" else 0) for k, v in row.items())]
        for name, row in accuracy.items()
    ]
    return table(["condition", *columns], rows)


def phi_table(layers: list[dict]) -> str:
    columns = [name for name in layers[0] if name != "visual histogram"]
    return table(columns, [[row[name] for name in columns] for row in layers])


def attention_table(layers: list[dict]) -> str:
    columns = [
        ("layer", "layer"),
        ("mass BOS", "mass on BOS"),
        ("mass sinks", "mass on sinks"),
        ("mass non-sinks", "mass on non-sinks"),
        ("a sink brings", "contribution of sinks, per token"),
        ("a non-sink brings", "contribution of non-sinks, per token"),
        ("per unit, sink", "contribution of sinks, per unit of attention"),
        ("per unit, non-sink", "contribution of non-sinks, per unit of attention"),
        ("image-centric .5", "image-centric heads at 0.5"),
        (".8", "image-centric heads at 0.8"),
        (".9", "image-centric heads at 0.9"),
    ]
    rows = [[row[source] for _, source in columns] for row in layers]
    return table([name for name, _ in columns], rows)


def movement(positions: dict) -> str:
    return (
        f"The most used position is a sink in {percent(positions['most used position'], 0)} of the "
        f"pictures; {positions['positions ever used']} of 100 positions are used; normalised "
        f"entropy {positions['entropy, 1 = uniform']} (1 = uniform). "
        f"{positions['different sink sets']} different sets of sinks in {positions['images']} "
        "pictures; the sets of two pictures overlap by "
        f"{positions['mean overlap of two images (Jaccard)']} on average (Jaccard)."
    )


def render(report: dict, lineage: dict) -> str:
    """The card as Markdown."""
    accuracy, positions = report["accuracy"], report["positions"]
    base = accuracy["baseline"]["all"]
    return TEXT.format(
        millions=report["parameters"] / 1e6,
        words=lineage["words"],
        megabytes=report["model.safetensors bytes"] / 1e6,
        base=percent(base),
        var=percent(accuracy["redistribute in selected heads, rho 0.8"]["all"]),
        sinks="\n".join(lineage["sinks"]),
        dims=" and ".join(map(str, report["sinks"]["sink_dims"])),
        near=percent(report["sinks"]["share within 0.75 of tau"], 2),
        tau=report["sinks"]["tau"],
        lineage="\n".join(lineage["training"]),
        questions=report["questions"],
        per_kind=report["questions"] // (len(accuracy["baseline"]) - 2),
        seed=report["seed"],
        error=percent((base * (1 - base) / report["questions"]) ** 0.5),
        accuracy=accuracy_table(accuracy),
        images=positions["images"],
        background=percent(report["phi"]["background share of all visual tokens"], 0),
        phi=phi_table(report["phi"]["layers"]),
        attention=attention_table(report["attention of text tokens"]),
        layer=positions["layer"],
        grid="\n".join(
            " ".join(f"{v:4.2f}" for v in row)
            for row in positions["share of images with a sink here"]
        ),
        moves=movement(positions),
    )


def settings(report: dict, lineage: dict) -> dict:
    """What the program reads beside the checkpoint."""
    return {
        "sink_dims": report["sinks"]["sink_dims"],
        "tau": report["sinks"]["tau"],
        "description": lineage["description"],
    }


def main() -> None:
    report = json.loads((HERE / "report.json").read_text())
    lineage = json.loads((HERE / "lineage.json").read_text())
    (CHECKPOINT / "README.md").write_text(render(report, lineage))
    beside = json.dumps(settings(report, lineage), indent=2) + "\n"
    (CHECKPOINT / "var_studio.json").write_text(beside)


if __name__ == "__main__":
    main()

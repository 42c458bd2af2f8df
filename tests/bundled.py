"""The model that the package carries, or another in its place, for tests."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from pytransformer.model_files import BUNDLED_MODEL

GERMAN = (
    "Ein Hund läuft durch den Schnee.",
    "Zwei Männer sitzen auf einer Bank vor einem alten Haus.",
    "Eine Frau in einem roten Kleid spielt Gitarre.",
    "Kinder spielen im Park mit einem Ball.",
    "Ein kleiner Junge springt in das Wasser.",
    "Wie geht es dir?",
    "Ich habe keine Zeit.",
    "Drei Leute stehen an einer Straße und warten auf den Bus, während es stark regnet.",
    "Ein Mann mit Hut liest eine Zeitung.",
    "Das Mädchen isst ein Eis.",
    "Tom wohnt in Boston.",
    "Wo ist der Bahnhof?",
    "Ein schwarz-weißer Hund trägt einen Stock im Maul.",
    "Mehrere Radfahrer fahren bei einem Rennen einen Berg hinauf.",
    "Sie hat gestern ein neues Buch gekauft.",
    "Eine ältere Frau verkauft Obst und Gemüse auf dem Markt.",
)
ENGLISH = (
    "A dog is running through the snow.",
    "Two men are sitting on a bench in front of an old house.",
    "A woman in a red dress is playing the guitar.",
    "Children are playing with a ball in the park.",
    "A little boy jumps into the water.",
    "How are you?",
    "I don't have time.",
    "Three people stand at a street and wait for the bus while it is raining hard.",
    "A man with a hat reads a newspaper.",
    "The girl is eating ice cream.",
    "Tom lives in Boston.",
    "Where is the station?",
    "A black and white dog carries a stick in its mouth.",
    "Several cyclists ride up a mountain during a race.",
    "She bought a new book yesterday.",
    "An older woman sells fruit and vegetables at the market.",
)


def bundled_model() -> Path:
    """Its path; PYTRANSFORMER_TEST_MODEL names another one."""
    return Path(os.environ.get("PYTRANSFORMER_TEST_MODEL", BUNDLED_MODEL))


def corpus(shared_data: Path, name: str, count: int | None = None) -> tuple[list[str], list[str]]:
    """The German and English lines of a corpus, or the first of them."""
    sides = []
    for language in ("de", "en"):
        with gzip.open(shared_data / f"{name}.{language}.gz", "rt", encoding="utf-8") as lines:
            sides.append([line.strip() for line in lines][:count])
    return sides[0], sides[1]

"""Make texts to try things with: sentences put together from lists of words, no two alike.

``python examples/make_texts.py texts.jsonl --rows 1000`` writes one ``{"id": ..., "text": ..., "labels": [TOPIC]}`` a
line. The sentences have about twenty topics, each with its own things, deeds and places, and are as like each other as
they have words and topics in common: enough for two encoders to agree on. Other seeds give other texts.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

# topic: who; does what; to what; where
TOPICS = {
    "medicine": (
        "doctor nurse surgeon patient pharmacist midwife", "examined treated vaccinated bandaged diagnosed comforted",
        "fever wound infection heart lung fracture allergy", "hospital clinic ward ambulance pharmacy",
    ),
    "cooking": (
        "chef baker cook waiter butcher grandmother", "fried baked roasted seasoned chopped tasted",
        "bread soup onion cheese noodles pastry chicken", "kitchen restaurant bakery market canteen",
    ),
    "sport": (
        "goalkeeper striker coach referee runner swimmer", "kicked won trained lost celebrated defended",
        "match penalty medal tournament race trophy ball", "stadium gym pool track pitch",
    ),
    "music": (
        "violinist singer drummer composer pianist choir", "played rehearsed sang tuned recorded conducted",
        "symphony melody guitar concerto song album trumpet", "concert studio opera festival stage",
    ),
    "law": (
        "judge lawyer witness jury prosecutor defendant", "sentenced accused appealed testified convicted acquitted",
        "verdict crime contract evidence theft trial fraud", "court prison tribunal jail chamber",
    ),
    "farming": (
        "farmer shepherd milkmaid beekeeper ploughman gardener", "harvested planted watered fed milked ploughed",
        "wheat cow tractor potato sheep orchard hay", "barn field meadow stable greenhouse",
    ),
    "space": (
        "astronaut astronomer rocket satellite cosmonaut engineer", "launched orbited observed landed tracked",
        "planet galaxy comet moon telescope crater", "observatory spacecraft orbit shuttle launchpad",
    ),
    "sea": (
        "sailor captain fisherman diver pirate whale", "sailed anchored rowed drifted fished navigated",
        "boat storm net lighthouse coral wave harpoon", "harbour ocean island coast lagoon",
    ),
    "school": (
        "teacher pupil student professor librarian headmaster", "taught studied graded explained memorised lectured",
        "exam homework grammar algebra essay textbook diploma", "classroom university library playground seminar",
    ),
    "war": (
        "soldier general sniper spy veteran regiment", "attacked surrendered marched ambushed retreated bombed",
        "tank rifle trench battle fortress treaty grenade", "battlefield barracks frontier camp bunker",
    ),
    "money": (
        "banker investor accountant broker economist cashier", "invested borrowed taxed paid audited speculated",
        "loan share profit debt inflation interest dividend", "bank exchange office vault auction",
    ),
    "computers": (
        "programmer hacker developer administrator robot", "debugged compiled hacked installed encrypted crashed",
        "software server password database keyboard virus network", "datacentre laboratory startup website cloud",
    ),
    "weather": (
        "thunderstorm blizzard hurricane drizzle heatwave fog", "flooded froze soaked scorched darkened battered",
        "snow lightning rainbow hail puddle icicle thunder", "valley mountain desert horizon sky",
    ),
    "film": (
        "actor director actress cameraman screenwriter", "filmed starred premiered edited auditioned improvised",
        "movie script comedy thriller sequel costume trailer", "cinema set theatre hollywood premiere",
    ),
    "travel": (
        "tourist conductor pilot backpacker guide driver", "boarded travelled visited landed hitchhiked departed",
        "train passport suitcase ticket luggage map aeroplane", "airport station hotel border platform",
    ),
    "animals": (
        "lion elephant wolf monkey eagle crocodile", "hunted growled slept climbed howled nested",
        "prey cub antelope feather burrow claw tail", "jungle zoo savannah cave swamp",
    ),
    "politics": (
        "senator minister president mayor voter ambassador", "elected debated vetoed resigned campaigned negotiated",
        "law election budget reform ballot constitution speech", "parliament senate embassy capital congress",
    ),
    "faith": (
        "priest monk bishop pilgrim nun rabbi", "prayed blessed preached baptised fasted confessed",
        "psalm candle altar scripture sermon hymn relic", "church monastery temple cathedral shrine",
    ),
    "painting": (
        "painter sculptor curator engraver collector model", "painted sketched carved exhibited restored framed",
        "portrait statue canvas fresco brush landscape etching", "museum gallery atelier workshop academy",
    ),
    "fashion": (
        "tailor seamstress designer weaver cobbler milliner", "sewed knitted dyed stitched ironed embroidered",
        "dress shoe scarf velvet button glove hat", "boutique catwalk wardrobe mill salon",
    ),
}  # fmt: skip
KINDS = "young old tired famous clever angry cheerful careful stubborn lonely proud nervous".split()  # noqa: SIM905
TIMES = (
    "this morning", "last night", "in the winter", "for many years", "once again", "before dawn", "without a word",
    "with great care", "for the first time", "to everyone's surprise",
)  # fmt: skip
FORMS = (
    "The {kind} {who} {deed} because of the {thing} in the {place} {time}.",
    "In the {place}, a {kind} {who} {deed} {time}, and nobody spoke of the {thing}.",
    "{Time} the {who} {deed}; the {thing} in the {place} belonged to a {kind} {who2}.",
    "Everyone in the {place} knew the {thing}, but only the {kind} {who} {deed} {time}.",
    "A {who} and a {kind} {who2} {deed} {time} near the {place}, where they found a {thing} and a {thing2}.",
)


def sentence(chance: random.Random) -> tuple[str, str]:
    """A sentence, and its topic. In one of four, something of another topic comes in."""
    topic = chance.choice(list(TOPICS))
    who, deeds, things, places = (words.split() for words in TOPICS[topic])
    other = TOPICS[chance.choice(list(TOPICS))] if chance.random() < 0.25 else TOPICS[topic]
    time = chance.choice(TIMES)
    text = chance.choice(FORMS).format(
        kind=chance.choice(KINDS),
        who=chance.choice(who),
        who2=chance.choice(other[0].split()),
        deed=chance.choice(deeds),
        thing=chance.choice(things),
        thing2=chance.choice(other[2].split()),
        place=chance.choice((other[3] if chance.random() < 0.5 else " ".join(places)).split()),
        time=time,
        Time=time.capitalize(),
    )
    return text, topic


def make(rows: int, seed: int) -> list[dict[str, object]]:
    """Records with distinct texts."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < rows:
        text, topic = sentence(chance)
        found.setdefault(text, topic)
    return [{"id": f"{seed}-{i}", "text": text, "labels": [topic]} for i, (text, topic) in enumerate(found.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with open(args.out, "w", encoding="utf8") as file:
        file.writelines(json.dumps(record) + "\n" for record in make(args.rows, args.seed))
    print(f"{args.rows:,} texts written to {args.out}")


if __name__ == "__main__":
    main()

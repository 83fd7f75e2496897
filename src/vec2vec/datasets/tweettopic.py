"""TweetTopic: tweets with one or more of 19 topics, and a description of each topic for attribute inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vec2vec.datasets.base import Fault, Row, TextSource
from vec2vec.errors import InputError
from vec2vec.stores.base import listed

# In the order of the dataset's card (`cardiffnlp/tweet_topic_multilingual`), by which its column `label` is numbered.
TOPICS: dict[str, str] = {
    "arts_&_culture": "visual arts, books, theatre, museums, photography, cultural heritage and traditions",
    "business_&_entrepreneurs": "companies, markets, finance, jobs, marketing, and people who start a business",
    "celebrity_&_pop_culture": "famous people, their fans and their private lives, and what is popular just now",
    "diaries_&_daily_life": "what someone does, feels or thinks on an ordinary day, told as in a diary",
    "family": "parents, children, brothers and sisters, family life and family occasions",
    "fashion_&_style": "clothes, shoes, make-up, hair, jewellery, and how to wear them",
    "film_tv_&_video": "films, television series and shows, streaming, videos, and those who make them",
    "fitness_&_health": "exercise, training, diets, illness, medicine, and physical or mental health",
    "food_&_dining": "meals, drinks, recipes, cooking, restaurants and eating out",
    "gaming": "video games, consoles, players, e-sports and game streams",
    "learning_&_educational": "teaching, courses, lessons, facts to learn, and how to do things",
    "music": "songs, albums, bands, singers, concerts and listening to music",
    "news_&_social_concern": "politics, elections, protests, crime, disasters, and matters that concern society",
    "other_hobbies": "pastimes such as gardening, collecting, crafts, pets, cars or reading",
    "relationships": "love, dating, friendship, marriage and breaking up",
    "science_&_technology": "research, space, computers, phones, software, the internet and artificial intelligence",
    "sports": "football, basketball and other sports, matches, teams, athletes and results",
    "travel_&_adventure": "journeys, holidays, places to visit, hikes and the outdoors",
    "youth_&_student_life": "school, university, exams, campus, and being young",
}
NAMES, NUMBERS = "label_name", "label"


class TweetTopic:
    """A `TextSource` over one with the dataset's columns: text, id, and the topics by name or as 19 zeros and ones."""

    names = ("text", "id", "labels")
    text_names = ("text",)

    def __init__(self, inner: TextSource) -> None:
        self.inner = inner
        self.name = inner.name
        missing = [column for column in ("text", "id") if column not in inner.names]
        self._labels = next((column for column in (NAMES, NUMBERS) if column in inner.names), None)
        if missing or self._labels is None:
            raise InputError(
                f"{self.name}: is no copy of TweetTopic: it has the columns {listed(inner.names)}, "
                f"expected 'id', 'text', and '{NAMES}' or '{NUMBERS}'"
            )

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        assert self._labels is not None
        for row in self.inner.rows(["text", "id", self._labels]):
            yield row if row.fault else self._labelled(row, row.values.get(self._labels))

    def _labelled(self, row: Row, value: Any) -> Row:
        topics = by_name(value) if self._labels == NAMES else by_number(value)
        if isinstance(topics, Fault):
            return row._replace(values={}, fault=topics)
        return row._replace(values=_with(row.values, topics))


def by_name(value: Any) -> list[str] | Fault:
    """Topics from names as the dataset writes them, such as "Film, TV & Video"."""
    names = value if isinstance(value, list) else [] if value is None else [value]
    topics = [str(name).lower().replace(",", "").replace(" ", "_") for name in names]
    unknown = [str(name) for name, topic in zip(names, topics, strict=True) if topic not in TOPICS]
    return Fault("it has an unknown topic", unknown[0]) if unknown else topics


def by_number(value: Any) -> list[str] | Fault:
    """Topics from 19 zeros and ones."""
    if not isinstance(value, list) or len(value) != len(TOPICS) or any(has not in (0, 1) for has in value):
        return Fault(f"its topics are no list of {len(TOPICS)} zeros and ones")
    return [topic for topic, has in zip(TOPICS, value, strict=True) if has]


def _with(values: Mapping[str, Any], topics: list[str]) -> dict[str, Any]:
    return {"text": values.get("text"), "id": values.get("id"), "labels": topics}

"""Catalogues and lists in JSON as they might become."""

import json
import random
from collections.abc import Callable
from typing import Any

from sidecar.scrape.finding import Row

from .mutations import EVERY, Mutation, Mutator, truncate, wall

PRICES = ("prompt", "completion", "input_cache_read")


def on_records(change: Callable[[dict[str, Any], list[dict[str, Any]], random.Random], Mutation | None]) -> Mutator:
    """A change to the list of records, wherever the document keeps it."""

    def mutate(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
        document = json.loads(text)
        records = next(value for value in document.values() if isinstance(value, list))
        done = change(document, records, rng)
        if done is not None:
            done.name, done.text = change.__name__, json.dumps(document)
        return done

    mutate.__name__ = change.__name__
    return mutate


def id_of(record: dict[str, Any]) -> str:
    """A record's model by its canonical name."""
    return str(record.get("id", record.get("name", ""))).split("/")[-1].replace(":latest", "").replace(":batch", "")


def ids_of(record: dict[str, Any]) -> set[str]:
    name = id_of(record)
    return {name, name.replace(".", "-")}


def priced(records: list[dict[str, Any]], rng: random.Random) -> dict[str, Any] | None:
    own = [r for r in records if r.get("id", "").startswith(("openai/", "anthropic/", "google/gemini"))]
    return rng.choice(own) if own else None


def drop_record(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    record = rng.choice(records)
    records.remove(record)
    return Mutation("", "", gone=ids_of(record))


def drop_key(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    record = rng.choice(records)
    key = rng.choice(list(record))
    del record[key]
    return Mutation("", "", gone=ids_of(record) if key in ("id", "name") else set())


def drop_price(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    record = priced(records, rng)
    if record is None:
        return None
    record["pricing"].pop(rng.choice(PRICES[:2]), None)
    return Mutation("", "")


def rename_key(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    inner = "pricing" in records[0] and rng.random() < 0.7
    old = rng.choice(PRICES[:2]) if inner else rng.choice(("id", "name", "pricing", "model"))
    new = rng.choice(("input", "price", "slug", "prompt_per_1k", "cost"))
    for record in records:
        holder = record["pricing"] if inner else record
        if old in holder:
            holder[new] = holder.pop(old)
    return Mutation("", "")


def rename_list(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    key = next(key for key, value in document.items() if value is records)
    document[rng.choice(("items", "result"))] = document.pop(key)
    return Mutation("", "", never={EVERY})


def shuffle(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    rng.shuffle(records)
    return Mutation("", "")


def insert_key(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    for record in records:
        record["input"] = 99
        record.get("pricing", {})["input"] = "99"
    return Mutation("", "")


def new_record(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    record = priced(records, rng)
    if record is None:
        records.append({**records[0], "name": "new:1b"})
        return Mutation("", "", added={"new:1b": {"input": 0, "output": 0}})
    pricing = {"prompt": "0.000003", "completion": "0.000015"}
    records.insert(
        0, {**record, "id": "openai/new-9", "pricing": pricing, "architecture": {"output_modalities": ["text"]}}
    )
    return Mutation("", "", added={"new-9": {"input": 3.0, "output": 15.0}})


def twice(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    record = priced(records, rng)
    if record is None:
        return None
    pricing = {**record["pricing"], "prompt": str(float(record["pricing"]["prompt"]) * 1.5)}
    records.append({**record, "pricing": pricing})
    return Mutation("", "")


def unit_everywhere(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    if priced(records, rng) is None:
        return None
    factor = rng.choice((1e3, 1e6, 1e-3))
    for record in records:
        for key, value in record["pricing"].items():
            if isinstance(value, str):
                record["pricing"][key] = f"{float(value) * factor:.15f}"
    return Mutation("", "", never={EVERY})


def slip(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    record = priced(records, rng)
    key = rng.choice(PRICES)
    if record is None or key not in record["pricing"]:
        return None
    record["pricing"][key] = f"{float(record['pricing'][key]) * rng.choice((1e3, 1e6, 1e-3)):.15f}"
    return Mutation("", "")


def swap(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation | None:
    record = priced(records, rng)
    if record is None:
        return None
    pricing = record["pricing"]
    pricing["prompt"], pricing["completion"] = pricing["completion"], pricing["prompt"]
    return Mutation("", "")


def mangle(document: dict[str, Any], records: list[dict[str, Any]], rng: random.Random) -> Mutation:
    record = priced(records, rng)
    odd = rng.choice((None, "", "free", -1, "-1", "NaN", "Infinity", "1,5", [], {}, True, "0", 0, "$3"))
    if record is None:
        record = rng.choice(records)
        gone = ids_of(record)
        record["name"] = rng.choice((None, "", [], {}, True, 5, "a b", "<b>"))
        return Mutation("", "", gone=gone)
    record["pricing"][rng.choice(PRICES[:2])] = odd
    return Mutation("", "")


def wrong_record(document: dict[str, Any], records: list[Any], rng: random.Random) -> Mutation:
    records.insert(rng.randrange(len(records) + 1), rng.choice(("x", 1, None, [], {}, {"id": 5, "name": 5})))
    return Mutation("", "")


JSON: tuple[Mutator, ...] = (
    *map(on_records, (drop_record, drop_key, drop_price, rename_key, rename_list, shuffle, insert_key, new_record)),
    *map(on_records, (twice, unit_everywhere, slip, swap, mangle, wrong_record)),
    truncate, wall,
)  # fmt: skip

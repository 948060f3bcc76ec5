"""Hypothesis strategies for the exporters that an API server can store, made from the schema of the CRD.

`loose` values are those that an older or newer CRD could have accepted: any text for an enumeration or a time, numbers
of any size, and fields that no longer exist.
"""

from typing import Any

from hypothesis import strategies as st

from hack import plain_yaml
from hack.files import ROOT

(_FILE,) = (ROOT / "crds").glob("*.yaml")
SCHEMA: dict[str, Any] = plain_yaml.read(_FILE.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC, STATUS = SCHEMA["properties"]["spec"], SCHEMA["properties"]["status"]

CHARACTERS = st.characters(exclude_categories=["Cs"])  # the API server replaces lone surrogates
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.sampled_from(
        [
            "", " ", "\x00", "@", "ana@example.com", "a" * 253, "é" * 64, "'; --", "null", "0", "-1", "{}", "\u202e",
            "2026-10-19", "every day at 00:20, UTC", "every hour at :20, UTC", "every 3 hours at :20, Nowhere/There",
            "aaaaaaaaaaaaaaaaaaaa=Sent", "aaaaaaaaaaaaaaaaaaaa=NotSent", "=", "Ready", "Stalled", "Succeeded",
            "RemoteUnavailable", "RateLimited", "DeliveryUnknown", "SettledAsNotSent", "UTC", "Europe/Zurich",
            "localtime", "../../etc/passwd", "-:me:me/0000",
        ]
    ),
)  # fmt: skip
TIMES = st.one_of(
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)),
    st.sampled_from(
        [
            "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
            "1999-12-31T23:59:59Z", "2000-01-01T00:00:00Z", "2001-01-01T00:00:00.123456789Z", "2016-12-31T23:59:60Z",
            "2026-10-18T00:20:00Z", "2026-10-19T05:20:00Z", "2026-10-19T06:00:00Z", "2026-10-19T06:20:00Z",
            "2026-10-19T07:20:00Z", "2026-10-19T08:20:00+02:00", "2026-10-19T09:00:00-23:59", "2026-10-20T00:00:00Z",
            "2027-01-01T00:00:00Z", "2262-04-11T23:47:16Z", "8999-12-31T23:59:59Z", "9000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "2026-10-19t06:00:00z", "2026-02-30T00:00:00Z",
        ]
    ),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**63 - 1, -(2**63)]),
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | TIMES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def values(schema: dict[str, Any], *, loose: bool = False) -> st.SearchStrategy[Any]:
    """Values that this schema accepts. CEL rules are ignored, because the CRD of an API server may have other rules."""
    accepted = _values(schema, loose)
    return st.one_of(accepted, accepted, accepted, ANYTHING) if loose else accepted


def _values(schema: dict[str, Any], loose: bool) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if "enum" in schema:
        known = st.sampled_from(schema["enum"])
        return known | TEXTS if loose else known
    if kind == "object":
        return _objects(schema, loose)
    if kind == "array":
        longest = schema.get("maxItems", 20)
        items = values(schema["items"], loose=loose)
        return st.one_of(
            st.lists(items, max_size=min(longest, 4)),
            st.lists(items, min_size=1, max_size=1).map(lambda one: one * (longest + (5 if loose else 0))),
        )
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        if loose or (low is None and high is None):
            return NUMBERS
        return st.integers(low, high)
    if kind == "boolean":
        return st.booleans()
    if schema.get("format") == "date-time":
        return TIMES
    longest = schema.get("maxLength", 4096)
    return TEXTS.map(lambda text: text[:longest]) | st.just("x" * (longest + loose))


def _objects(schema: dict[str, Any], loose: bool) -> st.SearchStrategy[Any]:
    properties = schema.get("properties")
    if properties is None:
        inner = schema.get("additionalProperties")
        return st.dictionaries(TEXTS, values(inner, loose=loose) if isinstance(inner, dict) else TEXTS, max_size=3)
    required = {} if loose else {name: properties[name] for name in schema.get("required", [])}
    fixed = {name: values(inner, loose=loose) for name, inner in required.items()}
    optional = {name: values(inner, loose=loose) for name, inner in properties.items() if name not in required}
    if loose:
        optional["retiredField"] = ANYTHING
    return st.fixed_dictionaries(fixed, optional=optional)


def changed(base: dict[str, Any], schema: dict[str, Any], *, loose: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """A value of a real object in which some fields are changed."""
    some = st.dictionaries(st.sampled_from(sorted(schema["properties"])), st.none(), min_size=1, max_size=4)
    return some.flatmap(
        lambda names: st.fixed_dictionaries(
            {name: values(schema["properties"][name], loose=loose) for name in names}
        ).map(lambda found: {**base, **found})
    )


ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [f"qualtrics-exporter.dev/{n}" for n in ("run-requested-at", "test-requested-at", "test-mode", "settle-run")]
        + ["kopf.zalando.org/last-handled-configuration", "example.com/anything"]
    ),
    TEXTS | st.sampled_from(["Deliver", "Dry", "now"]),
    max_size=4,
)  # fmt: skip
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "generation": NUMBERS,
        "creationTimestamp": TIMES,
        "deletionTimestamp": TIMES,
        "finalizers": st.lists(TEXTS, max_size=2),
        "ownerReferences": ANYTHING,
        "managedFields": ANYTHING,
    },
)

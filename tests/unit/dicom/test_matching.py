# ruff: noqa: E501 - a case stands beside its like
import time
from contextlib import suppress

import pytest

from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.matching import predicate
from dimse_ingestion.failures import Invalid

TAGS = {
    "PN": 0x00100010,
    "LO": 0x00081030,
    "CS": 0x00080061,
    "UI": 0x0020000D,
    "DA": 0x00080020,
    "TM": 0x00080030,
    "DT": 0x0040A120,
    "IS": 0x00200013,
    "SH": 0x00080050,
    "LT": 0x00104000,
}


def holds(vr: str, key: str, stored: str | None) -> bool:
    elements = [] if stored is None else [element(TAGS[vr], vr, stored)]
    return predicate([element(TAGS[vr], vr, key)])(by_tag(elements))


@pytest.mark.parametrize(
    ("vr", "key", "stored"),
    [
        # universal
        ("LO", "", "x"), ("LO", "", None), ("LO", "*", None), ("PN", "*", ""),
        # single value
        ("LO", "Thorax", "Thorax"), ("LO", "Thorax ", " Thorax"), ("IS", "7", "007"),
        # list
        ("UI", "1.2\\1.3", "1.3"), ("CS", "CT\\MR", "MR"), ("CS", "CT", "MR\\CT"),
        # wild card
        ("LO", "Th*", "Thorax"), ("LO", "*r?x", "Thorax"), ("LO", "T*x", "Thorax"), ("SH", "A*\\B*", "B1"),
        ("LO", "100%*", "100% sure"), ("LO", "a.c*", "a.c"),
        # names: case, width, component groups
        ("PN", "doe^jane", "DOE^JANE"), ("PN", "DOE*", "Doe^Jane"), ("PN", "山田*", "Yamada^Tarou=山田^太郎"),
        ("PN", "ヤマダ*", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"), ("PN", "люк*", "Люкceмбypг"), ("PN", "Doe^Jane^^", "DOE^JANE"),
        # group by group, and components that are absent
        ("PN", "=山田*", "Yamada^Tarou=山田^太郎"), ("PN", "yamada*=山田*=やまだ*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PN", "==やまだ*", "Yamada^Tarou=山田^太郎=やまだ^たろう"), ("PN", "やまだ*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PN", "Yamada^Tarou=山田^太郎", "YAMADA^TAROU=山田^太郎=やまだ^たろう"), ("PN", "=ジャン＝ポール", "Jean-Paul=ジャン＝ポール"),
        ("PN", "doe^*", "DOE"), ("PN", "doe^*^*", "DOE^JANE"), ("PN", "doe^*", "DOE^JANE^^"), ("PN", "a\\doe*", "DOE^JANE"),
        # ranges
        ("DA", "20200101-20201231", "20200615"), ("DA", "20200615", "20200615"), ("DA", "-20200615", "20200615"),
        ("DA", "20200615-", "20200615"), ("DA", "20200101-", "2020.06.15"), ("DA", "2020", "20200615"),
        ("TM", "10-11", "113059.5"), ("TM", "1030", "103015"), ("TM", "-1030", "10:30:59"),
        ("DT", "20200101-20200102", "20200101120000.0"),
        ("DT", "20200101120000+0100", "20200101110000+0000"),
        ("DT", "20200101100000+0000-20200101120000+0000", "20200101120000+0100"),
    ],
)  # fmt: skip
def test_matches(vr: str, key: str, stored: str | None) -> None:
    assert holds(vr, key, stored)


@pytest.mark.parametrize(
    ("vr", "key", "stored"),
    [
        ("LO", "Thorax", "thorax"), ("LO", "Thorax", None), ("LO", "Thor", "Thorax"), ("LO", "?", ""),
        ("LO", "a.c*", "abc"), ("IS", "7", "70"), ("UI", "1.2", "1.2.3"), ("CS", "CT", "MR\\US"),
        ("PN", "DOE", "DOE^JANE"), ("PN", "太郎*", "Yamada^Tarou=山田^太郎"),
        ("PN", "=yamada*", "Yamada^Tarou=山田^太郎"), ("PN", "sato*=山田*", "Yamada^Tarou=山田^太郎"), ("PN", "=山田*", "Yamada^Tarou"),
        ("PN", "doe^j*", "DOE"), ("UI", "1.2.*", "1.2.3"),
        ("DA", "20200101-20201231", "20210101"), ("DA", "20200615", None), ("DA", "-20200614", "20200615"),
        ("TM", "10-11", "120000"), ("TM", "1030", "1031"),
        ("DT", "20200101100000+0000-20200101120000+0000", "20200101130000+0000"),
    ],
)  # fmt: skip
def test_does_not_match(vr: str, key: str, stored: str | None) -> None:
    assert not holds(vr, key, stored)


HOSTILE_KEYS = {
    "components": ("PN", "a" + "^*" * 4000),
    "carets": ("PN", "^" * 60_000 + "a*"),
    "combining marks": ("PN", "a" + "\u0301\u0316" * 16_000 + "*"),
    "asterisks": ("LT", "*a" * 16_000 + "*b"),
    "question marks": ("LT", "*" + "a?" * 16_000 + "b*"),
    "groups": ("PN", "=".join(["a^*"] * 1999)),
    "names": ("PN", "\\".join(f"a{number}" for number in range(100_000))),
    "dashes": ("DT", "-" * 100_000),
    "digits": ("IS", "9" * 1_000_000),
}
HOSTILE_VALUES = {
    "PN": ["^" * 60_000 + "a", "a" + "\u0301\u0316" * 30_000, "=" * 60_000, "a" * 60_000],
    "LT": ["a" * 60_000, "ab" * 30_000],
    "DT": ["-" * 60_000, "2" * 60_000],
    "IS": ["9" * 60_000],
}


@pytest.mark.parametrize("which", HOSTILE_KEYS)
@pytest.mark.no_cover  # it measures CPU time
def test_no_key_takes_long_whatever_it_is_compared_with(which: str) -> None:
    """Five seconds are many times what each takes, and a small part of what quadratic ones take."""
    vr, key = HOSTILE_KEYS[which]
    began = time.process_time()
    with suppress(Invalid):  # some are refused, which takes no time either
        test = predicate([element(TAGS[vr], vr, key)])
        for value in HOSTILE_VALUES[vr]:
            test(by_tag([element(TAGS[vr], vr, value)]))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (element(TAGS["LO"], "LO", "\\".join(["a*"] * 2001)), "more than 2000 values"),
        (element(TAGS["LO"], "LO", "a" * 40_000 + "*"), "more than 32768 characters"),
        (element(TAGS["PN"], "PN", "a=b\\" * 1001), "more than 2000 component groups"),
    ],
)
def test_a_key_of_too_many_patterns_is_refused_by_its_tag(key: Element, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence) as failure:
        predicate([key])
    assert not failure.value.transient


def test_very_many_values_without_wild_cards_are_compared() -> None:
    uids = "\\".join(f"1.{number}" for number in range(100_000))
    assert holds("UI", uids, "1.99999")
    assert not holds("UI", uids, "1.100000")


def test_a_question_of_too_many_keys_or_levels_is_refused() -> None:
    keys = [element(0x00200000 + number, "SH", "a") for number in range(501)]
    with pytest.raises(Invalid, match="More than 500 keys have values"):
        predicate(keys)
    predicate([element(0x00200000 + number, "SH") for number in range(20_000)])
    nested = element(TAGS["LO"], "LO", "a")
    for _ in range(17):
        nested = Element("0040", "0275", "SQ", items=[[nested]])
    with pytest.raises(Invalid, match="nested deeper than 16"):
        predicate([nested])


@pytest.mark.parametrize(
    ("date", "time", "within"),
    [
        ("20200101", "120000", True),
        ("20200102", "000000", True),
        ("20200103", "090000", True),
        ("20200101", "090000", False),
        ("20200103", "110000", False),
        ("20200102", "", True),
        ("20200104", "", False),
        ("", "120000", False),
    ],
)
def test_a_date_and_its_time_can_be_one_range(date: str, time: str, within: bool) -> None:
    keys = [element(TAGS["DA"], "DA", "20200101-20200103"), element(TAGS["TM"], "TM", "10-1030")]
    stored = by_tag([element(TAGS["DA"], "DA", date), element(TAGS["TM"], "TM", time)])
    assert predicate(keys, combined_date_time=True)(stored) is within
    assert not predicate(keys)(stored)


def test_a_sequence_matches_when_one_item_has_it_all() -> None:
    def sequence(*items: list[Element]) -> Element:
        return Element("0040", "0275", "SQ", items=list(items))

    one, two = element(0x00400007, "LO", "one"), element(0x00400009, "SH", "two")
    nested_matches = predicate([sequence([one, two])])
    assert nested_matches(by_tag([sequence([element(0x00400007, "LO", "x")], [one, two])]))
    assert not nested_matches(by_tag([sequence([one], [two])]))
    assert not nested_matches({})
    assert predicate([sequence([element(0x00400007, "LO")])])({})


@pytest.mark.parametrize("key", ["last week", "2020011", "20200101-20200101-x", "yesterday-"])
def test_a_date_that_is_none_is_refused_by_its_tag(key: str) -> None:
    with pytest.raises(Invalid, match=r"\(0008,0020\)") as failure:
        predicate([element(TAGS["DA"], "DA", key)])
    assert not failure.value.transient
    assert key not in str(failure.value)

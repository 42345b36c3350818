import pytest

from harness.commands import Unusable, last_lines, output, succeeds


def test_what_a_command_says_is_given() -> None:
    assert output("cat", given="said") == "said"
    assert output("sh", "-c", "echo $A", env={"A": "b"}) == "b\n"


def test_one_that_fails_is_reported_with_what_it_printed_last() -> None:
    with pytest.raises(Unusable, match=r"sh -c .* failed:\nno space left"):
        output("sh", "-c", "echo no space left >&2; exit 3")


def test_one_that_is_missing_is_named() -> None:
    with pytest.raises(Unusable, match="no-such-command is not installed"):
        output("no-such-command", "--help")


def test_one_that_does_not_end_is_ended() -> None:
    with pytest.raises(Unusable, match="has not ended after 0 s"):
        output("sleep", "60", seconds=0.1)


def test_success_is_an_exit_with_0() -> None:
    assert succeeds("true")
    assert not succeeds("false")
    assert not succeeds("no-such-command")


def test_only_the_end_is_shown() -> None:
    assert last_lines("a\nb\nc\n", 2) == "b\nc"

"""Certificates of addons: whether a kept one is for every name that is asked for today."""

from harness.addons.certificates import certified, is_for, names_of


def test_a_certificate_is_for_the_names_it_was_made_for_and_no_other() -> None:
    names = names_of("nats", "addons", ["10.0.0.7", "nats.example.org"])
    made = certified(*names)["tls.crt"]
    assert is_for(made, names)
    assert is_for(made, ["nats.addons.svc", "127.0.0.1"])
    assert not is_for(made, [*names, "another.example.org"])

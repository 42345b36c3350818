import json

from harness import volumes


class RecordingNode:
    def __init__(self, *existing: tuple[str, str]) -> None:
        self.existing = existing
        self.commands: list[tuple[str, ...]] = []
        self.applied: list[str] = []

    def __call__(self, *command: str, given: str | None = None) -> str:
        self.commands.append(command)
        if given:
            self.applied = [item["metadata"]["name"] for item in json.loads(given)["items"]]
        items = [{"metadata": {"name": n}, "status": {"phase": p}} for n, p in self.existing]
        return json.dumps({"items": items}) if "get" in command else ""


def test_all_are_offered_on_a_new_cluster() -> None:
    node = RecordingNode()
    volumes.offer(node)
    assert len(node.applied) == volumes.COUNT
    assert set(node.applied) == volumes.names()


def test_nothing_is_done_while_none_is_used_up() -> None:
    node = RecordingNode(*((name, "Available") for name in volumes.names()))
    volumes.offer(node)
    assert len(node.commands) == 1


def test_one_that_was_released_is_emptied_and_offered_again() -> None:
    phases = dict.fromkeys(volumes.names(), "Bound") | {"volume-03": "Released"}
    node = RecordingNode(*phases.items(), ("another's", "Released"))
    volumes.offer(node)
    _, deleted, emptied, _ = node.commands
    assert deleted[-1] == "volume-03"
    assert emptied[-1].startswith(f"rm -rf {volumes.FOLDER}/volume-03 &&")
    assert node.applied == ["volume-03"]

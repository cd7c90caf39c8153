"""The main job with somebody else's MCP server, plugged in by OVAUTH_MCP_SERVER."""

import re
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.journeys.people import OfficialClient, Person
from tests.serving import running


@pytest.mark.parametrize(
    "attribute", ["fast", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mcp", "low", "asgi"))]
)
def test_its_tools_are_listed_and_learn_who_calls(tmp_path: Path, attribute: str) -> None:
    env = {"OVAUTH_MCP_SERVER": f"tests.journeys.plugged:{attribute}"}
    with running(data_dir=tmp_path / "data", env=env) as server:
        official = OfficialClient(server.url, Person(server.url, server.operator_api_key).approve)

        async def journey() -> None:
            async with official.connected() as client:
                tools = await client.list_tools()
                assert [tool.name for tool in tools.tools] == ["who"]
                told = await client.call_tool("who", {})
                assert told.content[0].text == "default/operator by Journey with mcp"  # type: ignore[union-attr]

        anyio.run(journey)
        assert "client.registered" in server.output()
        assert "connection.first_call" in server.output()


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "your-server.md"


def test_the_server_of_the_guide_runs_as_it_stands_there_with_the_one_scope(tmp_path: Path) -> None:
    code = re.search(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert code
    (tmp_path / "elsewhere" / "notes").mkdir(parents=True)
    (tmp_path / "elsewhere" / "notes" / "app.py").write_text(code[1])
    env = {"OVAUTH_MCP_SERVER": "notes.app:mcp", "PYTHONPATH": str(tmp_path / "elsewhere")}
    with running(data_dir=tmp_path / "data", env=env) as server:
        official = OfficialClient(server.url, Person(server.url, server.operator_api_key).approve)

        async def journey() -> None:
            async with official.connected() as client:
                hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
                assert hints["my_notes"] is not None
                assert (hints["my_notes"].read_only_hint, hints["add_note"]) == (True, None)
                await client.call_tool("add_note", {"text": "milk"})
                notes = await client.call_tool("my_notes", {})
                assert notes.structured_content == {"result": ["milk"]}

        anyio.run(journey)
        assert "(notes.app:mcp, 2 tools)" in server.output()
        metadata = httpx2.get(f"{server.url}/.well-known/oauth-authorization-server").json()
        assert metadata["scopes_supported"] == ["mcp"], "those of the bundled example are its own"

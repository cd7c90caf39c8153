"""The main job with somebody else's MCP server, plugged in by OVAUTH_MCP_SERVER."""

from pathlib import Path

import anyio
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

"""An MCP server with what the suite's server scenarios call, to be served by ovauth: OVAUTH_MCP_SERVER names it.

Names and answers are those that the scenarios ask for. What it does is of no interest; that all of it passes the gate is.
"""

import base64
from typing import Any, Final

import anyio
from mcp.server.mcpserver import AssistantMessage, Audio, Context, Image, MCPServer, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    Completion,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
WAV: Final = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
A_MOMENT: Final = 0.05

server = MCPServer("everything")


def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def png() -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")


@server.tool()
def test_simple_text() -> str:
    """Answers a text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> Image:
    """Answers an image."""
    return Image(data=PNG, format="png")


@server.tool()
def test_audio_content() -> Audio:
    """Answers a sound."""
    return Audio(data=WAV, format="wav")


@server.tool()
def test_embedded_resource() -> EmbeddedResource:
    """Answers a resource."""
    return embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")


@server.tool(structured_output=False)
def test_multiple_content_types() -> list[Any]:
    """Answers a text, an image and a resource."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        png(),
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ]


@server.tool()
def test_error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times."""
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(said)
        await anyio.sleep(A_MOMENT)
    return "logged"


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Tells how far it is, three times."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100)
        await anyio.sleep(A_MOMENT)
    return "done"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return PNG


@server.resource("test://template/{id}/data", mime_type="application/json")
def from_template(id: str) -> str:  # noqa: A002 the suite's name
    return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage | AssistantMessage]:  # noqa: N803
    """A prompt with a resource in it."""
    return [
        UserMessage(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        UserMessage("Please process the embedded resource above."),
    ]


@server.prompt()
def test_prompt_with_image() -> list[UserMessage | AssistantMessage]:
    """A prompt with an image in it."""
    return [UserMessage(png()), UserMessage("Please analyze the image above.")]


@server.prompt()
def test_input_required_result_prompt() -> str:
    """A prompt that asks for nothing; the scenario that wants to be asked sees so."""
    return "Nothing is missing."


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=["paris", "park", "party"], total=3, has_more=False)

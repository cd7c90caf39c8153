"""A name that belongs to another destination is noticed, however it is spelled."""

import pytest

from ovauth.rules.known_apps import claimed_app, folded

EVIL = "https://evil.example/callback"


@pytest.mark.parametrize(
    "name",
    [
        "Claude",
        "claude",
        "CLAUDE Code",
        "Сlaude",  # a Cyrillic С
        "C1aude",
        "CIaude",
        "Cl\u0430ude",
        "Ｃｌａｕｄｅ",
        "C l a u d e",
        "Claudé",
        "Anthropic Claude (official)",
    ],
)
def test_a_borrowed_name_is_noticed(name: str) -> None:
    assert claimed_app(name, EVIL) in ("Claude", "Anthropic")


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("Claude", "https://claude.ai/api/mcp/auth_callback"),
        ("Claude", "https://claude.com/api/mcp/auth_callback"),
        ("ChatGPT", "https://chatgpt.com/connector_platform_oauth_redirect"),
        ("Cursor", "cursor://anysphere.cursor-mcp/oauth/callback"),
        ("Visual Studio Code", "https://vscode.dev/redirect"),
        ("Visual Studio Code", "vscode://vscode.github-authentication/did-authenticate"),
    ],
)
def test_an_app_at_its_own_destination_is_not_accused(name: str, uri: str) -> None:
    assert claimed_app(name, uri) is None


def test_an_app_that_names_another_beside_itself_is_not_accused() -> None:
    assert claimed_app("Cursor (Claude)", "cursor://oauth/callback") is None


@pytest.mark.parametrize("host", ["claude.ai.evil.example", "claude.ai:8443", "xclaude.ai"])
def test_a_host_that_only_resembles_the_right_one_is_noticed(host: str) -> None:
    assert claimed_app("Claude", f"https://{host}/callback") == "Claude"


def test_a_loopback_destination_belongs_to_nobody() -> None:
    assert claimed_app("Claude Code", "http://127.0.0.1:33418/callback") is None


def test_an_unknown_name_is_no_claim() -> None:
    assert claimed_app("Notes of Alice", EVIL) is None


def test_folding_twice_changes_nothing_more() -> None:
    assert folded(folded("Сlaudé 1")) == folded("Сlaudé 1")

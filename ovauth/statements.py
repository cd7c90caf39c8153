"""The statements that run at every request, by name. `ovauth.sql` says how they run; a test holds every table and column
against the models, and every plan against both databases.

    t  the token or code      g  its grant      c  the client      m  the member      a  the account      k  the API key
"""

from typing import Final

from ovauth.sql import Statement

STAMP_EVERY: Final = 60
"""Seconds that a “last used” may be stale: one write a minute, not one for each request."""

# ------------------------------------------------------------------ does it live?

_WHY_DEAD: Final = """
CASE WHEN g.revoked_at IS NOT NULL THEN 'the grant was revoked'
     WHEN c.blocked_at IS NOT NULL THEN 'the client is blocked'
     WHEN NOT m.is_active          THEN 'the user is deactivated'
     WHEN m.role < g.role          THEN 'the user''s role dropped below that of the approval'
     WHEN g.api_key_id IS NOT NULL THEN
          CASE WHEN k.id IS NULL OR k.revoked_at IS NOT NULL THEN 'the API key that authorized it is gone' END
     WHEN g.password_epoch IS NULL THEN
          CASE WHEN c.acts_as_id = g.member_id THEN NULL ELSE 'the client is no longer bound to this user' END
     WHEN g.password_epoch <> m.password_epoch THEN 'the password changed since the approval'
END
"""
"""What `Grant.why_dead` asks in Python. The only SQL that knows it: the bearer check, both token grants and introspection
compare with this."""

_GRANT: Final = """
  JOIN ovauth_grant g ON g.id = t.grant_id
  JOIN ovauth_member m ON m.id = g.member_id
  JOIN ovauth_client c ON c.id = g.client_id
  LEFT JOIN ovauth_apikey k ON k.id = g.api_key_id
"""
_GRANT_OF_T: Final = f"{_GRANT} JOIN ovauth_account a ON a.id = m.account_id"

_HOLDER: Final = f"""
g.id, g.client_id, g.member_id, g.scope, g.resource, m.account_id, m.name, m.sign_in_name, a.name,
c.access_token_ttl, {_WHY_DEAD}
"""

# ------------------------------------------------------------------ who holds this, now?

# The account is the beginning of the sign-in name (`account/name`), so it need not be looked up as well.
ACCESS_TOKEN_HOLDER: Final = Statement(f"""
SELECT m.sign_in_name, m.name, g.role, t.scope, c.client_id, c.name, m.id, NULL, g.id, c.redirect_uris,
       g.last_used_at IS NULL, g.last_used_at < :stale
  FROM ovauth_accesstoken t {_GRANT}
 WHERE t.digest = :digest
   AND t.expires_at > :now
   AND t.revoked_at IS NULL
   AND g.resource = :resource
   AND {_WHY_DEAD} IS NULL
""")

API_KEY_HOLDER: Final = Statement("""
SELECT m.sign_in_name, m.name, m.role, NULL, NULL, NULL, m.id, k.id, NULL, NULL,
       k.last_used_at IS NULL, k.last_used_at < :stale
  FROM ovauth_apikey k
  JOIN ovauth_member m ON m.id = k.member_id
 WHERE k.digest = :digest
   AND k.revoked_at IS NULL
   AND m.is_active
""")

GRANT_USED: Final = Statement("""
UPDATE ovauth_grant SET last_used_at = :now, last_used_ip = :ip
 WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :stale)
""")

API_KEY_USED: Final = Statement("""
UPDATE ovauth_apikey SET last_used_at = :now
 WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :stale)
""")

# ------------------------------------------------------------------ what was presented?

AUTHORIZATION_CODE: Final = Statement(f"""
SELECT t.id, t.expires_at, t.redirect_uri, t.code_challenge, {_HOLDER}
  FROM ovauth_authorizationcode t {_GRANT_OF_T}
 WHERE t.digest = :digest
""")

REFRESH_TOKEN: Final = Statement(f"""
SELECT t.id, t.expires_at, t.created_at, t.consumed_at IS NOT NULL, g.scope, c.client_id, {_HOLDER}
  FROM ovauth_refreshtoken t {_GRANT_OF_T}
 WHERE t.digest = :digest
""")

ACCESS_TOKEN: Final = Statement(f"""
SELECT t.id, t.expires_at, t.created_at, t.revoked_at IS NOT NULL, t.scope, c.client_id, {_HOLDER}
  FROM ovauth_accesstoken t {_GRANT_OF_T}
 WHERE t.digest = :digest
""")

SUCCEEDED: Final = Statement("""
UPDATE ovauth_refreshtoken SET consumed_at = :now, successor_id = :successor, sealed_successor = :sealed
 WHERE id = :id AND consumed_at IS NULL
""")
"""Spends a refresh token, for exactly one caller, and names what took its place."""

CONNECTED: Final = Statement("UPDATE ovauth_grant SET connected_at = :now WHERE id = :id")

# ------------------------------------------------------------------ clients

CLIENT_COLUMNS: Final = (
    "id",
    "client_id",
    "origin",
    "name",
    "redirect_uris",
    "grant_types",
    "token_endpoint_auth_method",
    "scope",
    "metadata",
    "secret_digest",
    "acts_as_id",
    "access_token_ttl",
    "blocked_at",
)
"""What is asked of a client where it authenticates and where it sends somebody; the rest is fetched when it is touched."""

CLIENT: Final = Statement(f"SELECT {', '.join(CLIENT_COLUMNS)} FROM ovauth_client WHERE client_id = :client_id")

CLIENT_USED: Final = Statement("UPDATE ovauth_client SET last_used_at = :now WHERE id = :id")

# ------------------------------------------------------------------ what waits for a person

PENDING_COLUMNS: Final = (
    "id",
    "public_id",
    "kind",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "resource",
    "code_challenge",
    "browser_digest",
    "code_digest",
    "code_attempt",
    "ip",
    "user_agent",
    "created_at",
    "expires_at",
    "decision",
    "decided_at",
    "one_time_password_id",
    "grant_id",
)
CLIENT_OF_PENDING_COLUMNS: Final = ("id", "client_id", "name", "last_used_at", "blocked_at", "approved_at")

PENDING: Final = Statement(f"""
SELECT {", ".join(f"p.{name}" for name in PENDING_COLUMNS)}, {", ".join(f"c.{name}" for name in CLIENT_OF_PENDING_COLUMNS)}
  FROM ovauth_pendingauthorization p
  JOIN ovauth_client c ON c.id = p.client_id
 WHERE p.public_id = :public_id
""")
"""The request and what is asked of its client; the rest is fetched when it is touched."""

PENDING_LOCKED: Final = Statement(PENDING.sqlite)
PENDING_LOCKED.postgresql += " FOR UPDATE OF p"
"""The same, and nobody else changes it before the transaction ends: in SQLite nobody does anyway."""

DECIDED: Final = Statement("""
UPDATE ovauth_pendingauthorization
   SET decision = :decision, decided_at = :now, grant_id = :grant, expires_at = :until
 WHERE id = :id AND decision = '' AND expires_at > :now
""")
"""For exactly one of those who decide: the first decision stands."""

PENDING_LASTS: Final = Statement("UPDATE ovauth_pendingauthorization SET expires_at = :until WHERE id = :id")

CODE_OF_PENDING: Final = Statement(
    "SELECT consumed_at IS NOT NULL, sealed FROM ovauth_authorizationcode WHERE pending_id = :pending"
)

MEMBER_WITH_KEY: Final = Statement("""
SELECT m.id, m.name, m.sign_in_name, m.role, m.is_active, m.password_epoch, m.account_id, a.name,
       (SELECT 1 FROM ovauth_apikey k WHERE k.id = :api_key AND k.member_id = m.id AND k.revoked_at IS NULL)
  FROM ovauth_member m
  JOIN ovauth_account a ON a.id = m.account_id
 WHERE m.id = :id AND m.is_active
""")
"""A member who is active, and whether that key of theirs stands."""

BLOCKED: Final = Statement("""
SELECT 1 FROM ovauth_blockedclient
 WHERE client_id = :client AND (member_id = :member OR (member_id IS NULL AND account_id = :account))
 LIMIT 1
""")
"""Whether people keep this client from that member."""

# ------------------------------------------------------------------ limits

TALLY: Final = Statement("SELECT count, expires_at FROM ovauth_tally WHERE key = :key AND expires_at > :now")

_WINDOW_IS_OPEN: Final = "(ovauth_tally.expires_at > :now AND ovauth_tally.count > 0)"
"""A window begins with a failure: one in which every guess was right begins anew."""

_ONE_MORE: Final = f"""
INSERT INTO ovauth_tally (key, count, expires_at) VALUES (:key, 1, :until)
    ON CONFLICT (key) DO UPDATE
   SET count = CASE WHEN {_WINDOW_IS_OPEN} THEN ovauth_tally.count + 1 ELSE 1 END,
       expires_at = CASE WHEN {_WINDOW_IS_OPEN} THEN ovauth_tally.expires_at ELSE excluded.expires_at END
"""

COUNT: Final = Statement(_ONE_MORE)

_BELOW: Final = f"{_ONE_MORE} WHERE NOT {_WINDOW_IS_OPEN} OR ovauth_tally.count < :most"

ADMITTED: Final = Statement(_BELOW)
"""Counts as long as the limit is not reached; changes no row when it is."""

PLACE: Final = Statement(f"{_BELOW} RETURNING count, expires_at")
"""The same, and tells which place it was; no row when the limit is reached."""

GIVE_BACK: Final = Statement("""
UPDATE ovauth_tally SET count = count - 1 WHERE key = :key AND expires_at = :until AND count > 0
""")
"""Within the window in which the place was taken, and no other."""

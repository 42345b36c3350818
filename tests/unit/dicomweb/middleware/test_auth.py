import jwt
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.middleware.auth import AuthMiddleware, BearerToken
from dimse_ingestion.dicomweb.middleware.jwks import SigningKeys
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, token

KEY = SigningKey("one")


class KnownKeys(SigningKeys):
    """Keys that need no fetching."""

    def __init__(self, *keys: SigningKey) -> None:
        super().__init__("http://nowhere.invalid")
        self._keys = {each.key_id: jwt.PyJWK(each.published()) for each in keys}

    async def _fetch(self, key_id: str) -> None:
        """Fetch nothing new."""


def request_with(authorization: str, path: str = "/dicomweb/studies") -> Request:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    return Request({"type": "http", "method": "GET", "path": path, "headers": headers})


async def refusal(authorization: str, *keys: SigningKey) -> Problem | None:
    try:
        await BearerToken(KnownKeys(*keys or (KEY,)), ISSUER, AUDIENCE)(request_with(authorization))
    except Problem as problem:
        return problem
    return None


async def test_a_valid_token_is_accepted() -> None:
    assert await refusal(f"Bearer {token(KEY)}") is None
    assert await refusal(f"bearer {token(KEY, aud=['other', AUDIENCE])}") is None


@pytest.mark.parametrize(
    ("authorization", "sentence"),
    [
        ("", "Send a token"),
        ("Basic eDp5", "Send a token"),
        ("Bearer ", "Send a token"),
        ("Bearer nonsense", "can't be verified"),
        (f"Bearer {token(KEY, seconds=-3600)}", "has expired"),
        (f"Bearer {token(KEY, aud='other')}", "not for the audience dicomweb"),
        (f"Bearer {token(KEY, iss='other')}", "not from the issuer"),
        (f"Bearer {token(KEY)[:-6]}AAAAAA", "can't be verified"),
        (f"Bearer {token(SigningKey('one'))}", "can't be verified"),
        (f"Bearer {token(SigningKey('two'))}", "can't be verified"),
        (f"Bearer {jwt.encode({'iss': ISSUER}, key='', algorithm='none')}", "can't be verified"),
    ],
    ids=[
        *("none", "basic", "empty", "nonsense", "expired", "another audience", "another issuer"),
        *("another signature", "another key", "an unknown key", "no signature"),
    ],
)
async def test_invalid_tokens_are_refused(authorization: str, sentence: str) -> None:
    problem = await refusal(authorization)
    assert problem is not None
    assert problem.status == 401
    assert sentence in problem.detail
    assert problem.headers["www-authenticate"].startswith('Bearer realm="dicomweb"')


async def test_a_signature_by_the_public_key_is_refused() -> None:
    public = KEY.private.public_key().public_numbers()
    forged = jwt.encode(
        {"iss": ISSUER, "aud": AUDIENCE, "exp": 4_000_000_000},
        f"{public.x:x}{public.y:x}" * 2,
        "HS256",
        headers={"kid": "one"},
    )
    problem = await refusal(f"Bearer {forged}")
    assert problem is not None
    assert problem.status == 401


async def status_at(path: str) -> int:
    async def refuse(request: Request) -> str:
        raise Problem(401, "No.")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("in")(scope, receive, send)

    async def receive() -> Message:
        return {"type": "http.request"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await AuthMiddleware(app, refuse)(request_with("", path).scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("path", "status"),
    [("/dicomweb", 401), ("/dicomweb/studies", 401), ("/wado", 401), ("/", 200), ("/page.js", 200)],
)
async def test_services_are_protected_and_files_of_the_page_are_not(path: str, status: int) -> None:
    assert await status_at(path) == status

"""Who may look: hosts, origins and the token."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import hdrs, web

__all__ = ["HEADERS", "Guard", "is_loopback"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Server": "stainstream",
}
"""Stand on every response: the page is given nothing from elsewhere, and lends itself to no other page."""

_OPEN = frozenset({"/healthz", "/readyz"})  # say nothing but yes or no


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach `host`.

    Examples
    --------
    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests.

    Where no token is asked for, the host by which the server was addressed must be this computer's own: a stranger's
    page whose name was made to point here (DNS rebinding) is thereby refused. Requests that another site's page makes
    are refused in either case, but for following a link.

    Parameters
    ----------
    token
        What viewers must know; None on loopback.
    """

    def __init__(self, token: str | None) -> None:
        self.token = token

    def refusal(self, request: web.BaseRequest) -> web.HTTPException | None:
        """Why a request is refused, or None."""
        if self.token is None and not is_loopback(_hostname(request.host)):
            return web.HTTPForbidden(text="refused: ask for this page at http://127.0.0.1 or http://localhost\n")
        if _is_foreign(request):
            return web.HTTPForbidden(text="refused: another site's page made this request\n")
        if self.token is None or request.path in _OPEN or self._knows(request):
            return None
        text = "refused: a token is needed; open the address that stainstream printed when it started\n"
        return web.HTTPUnauthorized(text=text, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})

    def cookie(self, request: web.BaseRequest) -> str:
        """Name of the cookie that holds the token: servers on other ports of a host have their own."""
        return f"stainstream-{urlsplit(f'//{request.host}').port or 80}"

    def _knows(self, request: web.BaseRequest) -> bool:
        assert self.token is not None
        kind, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        offered = [request.query.get("token", ""), request.cookies.get(self.cookie(request), "")]
        offered += [bearer.strip()] if kind.lower() == "bearer" else []
        secret = self.token.encode()
        return any([hmac.compare_digest(each.encode(errors="replace"), secret) for each in offered])  # noqa: C419 - all


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_foreign(request: web.BaseRequest) -> bool:
    """Whether the page of another site makes this request; programs that are no browsers say nothing about it."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        return True
    follows_link = request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not follows_link

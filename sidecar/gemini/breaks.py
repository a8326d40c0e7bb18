"""What broke a request off, where no answer of Gemini's tells: an error of httpx, of TLS or of the SDK's reading.

Imported by `client` only: whoever imports it pays for httpx.
"""

import json
import logging
import re
import ssl
from datetime import UTC, datetime

import httpx

from sidecar.gemini.failures import Failure, GeminiError
from sidecar.redaction import Redactor
from sidecar.settings import BASE_URL_VARIABLE

log = logging.getLogger(__name__)

_ERROR_NUMBER = re.compile(r"\[(?:Errno|WinError) -?\d+\] ")
_SETTING_ERRORS = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)


def transport_failure(error: Exception, redactor: Redactor) -> GeminiError:
    """Of an error between here and the server, without what the redactor knows as keys."""
    text = redactor.redact(_ERROR_NUMBER.sub("", " ".join(str(error).split())))[:200]
    if isinstance(error, _SETTING_ERRORS):
        return GeminiError(Failure.SETTING, f"the API key or {BASE_URL_VARIABLE} holds characters it may not")
    if (refusal := _refused_certificate(error)) is not None:
        return GeminiError(Failure.UNTRUSTED, _why_untrusted(refusal), status="UNTRUSTED_CERTIFICATE")
    if isinstance(error, httpx.TimeoutException):
        return GeminiError(Failure.TIMEOUT, "the connection timed out", status="TIMEOUT")
    if isinstance(error, httpx.DecodingError):
        return GeminiError(Failure.FOREIGN_PAGE, text or "an unreadable answer", status="BAD_ANSWER")
    return GeminiError(Failure.UNAVAILABLE, text or "the connection broke", status="UNREACHABLE")


def _refused_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The check of a certificate that stands behind it; httpx, httpcore and trio wrap it."""
    for _ in range(10):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _why_untrusted(refusal: ssl.SSLCertVerificationError) -> str:
    if refusal.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, …_HAS_EXPIRED
        today = f"{datetime.now(UTC).astimezone():%Y-%m-%d}"
        return f"Gemini's certificate is not valid on {today}, the date of this computer, whose clock may be wrong"
    return (
        "Gemini's certificate is not trusted: a proxy or virus scanner may be reading along; SSL_CERT_FILE "
        "names its certificates"
    )


def unreadable(error: Exception) -> GeminiError:
    """Of what the SDK met in an answer, or in the key or a host name before it was sent."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return GeminiError(Failure.FOREIGN_PAGE, "a page that is not Gemini's", status="BAD_ANSWER")
    if isinstance(error, UnicodeEncodeError) and error.encoding != "idna":
        return GeminiError(Failure.SETTING, "the API key holds characters that no key has")
    if isinstance(error, UnicodeError):  # from the lookup of a host; the base URL's has been judged before
        detail = f"a host of the environment's proxy settings or of {BASE_URL_VARIABLE} cannot be looked up"
        return GeminiError(Failure.SETTING, detail)
    if not isinstance(error, RecursionError):  # which a deeply nested answer is; else somebody may have a defect
        log.warning("the SDK could not read an answer: %s", type(error).__name__)
    return GeminiError(Failure.UNUSABLE, "an answer of an unknown shape", status="BAD_ANSWER")

"""Plain HTTP views whose answers a test can predict byte for byte."""

import hashlib
import time

from django.http import HttpResponse, HttpResponseNotAllowed, JsonResponse, StreamingHttpResponse


def _sized(response):
    """Adds the Content-Length, without which the server below answers in chunks."""
    response["Content-Length"] = str(len(response.content))
    return response


def hello(request):
    return _sized(HttpResponse("hello\n", content_type="text/plain"))


def user(request, number):
    return JsonResponse({"user": number})


def item(request, item):
    return JsonResponse({"item": str(item)})


def blob(request, digest):
    return JsonResponse({"blob": digest})


def page(request, name):
    return HttpResponse("page %s\n" % name, content_type="text/plain")


def fail(request):
    return HttpResponse("failed on purpose\n", status=500, content_type="text/plain")


def slow(request):
    """Answers after `seconds` (at most 10)."""
    time.sleep(min(float(request.GET.get("seconds", "1")), 10.0))
    return HttpResponse("slow\n", content_type="text/plain")


def upload(request):
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    body = request.body
    return JsonResponse({"length": len(body), "sha256": hashlib.sha256(body).hexdigest()})


def headers(request):
    """The request headers as the backend saw them, names in lower case."""
    return JsonResponse({name.lower(): value for name, value in request.headers.items()})


def stream(request):
    """`parts` pieces without a Content-Length, so that the answer goes out chunked."""
    parts = int(request.GET.get("parts", "5"))

    def pieces():
        for number in range(parts):
            yield b"part %d;" % number

    return StreamingHttpResponse(pieces(), content_type="application/octet-stream")


def big(request):
    """`size` bytes of a pattern that shows any loss or shift."""
    size = int(request.GET.get("size", "1000000"))
    pattern = bytes(range(251))
    body = (pattern * (size // len(pattern) + 1))[:size]
    return _sized(HttpResponse(body, content_type="application/octet-stream"))


def empty(request):
    return HttpResponse(status=204)


def cached(request):
    """304 when the client's tag matches, else the body."""
    if request.headers.get("If-None-Match") == '"v1"':
        response = HttpResponse(status=304)
    else:
        response = HttpResponse("cached body\n", content_type="text/plain")
    response["ETag"] = '"v1"'
    return response


def cookies(request):
    """Two Set-Cookie headers, which must not be folded into one."""
    response = HttpResponse("cookies\n", content_type="text/plain")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response

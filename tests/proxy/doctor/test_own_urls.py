"""URLs of the app itself: in Dash's own fields of a page, in a redirect, anywhere."""

from __future__ import annotations

from proxy.doctor.endpoint import Answer
from proxy.doctor.own_urls import is_asked_as_http, redirect, urls_of_itself


def answer(text: str = "", location: str | None = None) -> Answer:
    return Answer(200, {} if location is None else {"Location": location}, text.encode())


def test_the_pages_own_url_is_the_one_that_the_app_was_asked_for() -> None:
    page = '<meta property="twitter:url" content="http://a.test:81/app/"><a href="https://b.test/">'
    assert [url.netloc for url in urls_of_itself(answer(page))] == ["a.test:81"]
    assert list(urls_of_itself(answer('<meta property="twitter:url" content="http://[bad/">'))) == []


def test_a_redirect_without_a_host_says_nothing() -> None:
    assert redirect(answer(location="/app/")) is None
    assert redirect(answer(location="mailto://a")) is None
    found = redirect(answer(location="http://a.test/app/"))
    assert found is not None and found.netloc == "a.test"


def test_http_is_found_in_a_page_and_in_a_redirect_and_only_for_the_host_that_was_asked() -> None:
    assert is_asked_as_http(answer('content="http://a.test/x.png"'), "a.test")
    assert is_asked_as_http(answer(location="http://a.test/app/"), "a.test")
    assert not is_asked_as_http(answer('"http://a.test.org/" "https://a.test/" "http://b.test/"'), "a.test")
    assert not is_asked_as_http(answer("http://b.test/ " * 3000 + "http://a.test/"), "a.test")

"""Normal form of endpoints, and the spellings that earlier versions kept."""

import pytest

from batchrec.api.endpoint import LIVE, comparable, earlier_spellings, normal_endpoint


@pytest.mark.parametrize(
    ("endpoint", "spellings"),
    [
        (LIVE, {f"{LIVE}:443", f"{LIVE}.", f"{LIVE}.:443"}),
        ("http://127.0.0.1:8087", {"http://127.0.0.1.:8087"}),
        ("http://localhost", {"http://localhost:80", "http://localhost.", "http://localhost.:80"}),
        ("http://[::1]", {"http://[::1]:80"}),
        ("http://[::1]:8087", set()),
    ],
)
def test_earlier_spellings(endpoint: str, spellings: set[str]) -> None:
    """Each is another text of the same origin; a name may end in a dot, an address of IPv6 does not."""
    assert set(earlier_spellings(endpoint)) == spellings
    assert {normal_endpoint(each) for each in spellings if "127.0.0.1." not in each} <= {endpoint}


@pytest.mark.parametrize("text", ["embedded", "embedded (model)", "furniture", "", "ftp://host", "https://a b"])
def test_what_is_no_endpoint_is_compared_as_it_is(text: str) -> None:
    """Names of jobs and of providers pass through."""
    assert comparable(text) == text


@pytest.mark.parametrize("text", ["https://AIP.BaiduBCE.com.:443/", f"{LIVE}:443", f"{LIVE}./", f"{LIVE}/", LIVE])
def test_endpoints_are_compared_in_normal_form(text: str) -> None:
    """Case, default port, trailing dot and slash make no other endpoint."""
    assert comparable(text) == LIVE

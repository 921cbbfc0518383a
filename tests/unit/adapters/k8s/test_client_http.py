"""The bytes of a request."""

import json

from kaito.adapters.k8s.client_http import encoded


def test_bodies_are_encoded_as_go_would() -> None:
    body = {"b": ["<a> & b", 1, None, True], "a": {"é": "\u2028\ud800"}}
    text = encoded(body)
    assert json.loads(text) == body
    # encoding/json: no spaces, and HTML escaped by default.
    wanted = r'{"b":["\u003ca\u003e \u0026 b",1,null,true],"a":{"é":"\u2028\ud800"}}'
    assert text == wanted.encode()

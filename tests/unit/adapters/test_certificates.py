"""A certificate authority and the certificate that it vouches for."""

import ipaddress
import ssl

from cryptography import x509

from kaito.adapters.certificates import make_certificates

NOW_S = 1_800_000_000.0
DAY_S = 86_400


def test_certificates_are_chained_and_name_the_server() -> None:
    made = make_certificates(("127.0.0.1", "localhost"), NOW_S, name="kaito-test")
    authority, server = (
        x509.load_pem_x509_certificate(one) for one in (made.authority, made.server)
    )
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert server.not_valid_before_utc.timestamp() < NOW_S
    assert server.not_valid_after_utc.timestamp() == NOW_S + 365 * DAY_S
    ssl.create_default_context(cadata=made.authority.decode())


def test_they_live_as_long_as_asked() -> None:
    made = make_certificates(["localhost"], NOW_S, name="kaito-test", days=3)
    for pem in (made.authority, made.server):
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        assert ends.timestamp() == NOW_S + 3 * DAY_S


def test_a_key_is_not_shown() -> None:
    made = make_certificates(["localhost"], NOW_S, name="kaito-test")
    assert b"PRIVATE KEY" in made.key
    assert "PRIVATE" not in repr(made)

import ipaddress

import pytest
from hypothesis import given, strategies as st

from ctemplate.sources.consul.endpoints.address_policy import HOSTNAME_FIX, LOOPBACK_FIX, AddressPolicy
from ctemplate.sources.consul.endpoints.settings import DataLimits

DEFAULT = AddressPolicy()
NAMES = AddressPolicy(allow_hostnames=True)
INSIDE = AddressPolicy.of(DataLimits(allowed_networks=("10.0.0.0/8", "fd00::/8"), allow_hostnames=True))


@pytest.mark.parametrize(
    ("policy", "address", "printed"),
    [
        pytest.param(DEFAULT, "10.1.2.3", "10.1.2.3", id="IPv4"),
        pytest.param(DEFAULT, "2001:DB8:0::1", "[2001:db8::1]", id="IPv6 in brackets"),
        pytest.param(NAMES, "web-1.example.com", "web-1.example.com", id="host name"),
        pytest.param(NAMES, "db_1", "db_1", id="host name with underscore"),
        pytest.param(INSIDE, "10.1.2.3", "10.1.2.3", id="allowed network"),
        pytest.param(INSIDE, "fd00::1", "[fd00::1]", id="allowed IPv6 network"),
    ],
)
def test_an_address_prints(policy, address, printed):
    assert policy.judge(address, "10.0.0.1") == (printed, "")


@pytest.mark.parametrize(
    ("policy", "address", "reason"),
    [
        pytest.param(DEFAULT, "", "is empty, and so is the node's", id="empty"),
        pytest.param(DEFAULT, "unix:/run/x", "'unix:/run/x' is not an IP address", id="unix"),
        pytest.param(
            DEFAULT,
            "web.local",
            "'web.local' is not an IP address" + HOSTNAME_FIX,
            id="host name",
        ),
        pytest.param(DEFAULT, "10.0.0.1;", "'10.0.0.1;' is not an IP address", id="directive"),
        pytest.param(DEFAULT, "10.0.0.1\n", "'10.0.0.1\\n' is not an IP address", id="newline"),
        pytest.param(DEFAULT, "010.0.0.1", "'010.0.0.1' is not an IP address", id="octal"),
        pytest.param(DEFAULT, "10.1", "'10.1' is not an IP address", id="short"),
        pytest.param(DEFAULT, "fd00::1%eth0", "'fd00::1%eth0' is not an IP address", id="zone"),
        pytest.param(DEFAULT, "0.0.0.0", "'0.0.0.0' is an unspecified address", id="unspecified"),
        pytest.param(DEFAULT, "::", "'::' is an unspecified address", id="unspecified IPv6"),
        pytest.param(DEFAULT, "169.254.169.254", "'169.254.169.254' is a link-local address", id="link-local"),
        pytest.param(DEFAULT, "fe80::1", "'fe80::1' is a link-local address", id="link-local IPv6"),
        pytest.param(DEFAULT, "224.0.0.1", "'224.0.0.1' is a multicast address", id="multicast"),
        pytest.param(DEFAULT, "255.255.255.255", "'255.255.255.255' is the broadcast address", id="broadcast"),
        pytest.param(
            DEFAULT,
            "127.1.1.1",
            "'127.1.1.1' is a loopback address, and the node's own is not" + LOOPBACK_FIX,
            id="loopback",
        ),
        pytest.param(
            DEFAULT,
            "::ffff:127.0.0.1",
            "'::ffff:127.0.0.1' is a loopback address, and the node's own is not" + LOOPBACK_FIX,
            id="loopback in disguise",
        ),
        pytest.param(
            NAMES,
            "localhost.",
            "'localhost.' is a loopback name, and the node's own address is not" + LOOPBACK_FIX,
            id="localhost",
        ),
        pytest.param(NAMES, "a b", "'a b' is not an IP address or host name", id="no host name"),
        pytest.param(NAMES, "a\n", "'a\\n' is not an IP address or host name", id="host name and newline"),
        pytest.param(NAMES, "127.1", "'127.1' is not an IP address or host name", id="number as a name"),
        pytest.param(INSIDE, "192.0.2.1", "'192.0.2.1' is in none of data.allowed_networks", id="outside"),
        pytest.param(
            INSIDE, "a.b", "'a.b' is a host name, and data.allowed_networks names networks", id="name outside"
        ),
    ],
)
def test_an_address_is_refused(policy, address, reason):
    assert policy.judge(address, "10.0.0.1") == ("", reason)


@pytest.mark.parametrize(
    ("policy", "node_address"),
    [
        pytest.param(DEFAULT, "127.0.0.1", id="all on one machine"),
        pytest.param(DEFAULT, "::1", id="all on one machine, IPv6"),
        pytest.param(AddressPolicy(allow_loopback=True), "10.0.0.1", id="allowed"),
    ],
)
def test_loopback_is_fine_where_everything_is_on_one_machine(policy, node_address):
    assert policy.judge("127.0.0.1", node_address) == ("127.0.0.1", "")


octets = st.sampled_from(["0", "1", "9", "10", "99", "100", "126", "127", "128", "168", "169", "170", "199", "200"]) | (
    st.integers(210, 300).map(str)
)
dotted = st.lists(octets | st.sampled_from(["", "01", "1 ", "١"]), min_size=3, max_size=5).map(".".join)


@given(dotted | st.ip_addresses(v=4).map(str))
def test_an_ordinary_address_is_judged_as_any_other_is(address):
    """The networks allow everything, so that the short way is not taken."""
    everything = AddressPolicy.of(DataLimits(allowed_networks=("0.0.0.0/0", "::/0")))
    assert DEFAULT.judge(address, "10.0.0.1") == everything.judge(address, "10.0.0.1")


@given(st.text(max_size=40))
def test_what_prints_is_an_address_and_nothing_else(text):
    printed, refusal = DEFAULT.judge(text, "10.0.0.1")
    assert bool(printed) != bool(refusal)
    assert refusal.isprintable()
    if printed:
        ipaddress.ip_address(printed.strip("[]"))


@given(st.text(max_size=40))
def test_a_host_name_prints_as_plain_token(text):
    printed, _ = NAMES.judge(text, "10.0.0.1")
    assert not set(printed) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")

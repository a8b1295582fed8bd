"""The gateway for go-micro: who gets a path that two services want, and names without a namespace."""

import json

import pytest
from rendering import instance, load, world

from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer


def service(name, *endpoints, created, protocol="mucp"):
    tags = (f"t={json.dumps({'protocol': protocol})}", *(f"e={json.dumps({'name': one})}" for one in endpoints))
    return name, tags, (instance(name, tags=tags, created=created, address=f"10.0.0.{created}"),)


def gateway(*services, arguments=""):
    text = f'{{% import "ctemplate/micro.j2" as micro %}}\nhttp {{\n{{{{- micro.gateway({arguments}) }}}}\n}}\n'
    rendering = Renderer([load(text)]).render(world(*services), [ConfigPlace(is_certain=True)])
    assert rendering.missing == frozenset()
    return rendering


@pytest.mark.parametrize(("api", "srv", "loser"), [(9, 1, "go.micro.api.greeter"), (1, 9, "go.micro.srv.greeter")])
def test_a_path_that_two_services_want_belongs_to_the_older_one(api, srv, loser):
    rendering = gateway(
        service("go.micro.api.greeter", "Say.Hello", created=api),
        service("go.micro.srv.greeter", "Say.Hello", created=srv),
    )
    assert [(one.service, "which came first" in one.reason) for one in rendering.quarantined] == [(loser, True)]
    assert "server 10.0.0.1:8000" in rendering.texts[0]
    assert "10.0.0.9" not in rendering.texts[0]


def test_spellings_of_one_services_endpoint_are_one_location():
    rendering = gateway(service("go.micro.srv.greeter", "Greeter.Hello", "greeter.hello", created=1))
    assert rendering.quarantined == ()
    locations = [line for line in rendering.texts[0].splitlines() if "location = " in line]
    assert len(locations) == len(set(locations)) >= 4


def test_a_name_without_a_namespace_has_one_location_for_grpc():
    shop = service("shop", "Cart.Add", created=1, protocol="grpc")
    rendering = gateway(shop, arguments='[""], port=none, grpc_port=8081')
    assert rendering.quarantined == ()
    assert rendering.texts[0].count("location = /shop.Cart/Add") == 1

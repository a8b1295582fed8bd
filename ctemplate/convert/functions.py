"""The functions of Go and consul-template in Jinja, and advice for those that have no counterpart."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.convert.arguments import GoFunction
from ctemplate.convert.data_functions import DATA_FUNCTIONS
from ctemplate.convert.logic_functions import LOGIC_FUNCTIONS
from ctemplate.convert.query_functions import QUERY_FUNCTIONS
from ctemplate.convert.sprig_functions import PREFIX, SPRIG_FUNCTIONS
from ctemplate.convert.text_functions import TEXT_FUNCTIONS

FUNCTIONS: Mapping[str, GoFunction] = {
    **QUERY_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **LOGIC_FUNCTIONS,
    **DATA_FUNCTIONS,
    **SPRIG_FUNCTIONS,
}
"""Converters: each takes the argument values, the piped one last, and raises NotConverted if it cannot convert them."""

_VAULT = "give it as a file or a variable: env(), -var"
_NOMAD = "Nomad is not read; register the service in Consul, or give the value as a variable"
_OWN_FILE = "use a separate template"
ADVICE: Mapping[str, str] = {
    "secret": _VAULT,
    "secrets": _VAULT,
    "pkiCert": _VAULT,
    "vault": _VAULT,
    "nomadService": _NOMAD,
    "nomadServices": _NOMAD,
    "nomadVar": _NOMAD,
    "nomadVarExists": _NOMAD,
    "nomadVarList": _NOMAD,
    "nomadVarListSafe": _NOMAD,
    "plugin": "run the program before, and give what it prints as a variable",
    "timestamp": "leave it out: output that always differs reloads always; now() alone causes no render",
    "keyPrefix": "use ls() or tree()",
    "sockaddr": "use interface_ip(), or give the address as a variable: env(), -var",
    "writeToFile": _OWN_FILE,
    "call": "call the function itself",
    "spew_dump": "leave it out: it is for debugging",
    "spew_printf": "leave it out: it is for debugging",
    "spew_sdump": "leave it out: it is for debugging",
    "spew_sprintf": "leave it out: it is for debugging",
}
"""What to write instead of functions that have no counterpart; docs/convert.md lists the same."""


def advice_for(name: str) -> str:
    """Return what to write instead of a function, empty if there is no advice."""
    if name.startswith(PREFIX):
        return "use the filter of Jinja that does the same"
    return ADVICE.get(name, "")

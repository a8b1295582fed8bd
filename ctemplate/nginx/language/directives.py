"""The one table of facts about nginx's directives that other modules depend on.

Used by the parser, the check of values, the check's copies, the semantic diff and lint. Pure facts.
"""

import re

from ctemplate.core.lazy_pattern import lazy_pattern

VALUE_BLOCKS = frozenset({b"map", b"geo", b"types", b"split_clients", b"charset_map"})
"""Blocks whose entries are data, not directives; they contain no blocks."""

ENTRY_WORDS = frozenset(
    {b"include", b"default", b"hostnames", b"volatile", b"ranges", b"delete", b"proxy", b"proxy_recursive"}
)
"""First words that nginx reads as an instruction inside a value block; any other first word is a key, that is, data."""

WITHOUT_INCLUDES = frozenset({b"split_clients", b"charset_map"})
"""Value blocks in which ``include`` is an ordinary key."""

VARIABLE_OF_BLOCK = {b"map": 1, b"split_clients": 1, b"geo": -1}
"""The index of a value block's argument that names the variable that it sets."""

LUA_BLOCK = b"_by_lua_block"
"""A directive with this name holds Lua source. Without the Lua module nginx refuses the name, so the name is enough."""

HOLDS_SERVERS = frozenset({b"", b"http", b"stream", b"mail"})
"""Blocks, including the top level, whose servers and upstreams use names."""

NAMES_INSIDE = frozenset({b"server", b"location", b"map", b"geo"})
"""Blocks that may not contain one location, or one key, twice."""

NAMES_ITSELF = {
    b"log_format": "log_format",
    b"match": "match",
    b"acme_issuer": "acme_issuer",
    b"proxy_cache_path": "cache folder",
    b"fastcgi_cache_path": "cache folder",
    b"uwsgi_cache_path": "cache folder",
    b"scgi_cache_path": "cache folder",
}
"""Directives of ``http`` and ``stream`` whose first argument may not occur twice, with the kind of name that it is."""

NAMES_ZONE = frozenset(
    {b"limit_req_zone", b"limit_conn_zone", b"keyval_zone", b"ssl_session_cache", b"zone"}
    | {b"proxy_cache_path", b"fastcgi_cache_path", b"uwsgi_cache_path", b"scgi_cache_path"}
)
"""Directives that declare a zone of shared memory in one of their arguments."""

LOADS = re.compile(
    rb"include|load_module|ssl_engine|root|alias|env|user|working_directory|perl(?:_.*)?|js_.*|lua_.*|.*_by_lua.*"
    rb"|xslt_stylesheet|geoip_(?:country|city|org)|google_perftools_profiles|(?:.*_)?ssl_conf_command"
    rb"|exec(?:_.*)?|modsecurity_.*|passenger_.*|opentracing_load_tracer",
    re.DOTALL,
)
"""Directives that load code or files, or choose the source of files: only a template's own text may be an argument."""

OPENS = re.compile(
    rb"error_log|access_log|pid|lock_file|ssl_.*(?:certificate.*|_key|_file|dhparam|crl)|auth_basic_user_file"
    rb"|.*_temp_path|.*_cache_path|.*_store|.*_ssl_(?:.*certificate.*|.*_file|crl)|state"
    rb"|xml_entities|quic_host_key|auth_jwt_key_file|state_path|account_key|trusted_certificate|license_token|geoip2"
)
"""Directives that read or write a file as the master's user: data may be a part of the path, never its beginning, nor
a step out of its folder."""

LOGS = frozenset({b"access_log", b"error_log"})

CACHE_FOLDERS = lazy_pattern(
    rb"(?:client_body|proxy|fastcgi|uwsgi|scgi)_temp_path|(?:proxy|fastcgi|uwsgi|scgi)_cache_path"
)
"""Directives whose first argument is a folder that nginx creates."""

PASS = re.compile(rb"[a-z0-9_]+_pass")
"""Directives whose target is the name of an upstream, or a host: ``proxy_pass``, and those of other protocols."""

CONNECTS = frozenset(
    {b"resolver", b"auth_http", b"ssl_stapling_responder", b"ssl_ocsp_responder", b"zone_sync_server"}
    | {b"pass", b"endpoint", b"uri", b"push", b"pull"}
)
"""Directives that name hosts, or a socket of nginx's own, and never use upstreams.

``endpoint`` is that of OpenTelemetry, ``uri`` that of an ACME server, ``push`` and ``pull`` are those of RTMP."""

INNER = frozenset(
    {b"auth_request", b"mirror", b"post_action", b"error_page", b"try_files", b"add_before_body", b"add_after_body"}
)
"""Directives whose last argument is another location of the same server."""

URIS = frozenset({b"try_files", b"index"})
"""Directives whose arguments are URIs that nginx appends to the root without resolving their ``..`` steps, as it does
with those of ``rewrite`` and of the directives in ``INNER``."""

FILE_PARAMETERS = frozenset(
    {b"SCRIPT_FILENAME", b"DOCUMENT_ROOT", b"PATH_TRANSLATED", b"PHP_VALUE", b"PHP_ADMIN_VALUE"}
    | {b"UWSGI_FILE", b"UWSGI_SCRIPT", b"UWSGI_MODULE", b"UWSGI_HOME", b"UWSGI_PYHOME", b"UWSGI_CHDIR"}
    | {b"UWSGI_TOUCH_RELOAD", b"UWSGI_SETENV"}
)
"""Parameters of application servers that name the file to run, or settings of PHP or uWSGI that can name one."""

FEEDS = re.compile(rb"set|set_.*|.*_set|js_var")
"""Directives that set a variable."""

MODIFIED = frozenset({b"location", b"if", b"try_files", b"error_page"})
"""Directives whose arguments may begin with a modifier."""

HOSTS = frozenset({b"server_name", b"valid_referers"})
"""Directives whose arguments are host names or wildcards."""

BY_TILDE = HOSTS | {b"location", b"proxy_redirect", b"proxy_cookie_domain", b"proxy_cookie_path"}
"""Directives whose arguments are regular expressions when they begin with a tilde."""

"""The Consul source alone, as a process to be measured: `python -m bench.source ADDRESS`.

Wants the services and the instances of those tagged http, as a template of one upstream per http service does. Writes a
line per batch of news: the moment on the monotonic clock, how many answers are missing, and what changed.
"""

import asyncio
import sys
import time

from ctemplate.catalog import Catalog
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

SERVICES = ServicesQuery()


async def tell(catalog: Catalog) -> None:
    """Want what a template would want, and write a line per batch of news."""
    catalog.want("bench", frozenset({SERVICES}))
    missing = catalog.missing()
    while True:
        news = await catalog.news()
        missing -= news
        if SERVICES in news:
            answer = catalog.get(SERVICES)
            services = () if answer is None else answer.value
            queries = (ServiceQuery(name=service.name) for service in services if "http" in service.tags)
            catalog.want("bench", frozenset({SERVICES, *queries}))
            missing = catalog.missing()
        names = " ".join(query.name if isinstance(query, ServiceQuery) else "services" for query in news)
        print(f"{time.monotonic():.6f} {len(missing)} {names}", flush=True)


async def main(address: str) -> None:
    """Run the source on an agent until cancelled."""
    catalog = Catalog()
    source = ConsulSource(ConsulSettings(addresses=(address,)))
    async with asyncio.TaskGroup() as group:
        group.create_task(source.run(catalog))
        group.create_task(tell(catalog))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

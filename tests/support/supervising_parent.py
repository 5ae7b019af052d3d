"""A parent process for tests: it starts one child of the SFU, says its process id, and does nothing more."""

import asyncio
import time

from turnserver.config.media import MediaConfig
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import PortRange
from turnserver.faults import Faults
from turnserver.sfu import Sfu

__all__ = ["main"]


async def _run() -> None:
    loopback = bytes((127, 0, 0, 1))
    sfu = Sfu(
        MediaConfig(processes=1),
        PortRange(49152, 65535),
        lambda: OwnAddresses((RelayAddress(loopback, loopback),)),
        report=print,
        changed=lambda _: None,
        faults=Faults(),
        clock=time.monotonic,
    )
    sfu.open("r", 1)
    while not sfu.rooms():
        await asyncio.sleep(0.05)
    print(*sfu.processes, flush=True)
    await asyncio.sleep(3600)


def main() -> None:
    """Run until killed."""
    asyncio.run(_run())


if __name__ == "__main__":
    main()

"""As many connections at once as are asked for, each of which hears its own word again: run inside of a
container.

Usage: crowd.py ADDRESS PORT COUNT. Prints how many were open at the same time.
"""

import asyncio
import resource
import sys

ADDRESS, PORT, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def main():
    few = asyncio.Semaphore(200)  # that are on their way at once

    async def arrive():
        async with few:
            return await asyncio.open_connection(ADDRESS, PORT)

    async def talk(number, reader, writer):
        word = b"word %d " % number * 9
        writer.write(word)
        assert await reader.readexactly(len(word)) == word
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    there = await asyncio.gather(*(arrive() for _ in range(COUNT)))
    ports = {writer.get_extra_info("sockname")[1] for _, writer in there}
    print(len(ports), flush=True)
    await asyncio.gather(*(talk(number, *pair) for number, pair in enumerate(there)))
    print("all heard", flush=True)


most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(main())

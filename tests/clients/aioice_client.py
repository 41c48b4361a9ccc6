"""aioice against a TURN server: TRANSPORT SERVER PEER --user U (--password P | --secret S [--ttl SECONDS]) [--ca FILE].

PEER is the address of an echo, or `pair`: two allocations then talk to each other. Prints `refused CODE` and ends with 3
when the server refuses, `echoed N` when all came back.
"""

import argparse
import asyncio
import base64
import hmac
import ssl
import time

from aioice import stun, turn

COUNT = 20
SIZES = [171, 1200, 1, 2, 3, 4]


class Queue(asyncio.DatagramProtocol):
    """What arrives, in order, and the end."""

    def __init__(self):
        self.arrived = asyncio.Queue()
        self.closed = asyncio.Event()

    def datagram_received(self, data, addr):
        self.arrived.put_nowait((data, addr))

    def connection_lost(self, exc):
        self.closed.set()


def address(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


async def endpoint(options, name, password):
    secure = None
    if options.transport == "tls":
        secure = ssl.create_default_context(cafile=options.ca)
    return await turn.create_turn_endpoint(
        Queue,
        server_addr=address(options.server),
        username=name,
        password=password,
        lifetime=600,
        ssl=secure or False,
        transport="udp" if options.transport == "udp" else "tcp",
    )


def login(options):
    """The credentials of draft-uberti-behave-turn-rest-00, if a secret is given."""
    if options.secret is None:
        return options.user, options.password
    name = f"{int(time.time()) + options.ttl}:{options.user}"
    digest = hmac.digest(options.secret.encode(), name.encode(), "sha1")
    return name, base64.b64encode(digest).decode()


async def exchange(sender, peer, receiver, source):
    """Sends, and waits for the same at the receiver, from `source`."""
    for number in range(COUNT):
        data = bytes([number]) * SIZES[number % len(SIZES)]
        sender[0].sendto(data, peer)
        arrived = await asyncio.wait_for(receiver[1].arrived.get(), 5)
        assert arrived == (data, source), arrived


async def open_both_ways(one, other):
    """Nobody is heard whom the other has not named, so both speak until both are heard."""
    ways = ((one, other), (other, one))
    while any(receiver[1].arrived.empty() for _, receiver in ways):
        for sender, receiver in ways:
            sender[0].sendto(b"open", name_of(receiver))
        await asyncio.sleep(0.02)
    for sender, receiver in ways:
        sender[0].sendto(b"last", name_of(receiver))
        while (await asyncio.wait_for(receiver[1].arrived.get(), 5))[0] != b"last":
            pass


async def talk(options):
    name, password = login(options)
    ends = [await endpoint(options, name, password)]
    if options.peer != "pair":
        peer = address(options.peer)
        await exchange(ends[0], peer, ends[0], peer)
    else:
        ends.append(await endpoint(options, name, password))
        await open_both_ways(*ends)
        for sender, receiver in (ends, reversed(ends)):
            await exchange(sender, name_of(receiver), receiver, name_of(sender))
    for transport, queue in ends:
        transport.close()
        await asyncio.wait_for(queue.closed.wait(), 5)
    print("echoed", COUNT)


def name_of(end):
    """The relayed address of an end."""
    return end[0].get_extra_info("sockname")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["udp", "tcp", "tls"])
    parser.add_argument("server")
    parser.add_argument("peer")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password")
    parser.add_argument("--secret")
    parser.add_argument("--ttl", type=int, default=3600)
    parser.add_argument("--ca")
    options = parser.parse_args()
    try:
        asyncio.run(talk(options))
    except stun.TransactionFailed as failed:
        print("refused", failed.response.attributes["ERROR-CODE"][0])
        raise SystemExit(3)


main()

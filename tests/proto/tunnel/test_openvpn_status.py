"""The three versions of the status file of an OpenVPN server, as version 2.6.14 writes them."""

import pytest

from preflight.proto.tunnel.openvpn_status import clients

FIRST = """OpenVPN CLIENT LIST
Updated,2026-12-01 05:49:10
Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since
a,10.201.1.2:40022,3437,3561,2026-12-01 05:49:08
ROUTING TABLE
Virtual Address,Common Name,Real Address,Last Ref
fd66::1,a,10.201.1.2:40022,2026-12-01 05:49:08
10.66.0.1,a,10.201.1.2:40022,2026-12-01 05:49:09
10.66.0.2,b,10.201.2.2:51443,2026-12-01 05:49:09
192.168.7.0/24,b,10.201.2.2:51443,2026-12-01 05:49:09
192.168.7.9C,b,10.201.2.2:51443,2026-12-01 05:49:09
GLOBAL STATS
Max bcast/mcast queue length,0
END
"""
SECOND = """TITLE,OpenVPN 2.6.14 x86_64-pc-linux-gnu
TIME,2026-12-01 05:49:10,1796104150
HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received
CLIENT_LIST,a,10.201.1.2:40022,10.66.0.1,fd66::1,3437,3561,2026-12-01 05:49:08,1796104148,UNDEF,0,0,AES-256-GCM
HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)
ROUTING_TABLE,10.66.0.1,a,10.201.1.2:40022,2026-12-01 05:49:09,1796104149
ROUTING_TABLE,10.66.0.2,b,10.201.2.2:51443,2026-12-01 05:49:09,1796104149
GLOBAL_STATS,Max bcast/mcast queue length,0
END
"""


@pytest.mark.parametrize("text", [FIRST, SECOND, SECOND.replace(",", "\t")], ids=["first", "second", "third"])
def test_who_is_connected(text: str) -> None:
    """One address of each client, and no network behind one."""
    assert clients(text.splitlines()) == ("10.66.0.1", "10.66.0.2")


def test_nobody() -> None:
    """A file that is empty, cut, or another one."""
    assert clients(()) == ()
    assert clients(FIRST.splitlines()[:6]) == ()
    assert clients(["x,y", "ROUTING_TABLE,10.66.0.1"]) == ()

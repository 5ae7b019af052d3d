"""Other people's programs that tests run, and the Debian package that each comes in."""

import os
import shutil

import pytest

__all__ = ["DEBIAN_PACKAGES", "require_tool"]

DEBIAN_PACKAGES = {
    "adduser": "adduser",
    "baresip": "baresip-core",
    "certbot": "certbot",
    "chromium": "chromium",
    "conntrack": "conntrack",
    "curl": "curl",
    "ffprobe": "ffmpeg",
    "firefox-esr": "firefox-esr",
    "gnutls-cli": "gnutls-bin",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "man": "man-db",
    "nft": "nftables",
    "nginx": "nginx",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "setpriv": "util-linux",
    "ss": "iproute2",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "stun": "stun-client",
    "tc": "iproute2",
    "timeout": "coreutils",
    "tshark": "tshark",
    "turnserver": "coturn",
    "turnutils_natdiscovery": "coturn",
    "turnutils_peer": "coturn",
    "turnutils_stunclient": "coturn",
    "turnutils_uclient": "coturn",
    "unshare": "util-linux",
}


def require_tool(name: str) -> str:
    """The path of a program; skips the test, naming the Debian package to install, where there is none.

    Raises `KeyError` for a program that is not in `DEBIAN_PACKAGES`, also where there is one: nobody would see it.
    """
    package = DEBIAN_PACKAGES[name]
    # Administrators' programs are not on everybody's path.
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path
